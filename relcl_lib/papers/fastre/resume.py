"""The output of a long extraction in a file that is there when it is whole, and goes on after a kill.

Results are gathered in `.<name>.part-<12 hex digits>` beside it; the digits stand for the tagger and
the settings that shape results to the last bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from relcl_lib.lab.checkpoints import find_model
from relcl_lib.lab.command_line import result_path
from relcl_lib.lab.digests import content_digest, file_digest
from relcl_lib.lab.files import locked
from relcl_lib.papers.fastre.extract import ABOUT


class ResultFile:
    """Results, a line of JSON each; for a block in which no other process writes them.

    Args:
        path: where the file will be.
        model: folder of the tagger, or of the training that wrote it.
        chunk: results that are made together, which are kept all or none: in another company a
            sentence's scores may differ in the last bit.
        settings: what else shapes results.
    """

    def __init__(self, path: str | Path, model: str | Path, chunk: int, **settings: Any) -> None:
        self.path, self.chunk = result_path(path), chunk
        inside = (file for file in find_model(model, ABOUT).rglob("*") if file.is_file())
        parts = [(file.name, file_digest(file)) for file in inside]
        parts.append(("settings", json.dumps([chunk, settings], sort_keys=True)))
        name = f".{self.path.name}.part-{content_digest(parts)[:12]}"
        self.part = self.path.with_name(name)
        self.part.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.part.touch()
        self._lock = locked(self.part)  # a second one with the same name waits for its turn
        self._lock.__enter__()
        self.part.touch()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)

    def kept(self) -> Iterator[dict[str, Any]]:
        """What an earlier try has left, in whole chunks; the rest is cut off."""
        whole, end = 0, 0
        with self.part.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                if number % self.chunk == 0:
                    whole, end = number, file.tell()
        os.truncate(self.part, end)
        with self.part.open("rb") as file:
            for _ in range(whole):
                yield json.loads(file.readline())

    def write(self, results: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Append results and hand them on; at the end the file takes its name."""
        with self.part.open("a", encoding="utf-8") as file:
            for result in results:
                file.write(json.dumps(result, ensure_ascii=False) + "\n")
                yield result
            file.flush()
            os.fsync(file.fileno())
        self.part.replace(self.path)
