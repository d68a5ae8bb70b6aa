import os
import subprocess
from hashlib import sha256
from unittest.mock import patch

import pytest

from relcl_lib.lab.digests import SUMS, check_sums, content_digest, file_digest, write_sums


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "relcl" / "digests.json"


def reads():
    return patch("relcl_lib.lab.digests.hashlib.file_digest", side_effect=AssertionError("read"))


def test_a_file_that_did_not_change_is_read_once(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    digest = file_digest(file)
    assert digest == sha256(b"abc").hexdigest()
    with reads():
        assert file_digest(file) == digest
        (tmp_path / "link").symlink_to(file)
        assert file_digest(tmp_path / "link") == digest


def test_a_change_is_seen_also_where_size_and_date_stay(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    before, stat = file_digest(file), file.stat()
    file.write_bytes(b"abd")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_mtime_ns == stat.st_mtime_ns
    assert file_digest(file) == sha256(b"abd").hexdigest() != before


@pytest.mark.parametrize("damage", ["{", "[]", '{"/x": 3}', ""])
def test_a_damaged_cache_costs_time_and_nothing_else(tmp_path, cache, damage):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    cache.parent.mkdir(parents=True)
    cache.write_text(damage)
    assert file_digest(file) == sha256(b"abc").hexdigest()
    with reads():
        file_digest(file)


def test_without_a_place_for_a_cache(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))  # no folder
    assert file_digest(file) == sha256(b"abc").hexdigest()


def test_files_that_are_gone_leave_the_cache(tmp_path, cache):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        file_digest(tmp_path / name)
        assert str(tmp_path / "a") in cache.read_text()
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_text("c")
    file_digest(tmp_path / "b")
    assert str(tmp_path / "a") not in cache.read_text()


def test_named_digests_in_any_order():
    parts = [("config.json", "1"), ("model.safetensors", "2")]
    assert content_digest(parts) == content_digest(parts[::-1])
    assert content_digest(parts) != content_digest(
        [("config.json", "2"), ("model.safetensors", "1")]
    )
    assert len(content_digest(parts)) == 16


def test_sums_tell_a_changed_and_a_missing_file(tmp_path):
    (tmp_path / "inner").mkdir()
    for name in ("a", "inner/b"):
        (tmp_path / name).write_text(name)
    check_sums(tmp_path)  # nothing to compare with
    write_sums(tmp_path)
    check_sums(tmp_path)
    told = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path, capture_output=True, check=True)
    assert told.stdout.count(b"OK") == 2
    (tmp_path / ".hidden").write_text("")
    check_sums(tmp_path)
    (tmp_path / "further").write_text("")
    with pytest.raises(ValueError, match="further is damaged or foreign"):
        check_sums(tmp_path)
    (tmp_path / "further").unlink()
    (tmp_path / "inner" / "b").write_text("c")
    with pytest.raises(ValueError, match=r"b is damaged.*remove SHA256SUMS"):
        check_sums(tmp_path)
    (tmp_path / "inner" / "b").unlink()
    with pytest.raises(ValueError, match="inner/b is missing"):
        check_sums(tmp_path)
    (tmp_path / SUMS).write_text("0" * 64 + " a\n")
    with pytest.raises(ValueError, match="SHA256SUMS is damaged"):
        check_sums(tmp_path)


def test_a_changed_entry_of_the_cache_is_no_entry(tmp_path, cache):
    file = tmp_path / "file"
    file.write_bytes(b"content")
    right = file_digest(file)
    text = cache.read_text()
    cache.write_text(text.replace(right, "0" * 64))
    assert file_digest(file) == right
    assert cache.read_text() == text
