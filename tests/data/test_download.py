import hashlib
from pathlib import Path

import pytest
from bad_hub import COMMIT, CONTENTS, code, hub
from local_hub import client, serving

from relcl_lib.data import download
from relcl_lib.data.download import (
    DataFormatError,
    DataNotFoundError,
    HubFiles,
    check_md5,
    locate,
    search_folders,
)

CONTENT = b"a few bytes of a data file"
FILES = {"data/train.bin": hashlib.sha256(CONTENT).hexdigest(), "data/test.bin": None}
HUB = HubFiles("someone/things", COMMIT, FILES)


def holds(folder):
    return (folder / "here.txt").is_file()


pytestmark = pytest.mark.usefixtures("no_other_data")


def put(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "here.txt").touch()
    return folder.resolve()


def test_order_is_root_variable_repository_current_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(download.DATA_VARIABLE, str(tmp_path / "variable"))
    parent = tmp_path / "parent"
    parent.mkdir()
    places = [
        parent / "things",
        parent,
        tmp_path / "variable" / "things",
        tmp_path / "repository" / "data" / "things",
        tmp_path / "cwd" / "data" / "things",
    ]
    given, found = places[:2], places[2:]
    assert search_folders("things", parent) == [place.resolve() for place in given]
    assert search_folders("things") == [place.resolve() for place in found]
    # Filled from the last to the first, each takes over from the one after it.
    for place in reversed(found):
        expected = put(place)
        assert locate("things", holds) == (expected, False, True)
    # A folder that was named is not passed over for another with files of the same names.
    with pytest.raises(DataNotFoundError):
        locate("things", holds, root=parent)
    for place in reversed(given):
        expected = put(place)
        assert locate("things", holds, root=parent) == (expected, False, True)


def test_a_root_that_is_no_folder_is_an_error_even_if_the_set_lies_elsewhere(tmp_path):
    put(tmp_path / "cwd" / "data" / "things")
    with pytest.raises(DataNotFoundError, match=r"(?s)'nowhere' is no folder.*a folder things/"):
        locate("things", holds, root="nowhere")
    put(tmp_path / "cwd")
    with pytest.raises(DataNotFoundError, match="'' is no folder"):  # not the current one
        locate("things", holds, root="")


def test_not_found_lists_folders_layouts_and_the_command(tmp_path):
    with pytest.raises(DataNotFoundError) as caught:
        locate("things", holds, hub=HUB, download=False, layouts=["here.txt of example.org"])
    message = str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)
    assert str(tmp_path / "cwd" / "data" / "things") in message
    assert str(tmp_path / "repository" / "data" / "things") in message
    assert "here.txt of example.org" in message
    assert "download=False" in message
    assert "hf download someone/things data/train.bin data/test.bin --repo-type dataset " in message
    assert "RELCL_DATA" in message


def test_a_set_without_download_says_so():
    with pytest.raises(DataNotFoundError, match="no automatic download"):
        locate("things", holds)


def test_offline_names_the_cause_and_the_places(monkeypatch):
    import huggingface_hub

    def offline(*args, **kwargs):
        raise OSError("Network is unreachable\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.setattr(download, "WAITS", ())
    with pytest.raises(DataNotFoundError, match="OSError: Network is unreachable") as caught:
        locate("things", holds, hub=HUB, layouts=["here.txt"])
    assert "- here.txt" in str(caught.value) and "and more" not in str(caught.value)


def fake_cache(tmp_path, monkeypatch, content):
    """The hub's cache: a snapshot of links to blobs, filled on demand."""
    import huggingface_hub

    monkeypatch.setattr(download, "WAITS", ())

    def fake(repo, name, *, repo_type, revision):
        assert (repo, repo_type, revision) == ("someone/things", "dataset", COMMIT)
        blob = tmp_path / "hub" / "blobs" / Path(name).name
        link = tmp_path / "hub" / "snapshots" / revision / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            blob.write_bytes(content)
            link.symlink_to(blob)
        return str(link)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake)


def test_fetch_returns_the_folder_above_the_repository_paths(tmp_path, monkeypatch):
    fake_cache(tmp_path, monkeypatch, CONTENT)
    found = locate("things", lambda folder: (folder / "data").is_dir(), hub=HUB)
    assert found[:2] == (tmp_path / "hub" / "snapshots" / COMMIT, True)


def test_a_download_in_no_known_layout_is_named(tmp_path, monkeypatch):
    (tmp_path / "other.txt").write_text("x")
    monkeypatch.setattr("relcl_lib.data.download.fetch", lambda hub: tmp_path)
    with pytest.raises(DataNotFoundError, match="none of these layouts") as error:
        locate("things", lambda folder: None, hub=HUB, layouts=["here.txt"])
    assert str(tmp_path) in str(error.value)


def test_a_download_with_another_hash_is_named_and_removed(tmp_path, monkeypatch):
    fake_cache(tmp_path, monkeypatch, b"something else")
    with pytest.raises(DataFormatError, match=r"data/train\.bin: .*SHA-256.*load again"):
        locate("things", holds, hub=HUB)
    left = [p for p in (tmp_path / "hub").rglob("*") if p.is_file() or p.is_symlink()]
    assert left == []


def test_md5_mismatch_names_file_and_fix(tmp_path):
    file = tmp_path / "things.zip"
    file.write_bytes(CONTENT)
    check_md5(file, hashlib.md5(CONTENT).hexdigest())
    check_md5(file, None)
    with pytest.raises(DataFormatError, match=r"things\.zip: its MD5 is .*Download it again"):
        check_md5(file, "0" * 32)


def test_the_real_client_downloads_once_and_then_works_offline(tmp_path):
    sound = hub()
    with serving(sound) as endpoint:
        first = client(tmp_path, endpoint, code(hashes=False))
    assert first.returncode == 0, first.stderr
    folder = Path(first.stdout.strip())
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert len(sound.asked) == len(CONTENTS)
    assert not list(tmp_path.rglob("*.incomplete"))
    # Nobody serves any more; the pinned hashes are those of what lies there.
    second = client(tmp_path, endpoint, code())
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
