"""The one command: `relcl ...`, or `python -m relcl_lib ...` where the package is not installed.

Nothing but the command that was asked for is imported, and its help needs no torch.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from relcl_lib import __version__
from relcl_lib.lab.errors import explains_itself
from relcl_lib.papers.registry import PAPERS

PROGRAM = "python -m relcl_lib"


class Command(NamedTuple):
    """Where a command lives and what it does.

    `main` of `module` takes `words`, then the person's own, and returns the exit code.
    """

    module: str
    about: str
    words: tuple[str, ...] = ()


#: commands for all papers; `words` stand for a paper named in front, as in `relcl hpcr sweep`
SHARED = {
    "sweep": Command("relcl_lib.commands.sweep", "fill a paper's table", ("{paper}",)),
    "tables": Command(
        "relcl_lib.commands.tables", "ours beside the papers'", ("--paper", "{paper}")
    ),
    "claims": Command(
        "relcl_lib.commands.claims", "the papers' claims, and what records say", ("{paper}",)
    ),
    "figures": Command("relcl_lib.commands.figures", "draw the figures of recorded runs"),
    "demo": Command("relcl_lib.commands.demo", "run the notebooks on small data", ("{paper}",)),
    "upgrade": Command("relcl_lib.commands.upgrade", "rewrite records of an earlier version"),
}
_FASTRE = "relcl_lib.papers.fastre.command"
_CRECL = "relcl_lib.papers.crecl.command"
_DOCRE = "relcl_lib.papers.docre_ii.command"
#: commands of one paper
OWN = {
    ("hpcr", "features"): Command(
        "relcl_lib.papers.hpcr.features", "keep test features of a recorded run", ("features",)
    ),
    ("hpcr", "lossless"): Command(
        "relcl_lib.papers.hpcr.lossless", "estimate accuracy on lossless images", ("lossless",)
    ),
    ("hpcr", "measure"): Command(
        "relcl_lib.papers.hpcr.measure", "flatness and components of a recorded run", ("measure",)
    ),
    ("fastre", "train"): Command(_FASTRE, "train a tagger and save it", ("train",)),
    ("fastre", "extract"): Command(_FASTRE, "triples of your own sentences", ("extract",)),
    ("fastre", "evaluate"): Command(_FASTRE, "scores of a saved tagger on a file", ("evaluate",)),
    ("crecl", "learn"): Command(_CRECL, "teach a classifier your own relations", ("learn",)),
    ("crecl", "predict"): Command(_CRECL, "relations of your own sentences", ("predict",)),
    ("crecl", "evaluate"): Command(_CRECL, "accuracy on your own sentences", ("evaluate",)),
    ("docre_ii", "train"): Command(_DOCRE, "train on your own documents and save", ("train",)),
    ("docre_ii", "predict"): Command(_DOCRE, "relations of your own documents", ("predict",)),
    ("docre_ii", "evaluate"): Command(_DOCRE, "official scores of predictions", ("evaluate",)),
}

#: command -> what Ctrl-C leaves; of `extract` and `predict` where --out names a file
STOPPED = {
    **dict.fromkeys(
        ("sweep", "train"), "the same command goes on after the last finished epoch, task or run"
    ),
    "extract": "the same command with the same input goes on where it was",
    "learn": "nothing was written: the model is as it was",
    "predict": "nothing was written: the file of --out is as it was",
    "evaluate": "",
}


def stopped(words: Sequence[str]) -> str:
    """What to say of a command that was stopped by Ctrl-C."""
    name = next((word for word in words[:2] if word in STOPPED), "")
    left = STOPPED.get(name, "what had finished is kept")
    if name in ("extract", "predict") and not any(w.partition("=")[0] == "--out" for w in words):
        left = ""
    return f"stopped by Ctrl-C{'; ' * bool(left)}{left}"


def commands_of(paper: str) -> dict[str, Command]:
    """The commands that may follow a paper's name."""
    shared = {name: command for name, command in SHARED.items() if command.words}
    return shared | {name: command for (owner, name), command in OWN.items() if owner == paper}


def overview(paper: str | None = None) -> str:
    """The help: every command, or those of one paper."""
    if paper is None:
        lines = [(f"[PAPER] {n}" if c.words else n, c.about) for n, c in SHARED.items()]
        lines += [(" ".join(words), command.about) for words, command in OWN.items()]
    else:
        lines = [(f"{paper} {name}", c.about) for name, c in commands_of(paper).items()]
    width = max(len(words) for words, _ in lines)
    listed = "\n".join(f"  {words:{width}}  {about}" for words, about in lines)
    return (
        f"usage: {PROGRAM} {paper or '[PAPER]'} COMMAND ...\n\n{listed}\n\n"
        f"papers: {', '.join(PAPERS)}. Each command explains itself with --help, e.g.\n"
        f"  {PROGRAM} hpcr sweep table3 --dataset cifar10 --dry-run"
    )


def _choose(word: str, known: Iterable[str], what: str) -> str:
    known = list(known)
    if word in known:
        return word
    near = difflib.get_close_matches(word, known, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise ValueError(f"{word!r} is no {what}{hint} There are: {', '.join(known)}.")


def find(words: Sequence[str]) -> tuple[Command, list[str]]:
    """Return the command that the words name and what its `main` gets.

    Raises:
        ValueError: a word is not known; names the nearest ones and all.
    """
    first, second = words[0], words[1] if len(words) > 1 else ""
    if (second, first) in OWN:  # `train fastre`, as `sweep hpcr` is also understood
        first, second = second, first
    if first in PAPERS:
        command = commands_of(first)[_choose(second, commands_of(first), f"command of {first}")]
        return command, [word.format(paper=first) for word in command.words] + list(words[2:])
    if owners := [paper for paper, name in OWN if name == first]:
        forms = " or ".join(f"{PROGRAM} {owner} {first} ..." for owner in owners)
        raise ValueError(f"{first!r} is a command of a paper: {forms}")
    known = dict.fromkeys([*SHARED, *PAPERS, *(name for _, name in OWN)])
    return SHARED[_choose(first, known, "command or paper")], list(words[1:])


def _run(words: Sequence[str]) -> int:
    if words == ["--version"]:
        print(f"relcl {__version__}")
        return 0
    paper = words[0] if words and words[0] in PAPERS else None
    rest = words[1:] if paper else words
    if not rest or rest[0] in ("-h", "--help"):
        print(overview(paper), file=sys.stdout if rest else sys.stderr)
        return 0 if rest else 2
    command, given = find(words)
    return importlib.import_module(command.module).main(given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is its own, 2 after an error, 130 after Ctrl-C.

    An error whose message was written for a reader, or that names a file, is one line here.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # whose encoding may lack a letter of a result
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(words)
        finally:  # also where argparse leaves after its help
            sys.stdout.flush()  # here, where a closed pipe can still be caught
    except KeyboardInterrupt:
        print(f"\n{stopped(words)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has what it wanted (head); a second error at exit would say nothing new.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not (explains_itself(error) or isinstance(error, OSError)):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def alias(name: str) -> None:
    """Run `python -m relcl_lib.NAME`, the form of a command before 0.2, and say its new one."""
    new = f"{PROGRAM} {name}"
    print(f"{PROGRAM}.{name} is now '{new}'; the old form goes in 0.3", file=sys.stderr)
    sys.exit(main([name, *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
