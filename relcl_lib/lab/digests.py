"""What a file is by its content, so that no number depends on what somebody called it.

Digesting a large file takes seconds, so digests are kept in the user's cache folder, by path, size and
times of change. The cache may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from relcl_lib.lab.files import atomic_write_text

#: hex digits that records keep of a digest
SHOWN = 16
#: beside saved files: the digest of each, as `sha256sum -c` reads them
SUMS = "SHA256SUMS"


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, 64 hex digits; of a file that did not change since, without reading it.

    Raises:
        OSError: it cannot be read.
    """
    place = Path(path).resolve()
    stat = place.stat()
    # The time of the inode's change moves on also where a copy takes over size and date.
    state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    known = _cached()
    if (found := known.get(str(place))) and found[:-2] == state:
        return found[-2]
    digest = hash_of(place)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        kept = {name: entry for name, entry in known.items() if Path(name).exists()}
        entry = [*state, digest, _check(str(place), [*state, digest])]
        atomic_write_text(_cache_file(), json.dumps({**kept, str(place): entry}))
    return digest


def write_sums(folder: str | os.PathLike[str]) -> None:
    """Write the SHA-256 of each file below a folder beside them, for `check_sums`."""
    folder = Path(folder)
    lines = [f"{hash_of(file)}  {file.relative_to(folder).as_posix()}\n" for file in _files(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: str | os.PathLike[str]) -> None:
    """Compare the files of a folder with what `write_sums` wrote; without that there is no check.

    Raises:
        ValueError: names a file that is missing, has changed or came later (hidden ones may), or the
            list where it is damaged.
        OSError: a file cannot be read.
    """
    folder = Path(folder)
    if not (folder / SUMS).exists():
        return
    listed = {}
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if not re.fullmatch("[0-9a-f]{64}", digest) or not name or name in listed:
            raise ValueError(f"{SUMS} is damaged")
        listed[name] = digest
    for file in _files(folder):
        if listed.pop(file.relative_to(folder).as_posix(), None) != hash_of(file):
            raise ValueError(
                f"{file.name} is damaged or foreign: its SHA-256 is not in {SUMS}; if you have changed "
                f"or added it yourself, remove {SUMS}"
            )
    if listed:
        raise ValueError(f"{next(iter(listed))} is missing, or {SUMS} is damaged")


def _files(folder: Path) -> list[Path]:
    files = (f for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    return sorted(file for file in files if file.name != SUMS)


def hash_of(path: Path, algorithm: str = "sha256") -> str:
    """Hash a file piece by piece, whatever its size; nothing is kept."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def content_digest(parts: Iterable[tuple[str, str]]) -> str:
    """One digest of named digests, `SHOWN` hex digits; their order does not matter."""
    return hashlib.sha256(json.dumps(sorted(parts)).encode()).hexdigest()[:SHOWN]


def _cache_file() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "relcl" / "digests.json"


def _cached() -> dict[str, list]:
    """What is in the cache; a damaged one is as good as none."""
    try:
        found = json.loads(_cache_file().read_text(encoding="utf-8"))
    except (
        OSError,
        ValueError,
        RuntimeError,
    ):  # RuntimeError: there is no home, or nested too deep
        return {}
    return {
        name: entry
        for name, entry in (found.items() if isinstance(found, dict) else ())
        if isinstance(entry, list) and len(entry) == 5 and entry[-1] == _check(name, entry[:-1])
    }


def _check(name: str, entry: list) -> str:
    """What shows that an entry is as it was written: a wrong digest would end up in records."""
    return content_digest([(name, json.dumps(entry))])
