"""What the command lines of the papers share beyond argparse."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TextIO

from relcl_lib.lab.files import atomic_file
from relcl_lib.lab.json_text import parse_json


def positive(text: str) -> int:
    """An integer of at least 1, as a `type` of argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def add_settings_help(parser: argparse.ArgumentParser, listing: Callable[[], str]) -> None:
    """Give a parser made with `add_help=False` a help that ends in `listing()`, read when asked for."""

    class SettingsHelp(argparse._HelpAction):
        def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
            parser.epilog = listing()
            super().__call__(parser, *rest)

    parser.add_argument("-h", "--help", action=SettingsHelp, help="this, and every setting")


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse arguments; `settings`, where a command takes some, may stand on both sides of options.

    argparse takes them in one row only, and leaves over what follows a further option.
    """
    options, more = parser.parse_known_args(arguments)
    if "settings" in options:
        options.settings += [word for word in more if not word.startswith("-")]
        more = [word for word in more if word.startswith("-")]
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return options


def result_path(path: str | Path, source: BinaryIO | None = None) -> Path:
    """Where results go; ValueError where that is a folder, a device, or the file that is read."""
    path = Path(path).expanduser()
    if path.exists() and not path.is_file():
        raise ValueError(f"--out {path} is no plain file; name a file for the results")
    with contextlib.suppress(OSError):  # no such file yet, or a source that is none
        if source is not None and os.path.samestat(path.stat(), os.fstat(source.fileno())):
            raise ValueError(f"--out {path} is the input itself; name another file for the results")
    return path


@contextlib.contextmanager
def results_to(path: Path | None) -> Iterator[TextIO]:
    """Where a command writes, in UTF-8: a file that is there when it is whole; None: standard output."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        sys.stdout.flush()
        return
    with atomic_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        try:
            yield text
        finally:
            text.detach()


@dataclass
class Counts:
    """What a command has done so far. A subclass has the counts, and says which are `told`, in order."""

    told: ClassVar[tuple[str, ...]] = ()
    started: float = field(default_factory=time.perf_counter, kw_only=True)

    def line(self) -> str:
        """All in one line; the first is what is counted per second."""
        counts = {name: getattr(self, name) for name in self.told}
        rate = counts[self.told[0]] / max(time.perf_counter() - self.started, 1e-9)
        each = [f"{count} {name}" for name, count in counts.items()]
        return ", ".join([*each, f"{rate:.{0 if rate >= 10 else 1}f} per second"])

    def tell(self, every: int) -> None:
        """Say it on standard error after every so many; on a terminal in the same place."""
        if getattr(self, self.told[0]) % every == 0:
            end = "\r" if sys.stderr.isatty() else "\n"
            print(self.line(), end=end, file=sys.stderr, flush=True)


def read_json_lines(
    lines: Iterable[bytes],
    read: Callable[[int, Any], Any],
    skipped: list[int],
    complain: TextIO,
) -> Iterator[tuple[int, Any]]:
    """Yield (line, what `read` makes of line and record) for each line of JSON that it can.

    The others are named in `complain` and counted in `skipped`; empty ones are passed over, and so is
    a byte-order mark. `read` raises ValueError where a record does not fit. An input of one line may
    hold an array of records, which are counted in place of lines.

    Raises:
        ValueError: the input is an array over several lines.
    """
    filled = _filled(lines)
    first = next(filled, None)
    if first is None:
        return
    what, texts = "line", chain([first], filled)
    if first[1].lstrip()[:1] == b"[":  # no record: each is an object
        if next(filled, None) is not None:
            raise ValueError(
                "the input is an array over several lines: give one record per line, or the array "
                "on one line, as 'python -m json.tool --compact FILE' writes it"
            )
        try:
            records = parse_json(first[1].decode("utf-8"))
        except ValueError:
            pass  # named below
        else:
            what, texts = "record", enumerate(records, start=1)
    for number, text in texts:
        try:
            record = parse_json(text.decode("utf-8")) if what == "line" else text
            yield number, read(number, record)
        except ValueError as error:  # no UTF-8, no JSON, or not what is read here
            skipped.append(number)
            print(f"{what} {number} skipped: {error}", file=complain)


def _filled(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers, without a byte-order mark."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line
