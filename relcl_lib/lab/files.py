"""Files that are either complete or absent, whatever stops the process that writes them.

Everything is written under a temporary name beside its place, flushed to the disk and renamed.
A killed process can leave such a temporary behind, never a half-written file under the real name; the
next one that writes the file clears it, as `remove_leftovers` clears all of a folder. Processes that
share a folder of checkpoints or records take turns by `locked`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# .<name>.<kind>-<host>-<process>-<random>; "old" is a directory moved aside by its replacement.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<kind>tmp|old)-(?P<host>\w+)-(?P<pid>\d+)-\w+")
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_in_use: set[str] = set()
#: how a data set's note begins that names the files beside those that were read
NOT_READ = "also there and not read"


def _beside(path: Path, kind: str = "tmp") -> Path:
    name = f".{path.name}.{kind}-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(name)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync(path: Path) -> None:
    # Windows syncs only what is open for writing.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    # Not every system lets a folder be opened or synced (Windows, some network file systems);
    # the rename is atomic there all the same, only its time of arrival on the disk is open.
    with contextlib.suppress(OSError):
        _sync(path)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], *, shared: bool = False) -> Iterator[None]:
    """For a block: no other process is in such a block of this folder, or only `shared` ones are.

    The system lets go of it when the process ends, however it does, and no file is made. Where folders
    cannot be locked (Windows, some network file systems) nothing is.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = None
    try:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in _leftovers(path.parent):
        match = _TEMPORARY.fullmatch(leftover.name)
        if match["name"] == path.name and match["kind"] == "tmp":
            with contextlib.suppress(OSError):
                _remove(leftover)
    temporary = _beside(path)
    _in_use.add(temporary.name)
    try:
        yield temporary
    except BaseException:
        # The first error is the one to report: failing to tidy up must not hide it.
        with contextlib.suppress(OSError):
            _remove(temporary)
        raise
    finally:
        _in_use.discard(temporary.name)


def existing_folder(name: str) -> Path:
    """The folder that an argument of a command names; FileNotFoundError if there is none."""
    folder = Path(name).expanduser()  # shells leave a ~ after = as it is
    if not folder.is_dir():
        raise FileNotFoundError(f"{name} is no folder")
    return folder


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to fill that becomes `path` when the block ends without an error.

    Missing folders are made. Any error leaves an existing file untouched and no temporary behind.
    """
    path = Path(path)
    with _temporary(path) as temporary:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    _sync_folder(path.parent)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` so that the file is the old one or the new one, never a part."""
    with atomic_file(path) as file:
        file.write(data)
    return Path(path)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8 without changing line ends; otherwise as `atomic_write_bytes`."""
    return atomic_write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a folder and put it in place in one step, when the block ends without an error.

    The block gets an empty temporary folder beside `path`. On success its files get the mode of
    any new file, are flushed to the disk, and it takes the name `path`; what was there before is
    moved aside and deleted. On an error the temporary goes and `path` stays as it was. A process
    killed between the two renames leaves no `path`, but the old folder aside: `remove_leftovers`
    puts it back, so call that before looking for the folder.
    """
    path = Path(path)
    with _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        # Some versions of safetensors let only their owner read; a new folder shows the umask.
        usual = temporary.stat().st_mode & 0o666
        for entry in temporary.rglob("*"):
            if entry.is_dir():
                _sync_folder(entry)
            elif not entry.is_symlink():
                entry.chmod(usual)
                _sync(entry)
        _sync_folder(temporary)
        with locked(path.parent):
            _swap(temporary, path)
    _sync_folder(path.parent)


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        new.replace(path)
        return
    # A folder that is not empty cannot be renamed over, so the old one steps aside first.
    aside = _beside(path, "old")
    _in_use.add(aside.name)
    try:
        path.replace(aside)
        try:
            new.replace(path)
        except BaseException:
            aside.replace(path)
            raise
        # The new folder is in place: an old one that resists deletion is a leftover, no failure.
        with contextlib.suppress(OSError):
            _remove(aside)
    finally:
        _in_use.discard(aside.name)


def _alive(host: str, pid: int) -> bool:
    if host != _HOST:
        return True
    if pid == os.getpid():
        # Not among ours in use: a restarted container hands out the same numbers again.
        return False
    if os.name != "posix":
        return True  # signal 0 would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def remove_leftovers(
    parent: str | os.PathLike[str], *, max_age_seconds: float = 86400.0
) -> list[Path]:
    """Clear what killed processes left in a folder, and put back a folder caught mid-replacement.

    Temporaries of running processes are kept, so several runs may share the folder. Where that
    cannot be known (another machine, a process number in use again) age in seconds decides. Looks
    in `parent`, which need not exist, and not below; gives the paths removed or put back, sorted.
    """
    parent = Path(parent)
    touched: list[Path] = []
    if not any(_leftovers(parent, max_age_seconds)):
        return touched
    with locked(parent):
        for entry in _leftovers(parent, max_age_seconds):
            match = _TEMPORARY.fullmatch(entry.name)
            place = parent / match["name"]
            with contextlib.suppress(FileNotFoundError):  # where nothing can be locked
                if match["kind"] == "old" and not place.exists():
                    entry.replace(place)
                else:
                    _remove(entry)
                touched.append(entry)
    return touched


def _leftovers(parent: Path, max_age_seconds: float = 86400.0) -> list[Path]:
    """The temporaries in a folder that no running process uses, sorted."""
    found = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in sorted(parent.iterdir()):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or entry.name in _in_use:
                continue
            with contextlib.suppress(FileNotFoundError):  # another process may tidy up as well
                fresh = time.time() - entry.stat().st_mtime < max_age_seconds
                if not (fresh and _alive(match["host"], int(match["pid"]))):
                    found.append(entry)
    return found


def _checkout() -> Path | None:
    """The checkout this package lies in; None for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    return folder if (folder / "data" / "paper_tables").is_dir() else None


def packaged_data() -> Path:
    """Where the data that comes with the library lies: corpus, tiny encoder, printed tables.

    `data/` of the checkout, or the copy inside an installed package. Nothing is written there.
    """
    checkout = _checkout()
    return checkout / "data" if checkout else Path(__file__).resolve().parents[1] / "_data"


def repository_root() -> Path:
    """The folder under which results, figures and one's own data sets lie.

    The checkout this package lies in. For an installed package: the nearest folder, upward from the
    current one, that holds `data/paper_tables` (a checkout's `notebooks/`, say), else the current
    folder; never the folder that the package was installed into.
    """
    current = Path.cwd()
    upward = (f for f in (current, *current.parents) if (f / "data" / "paper_tables").is_dir())
    return _checkout() or next(upward, current)
