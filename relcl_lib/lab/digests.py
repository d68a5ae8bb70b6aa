"""What a file is by its content, so that no number depends on what somebody called it.

Digesting a large file takes seconds, so digests are kept in the user's cache folder, by path, size and
times of change. The cache may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from relcl_lib.lab.files import atomic_write_text

#: hex digits that records keep of a digest
SHOWN = 16


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
    if (found := known.get(str(place))) and found[:-1] == state:
        return found[-1]
    with place.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        kept = {name: entry for name, entry in known.items() if Path(name).exists()}
        atomic_write_text(_cache_file(), json.dumps({**kept, str(place): [*state, digest]}))
    return digest


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
    except (OSError, ValueError, RuntimeError):  # RuntimeError: there is no home
        return {}
    return {
        name: entry
        for name, entry in (found.items() if isinstance(found, dict) else ())
        if isinstance(entry, list) and len(entry) == 4 and isinstance(entry[-1], str)
    }
