import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import relcl_lib.lab.files as files
from relcl_lib.lab.files import (
    atomic_directory,
    atomic_write_bytes,
    atomic_write_text,
    packaged_data,
    remove_leftovers,
    repository_root,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full_disk(monkeypatch):
    """The disk turns out to be full when the data is flushed to it."""

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def test_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.txt"
    assert atomic_write_text(path, "eins\nzwei ±\n") == path
    atomic_write_bytes(str(path), b"new\r\n")
    assert path.read_bytes() == b"new\r\n"
    assert names(path.parent) == ["b.txt"]


def test_text_is_utf8_with_line_ends_kept(tmp_path):
    path = atomic_write_text(tmp_path / "a", "±\r\n\n")
    assert path.read_bytes() == b"\xc2\xb1\r\n\n"


@pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
def test_written_file_obeys_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        path = atomic_write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
def test_files_of_a_folder_obey_the_umask_whoever_wrote_them(tmp_path):
    old = os.umask(0o022)
    try:
        with atomic_directory(tmp_path / "model") as folder:
            (folder / "sub").mkdir()
            for path in (folder / "weights", folder / "sub" / "config"):
                path.touch()
                path.chmod(0o600)
    finally:
        os.umask(old)
    files = [tmp_path / "model" / "weights", tmp_path / "model" / "sub" / "config"]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o644, 0o644]
    assert (tmp_path / "model" / "sub").stat().st_mode & 0o777 == 0o755


def test_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path, full_disk):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX limit on file size")
def test_a_write_the_system_refuses_leaves_nothing(tmp_path):
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from relcl_lib.lab.files import atomic_write_bytes\n"
        "try: atomic_write_bytes(sys.argv[1], b'x' * 100_000)\n"
        "except OSError: sys.exit(7)"
    )
    root = Path(files.__file__).parents[2]
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    assert subprocess.run(command, cwd=root, check=False).returncode == 7
    assert names(tmp_path) == []


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        atomic_write_text(tmp_path / "a" / "b", "x")


def test_directory_appears_whole(tmp_path):
    path = tmp_path / "deep" / "step"
    with atomic_directory(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").write_bytes(b"1")
        assert not path.exists()
    assert (path / "sub" / "weights").read_bytes() == b"1"
    assert names(path.parent) == ["step"]


def test_directory_replaces_all_of_the_old_one(tmp_path):
    path = tmp_path / "step"
    for name in ("first", "second"):
        with atomic_directory(path) as folder:
            (folder / name).write_text(name)
    assert names(path) == ["second"]
    assert names(tmp_path) == ["step"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_block_keeps_the_old_directory(tmp_path, error):
    path = tmp_path / "step"
    with atomic_directory(path) as folder:
        (folder / "old").write_text("")
    with pytest.raises(error), atomic_directory(path) as folder:
        (folder / "new").write_text("")
        raise error
    assert names(path) == ["old"]
    assert names(tmp_path) == ["step"]


def test_full_disk_keeps_the_old_directory(tmp_path, monkeypatch, full_disk):
    path = tmp_path / "step"
    path.mkdir()
    (path / "old").write_text("")
    with pytest.raises(OSError, match="No space"), atomic_directory(path) as folder:
        (folder / "new").write_text("")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["step"]


def test_a_failed_rename_puts_the_old_directory_back(tmp_path, monkeypatch):
    path = tmp_path / "step"
    path.mkdir()
    (path / "old").write_text("")
    replace = Path.replace

    def refuse(self, target):
        if ".tmp-" in self.name:
            raise OSError(errno.EIO, "input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="input/output"), atomic_directory(path) as folder:
        (folder / "new").write_text("")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["step"]


KILLED = """
import os, pathlib, sys
from relcl_lib.lab.files import atomic_directory
path = pathlib.Path(sys.argv[1])
kill_at = int(sys.argv[2])
replace, calls = pathlib.Path.replace, []
def counted(self, target):
    calls.append(self)
    if len(calls) == kill_at:
        os._exit(9)
    return replace(self, target)
pathlib.Path.replace = counted
with atomic_directory(path) as folder:
    (folder / "new").write_text("")
"""


@pytest.mark.parametrize("kill_at", [1, 2])
def test_a_killed_process_loses_no_directory(tmp_path, kill_at):
    path = tmp_path / "step"
    path.mkdir()
    (path / "old").write_text("")
    root = Path(files.__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(path), str(kill_at)]
    assert subprocess.run(command, cwd=root, check=False).returncode == 9
    assert names(tmp_path) != ["step"]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["step"]
    assert names(path) == ["old"]


def test_leftovers_of_the_living_stay(tmp_path):
    with atomic_directory(tmp_path / "step") as folder:
        assert remove_leftovers(tmp_path, max_age_seconds=0) == []
        assert folder.is_dir()
    alive = tmp_path / f".a.json.tmp-{files._HOST}-{os.getppid()}-00ff"
    elsewhere = tmp_path / ".b.json.tmp-000000-1-00ff"
    # A number of ours that we did not hand out: from before a restart.
    restarted = tmp_path / f".c.json.tmp-{files._HOST}-{os.getpid()}-00ff"
    for path in (alive, elsewhere, restarted):
        path.write_text("")
    assert remove_leftovers(tmp_path) == [restarted]
    long_ago = time.time() - 2 * 86400
    os.utime(elsewhere, (long_ago, long_ago))
    assert remove_leftovers(tmp_path) == [elsewhere]
    assert alive.exists()


def test_leftovers_touch_nothing_else(tmp_path):
    kept = [".hidden", "a.json", ".a.tmp", "a.tmp-1-2-3", ".git"]
    for name in kept:
        (tmp_path / name).write_text("")
    assert remove_leftovers(tmp_path, max_age_seconds=0) == []
    assert names(tmp_path) == sorted(kept)
    assert remove_leftovers(tmp_path / "absent") == []


def test_repository_root_is_this_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (repository_root() / "data" / "paper_tables").is_dir()


def test_repository_root_of_an_installed_package(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site" / "relcl_lib" / "lab" / "x.py"))
    monkeypatch.chdir(tmp_path)
    assert repository_root() == Path.cwd()
    (tmp_path / "data" / "paper_tables").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert repository_root() == Path.cwd().parent


def test_packaged_data_of_a_checkout_and_of_an_installed_package(tmp_path, monkeypatch):
    assert packaged_data() == repository_root() / "data"
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site" / "relcl_lib" / "lab" / "x.py"))
    assert packaged_data() == tmp_path / "site" / "relcl_lib" / "_data"
