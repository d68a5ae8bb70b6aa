"""What the command lines of the papers share beyond argparse."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TextIO

from relcl_lib.lab.files import atomic_file
from relcl_lib.lab.json_text import parse_json

#: lines that cannot be read which are named; further ones are only counted
NAMED = 20
#: exit code of a command that passed over what it could not read
SKIPPED = 1
#: how a file that gzip made begins
GZIP = b"\x1f\x8b"
CONVERT = "iconv -f OLD -t UTF-8 converts a file"


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
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [part for w in given for part in (w.split("=", 1) if w.startswith("--") else [w])]
    if "" in words:
        before = words[words.index("") - 1] if words[0] else parser.prog
        parser.error(f"nothing stands after {before}; is a variable of the shell not set?")
    options, more = parser.parse_known_args(given)
    hint = ""
    if "settings" in options:
        options.settings += [word for word in more if not word.startswith("-")]
        more = [word for word in more if word.startswith("-")]
        if more:
            name, _, value = more[0].lstrip("-").partition("=")
            value = value or next(iter(given[given.index(more[0]) + 1 :]), "")
            value = "VALUE" if not value or value.startswith("-") else value
            hint = f"; settings are written NAME=VALUE: {name.replace('-', '_')}={value}"
    elif more and not more[0].startswith("-"):
        hint = "; a file has an option (see --help), or comes on standard input (< FILE)"
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}{hint}")
    return options


def result_path(path: str | Path, source: BinaryIO | None = None) -> Path:
    """Where results go.

    Raises:
        ValueError: that is a folder, a device, the file that is read, or a place where no file can be.
    """
    path = Path(path).expanduser()
    if path.exists() and not path.is_file():
        raise ValueError(f"--out {path} is no plain file; name a file for the results")
    with contextlib.suppress(OSError):  # no such file yet, or a source that is none
        if source is not None and os.path.samestat(path.stat(), os.fstat(source.fileno())):
            raise ValueError(f"--out {path} is the input itself; name another file for the results")
    check_place("--out", path)
    return path


def check_place(option: str, path: Path) -> None:
    """Refuse a place where nothing can be written: now, not when an hour's work is to be saved.

    Raises:
        ValueError: names the option and the nearest folder that is there.
    """
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        said = f"{option} {path}: the folder {folder} cannot be written to; name another"
        raise ValueError(said) from error


def place(text: str) -> Path:
    """A path, as a `type` of argparse: shells leave a ~ after = as it is."""
    return Path(text).expanduser()


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


def tell_in_place(line: str, *, last: bool = False) -> None:
    """Say on standard error how far a command is; on a terminal the next one takes its place."""
    end = "\r" if sys.stderr.isatty() and not last else "\n"
    print(line, end=end, file=sys.stderr, flush=True)


@dataclass
class Skipped:
    """What of an input cannot be read: the first are named in `complain`, all are counted.

    None is standard error. What to do about it is said once.
    """

    complain: TextIO | None = None
    count: int = 0
    _advised: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return str(self.count)

    def add(self, what: str, number: int, problem: str | Exception) -> None:
        """Name what cannot be read by what it is and its number, and say why."""
        self.count += 1
        if self.count > NAMED + 1:
            return
        said = "further skipped lines are only counted"
        if self.count <= NAMED:
            # An error of a data file has its file, which is the input, and its advice apart.
            fix = getattr(problem, "fix", "")
            advice = f". {fix}." if fix and fix not in self._advised else ""
            self._advised.add(fix)
            why = str(getattr(problem, "problem", problem)).removeprefix(f"record {number}")
            said = f"{what} {number} skipped: {why.lstrip(',: ')}{advice}"
        print(said, file=self.complain or sys.stderr)


@dataclass
class Counts:
    """What a command has done so far. A subclass has the counts, and says which are `told`, in order."""

    told: ClassVar[tuple[str, ...]] = ()
    skipped: Skipped = field(default_factory=Skipped, kw_only=True)
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
            tell_in_place(self.line())


def decode_line(line: bytes) -> str:
    """The text of a line of an input; ValueError says in what other encoding it seems to be."""
    if line.startswith(GZIP):
        raise ValueError("gzip, no text: unpack it first, as 'zcat FILE | ...' does")
    if b"\0" in line:  # which UTF-8 may hold, but no text does
        raise ValueError(
            f"not UTF-8 but UTF-16 or UTF-32, or no text: it holds a NUL character; {CONVERT}"
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1}; {CONVERT}") from None


def decode_json(text: str) -> Any:
    """The JSON value of a line's text; ValueError says that it is none."""
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None


def read_json_lines(
    lines: Iterable[bytes], read: Callable[[int, Any], Any], skipped: Skipped
) -> Iterator[tuple[int, Any]]:
    """Yield (line, what `read` makes of line and record) for each line of JSON that it can.

    The others are `skipped`; empty ones are passed over, and so is a byte-order mark. `read` raises
    ValueError where a record does not fit. An input of one line may hold an array of records, which
    are counted in place of lines.

    Raises:
        ValueError: the input is an array, or begins with a record, over several lines.
    """
    filled = _filled(lines)
    first = next(filled, None)
    if first is None:
        return
    # No whole record: it goes on, or the input breaks off there.
    if re.match(rb"\s*\{(.*[{\[,])?\s*$", first[1]):
        if (second := next(filled, None)) and not second[1].lstrip().startswith(b"{"):
            raise ValueError(
                "the input is a record over several lines: give one record per line, as "
                "'python -m json.tool --compact FILE' writes it"
            )
        filled = chain([second] if second else [], filled)
    what, texts = "line", chain([first], filled)
    if re.match(rb"\s*\[\s*([{\]]|$)", first[1]):  # of records, each an object; no [E11] of a text
        if next(filled, None) is not None:
            raise ValueError(
                "the input is an array over several lines: give one record per line, or the array "
                "on one line, as 'python -m json.tool --compact FILE' writes it"
            )
        try:
            records = decode_json(decode_line(first[1]))
        except ValueError:
            pass  # named below
        else:
            what, texts = "record", enumerate(records, start=1)
    for number, text in texts:
        try:
            record = decode_json(decode_line(text)) if what == "line" else text
            yield number, read(number, record)
        except ValueError as error:  # no UTF-8, no JSON, or not what is read here
            skipped.add(what, number, error)


def _filled(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers, without a byte-order mark."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line
