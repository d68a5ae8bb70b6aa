"""The commands of CRECL: teach a relation classifier, ask it, score it.

    python -m relcl_lib crecl learn --model FOLDER --data FILE [NAME=VALUE ...]
    python -m relcl_lib crecl predict --model FOLDER < sentences.jsonl > relations.jsonl
    python -m relcl_lib crecl evaluate --model FOLDER --data FILE

`learn` makes the model FOLDER, or teaches it further relations: those it knows stay, as a few
sentences of each are part of the folder; a relation that it knows learns from the new sentences too.
`predict` needs no relation and writes {"line", "relation", "nearest", "score"} per line, in order:
the nearest relation with its cosine, and as relation null where that is below the model's threshold
(--threshold -1 answers always). A line that cannot be read is named on standard error and skipped;
the exit code is then 1. A JSON array on one line will do, and "line" then counts its sentences.
`evaluate` counts sentences of relations that the model does not know as `unknown`, and how many of
them are refused, as is right; so it does those with "relation": null, which say none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relcl_lib.lab.command_line import (
    SKIPPED,
    Counts,
    add_settings_help,
    check_place,
    parse,
    place,
    positive,
    read_json_lines,
    result_path,
    results_to,
    tell_in_place,
)

if TYPE_CHECKING:
    from relcl_lib.papers.crecl.classifier import ContinualClassifier

LAYOUT = """A sentence is a line of JSON with its head and tail entity marked, by places in characters (from 0,
the end exclusive) or in place:

    {"text": "Ada was born in London.", "head": [0, 3], "tail": [16, 22], "relation": "born in"}
    {"text": "[E11] Ada [E12] was born in [E21] London [E22].", "relation": "born in"}

"""
FILES = """\
A file of sentences may also be in FewRel's layout, or in a folder as {0}.jsonl or {0}.json.
"""
LEARNED = """\
The first call begins the model, and settings are for it alone: they stay as they were. Each further
call teaches the same folder more: new relations, or more sentences of those it knows. Sentences that it
knows already teach it nothing: where there are no others, the model stays as it was. One sentence of a
relation is enough to begin with. Stopped, a call leaves the model as it was.

"""
ANSWERED = """\
Sentences on stdin, on stdout a line of JSON for each:

    {"line": 1, "relation": "born in", "nearest": "born in", "score": 0.8734}

`nearest` is the relation nearest to the sentence and `score` its cosine. `relation` is the answer: the
nearest one, or null where the cosine is below the model's threshold (--threshold -1 answers always).
What cannot be read is named on standard error and skipped; the exit code is then 1. The sentences
need no relation.

"""
SCORES = """\
Prints one JSON object, shares in per cent:
  sentences        of relations that the model knows
  accuracy_of_all  of them, whose nearest relation is right
  coverage         of them, that get an answer (the nearest relation is not refused)
  accuracy         of these answers, that are right
  too_long         sentences of which an entity lies beyond what the model reads: they have no answer
  relations        accuracy_of_all of each relation
  unknown          sentences of relations that the model does not know, or with "relation": null
  unknown_refused  of them, that get no answer, as is right
A share of no sentence is null. The last two are there where the file has such sentences.

"""
#: phases of training whose names say little
PHASES = {
    "CL1": "contrastive learning on the new sentences",
    "CL2": "contrastive learning on the memory",
}
#: sentences held out below which a report says that they are too few, and names that it shows
ENOUGH, SHOWN = 20, 12


def learn(options: argparse.Namespace) -> int:
    """Begin a model or teach it further, save it, and print what it learned as one JSON object."""
    from relcl_lib.lab.parameters import read_settings
    from relcl_lib.papers.crecl.parameters import own_settings

    settings = read_settings(options.settings)
    options.profile = settings.pop("profile", options.profile)
    own_settings(options.profile or "reduced", settings)

    # After what a person may have mistyped, as these load torch.
    from relcl_lib.data.marked_text import read_marked
    from relcl_lib.papers.crecl.methods import phases

    lessons = read_marked(options.data)
    if options.relation:
        if missing := [name for name in options.relation if name not in lessons]:
            known = ", ".join(sorted(lessons)[:12])
            raise ValueError(f"{options.data} has no relation {missing[0]!r}; it has {known}")
        lessons = {name: lessons[name] for name in options.relation}
    model = _begun_or_loaded(options, settings)
    started, steps = time.perf_counter(), phases(model.settings)

    def on_epoch(learner: Any, phase: str) -> None:
        entry, seconds = learner.history[-1], time.perf_counter() - started
        epoch, last = entry["epoch"] + 1, steps[phase]
        step = f"step {list(steps).index(phase) + 1} of {len(steps)}, {PHASES.get(phase, phase)}"
        done = f"epoch {epoch}/{last}, loss {entry['loss']:.2f}, {seconds:.0f} s"
        tell_in_place(f"{step}: {done}", last=epoch == last)

    counts = model.learn(lessons, on_epoch=on_epoch)
    if counts["too_long"]:
        left_out = (
            f"{counts['too_long']} sentences left out: an entity lies beyond {model.room} tokens"
        )
        print(left_out, file=sys.stderr)
    if counts["repeated"]:
        known = "held out, remembered, or given twice"
        print(f"{counts['repeated']} sentences known already ({known}): left out", file=sys.stderr)
    if counts["ambiguous"]:
        said = f"{counts['ambiguous']} sentences are given under more than one relation, and were learned"
        print(f"{said} as each; a sentence gets one answer", file=sys.stderr)
    if counts["sentences"]:
        print(f"model: {model.save(options.model)}", file=sys.stderr)
    else:
        print(f"nothing new: the model {options.model} stays as it was", file=sys.stderr)
    print(in_words(model), file=sys.stderr)
    shown = {name: round(value, 2) for name, value in model.report.items()}
    least = None if model.threshold is None else round(model.threshold, 4)
    shown = {**counts, "relations": len(model.relations), "threshold": least, **shown}
    shown["without_held_out"] = model.without_held_out()
    print(json.dumps(shown, ensure_ascii=False))
    return 0


def _begun_or_loaded(options: argparse.Namespace, given: dict[str, Any]) -> ContinualClassifier:
    """The model of the folder; a new one where there is none.

    Raises:
        ParameterError: settings are given for a model that has others.
    """
    from relcl_lib.data.weights import weights_digest, weights_folder
    from relcl_lib.lab.parameters import ParameterError
    from relcl_lib.papers.crecl.classifier import ABOUT, ContinualClassifier, refuse_foreign

    refuse_foreign(options.model)  # now, not when an hour's training is to be saved
    check_place("--model", options.model)
    if not Path(options.model, ABOUT).is_file():
        profile = options.profile or "reduced"
        return ContinualClassifier.begin(profile, **{"device": options.device, **given})
    model = ContinualClassifier.load(options.model, device=options.device)
    own = model.settings.model_dump()
    encoder = given.pop("encoder", None)
    if encoder is not None and weights_digest(weights_folder(encoder)) != model.encoder["digest"]:
        raise ParameterError(
            f"the model {options.model} began with the encoder {model.encoder['name']!r}, which it "
            f"has trained since, not with {encoder!r}: leave encoder out, or name another folder"
        )
    if options.profile is not None:
        raise ParameterError(f"--profile is for a new model, and {options.model} holds one already")
    for name, value in given.items():
        if own[name] != value:
            raise ParameterError(
                f"{name}={value!r}: the model {options.model} began with {own[name]!r} and keeps its "
                "settings; leave it out, or name another folder"
            )
    return model


def in_words(model: ContinualClassifier) -> str:
    """What the report on the sentences held out means."""
    if len(model.relations) == 1:
        return (
            f"With one relation nothing can be refused: every sentence gets {model.relations[0]!r} as "
            "its answer. With a second one, and five sentences of one of them, there is a threshold."
        )
    report = model.report
    if not report:
        return (
            "No sentence is held out (a relation needs five for one), so there is no threshold: "
            "every sentence gets an answer, also one of a relation that the model does not know."
        )
    n = report["held_out"]
    answered = round(n * report["coverage"] / 100)
    text = (
        f"Of {n} sentences held out {_with_interval(report['accuracy_of_all'], n)} have the right "
        f"relation nearest. With a cosine of at least {model.threshold:.2f} asked for, "
        f"{_with_interval(report['coverage'], n)} get an answer, and of these {answered} answers "
        f"{_with_interval(report['accuracy'], answered)} are right. In brackets: 95 % intervals "
        "(Wilson's). The threshold was chosen on these sentences: expect a little less on new ones."
    )
    if n < ENOUGH:
        text += f" {n} sentences are too few to tell how it will do."
    text += f" {_of_unknown(report)}"
    if without := model.without_held_out():
        more = f" and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
        text += (
            " No sentence is held out, so nothing is said here, of: "
            f"{', '.join(without[:SHOWN])}{more}."
        )
    return text


def _of_unknown(report: Mapping[str, float]) -> str:
    """What is known of sentences whose relation the model does not know."""
    if "unknown_refused" not in report:
        return (
            "How many sentences of a relation that it does not know get no answer has not been "
            "measured: that takes sentences of new relations before they are learned, so the next "
            "lesson that brings some will tell, and so does `evaluate` on sentences of your own."
        )
    many = report["unknown_relations"]
    return (
        f"Of {report['unknown']} sentences of {many} relations that were new to it, scored just before "
        f"it learned them, {_with_interval(report['unknown_refused'], many)} would have got no answer "
        "from a threshold that refused as many of the sentences held out until then as this one does "
        "now. That interval counts relations, as sentences of one are alike; the threshold was chosen "
        "on these, too."
    )


def _with_interval(share: float, count: int) -> str:
    """A share in per cent of a count of sentences (or relations), with its 95 % interval."""
    from scipy.stats import binomtest

    if not count:
        return f"{share:.0f} %"
    found = binomtest(round(count * share / 100), count).proportion_ci(method="wilson")
    return f"{share:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f} %)"


@dataclass
class Predicted(Counts):
    """What prediction has done so far."""

    told = ("sentences", "answered", "skipped")
    sentences: int = 0
    answered: int = 0


def predict(options: argparse.Namespace) -> int:
    """Run `predict`; the exit code says whether lines were skipped."""
    from relcl_lib.data.marked_text import as_marked
    from relcl_lib.papers.crecl.classifier import ContinualClassifier

    if options.out:
        options.out = result_path(options.out, sys.stdin.buffer)
    model = ContinualClassifier.load(options.model, device=options.device)
    counts, numbers = Predicted(), []

    def sentences() -> Any:
        def read(number: int, record: Any) -> Any:
            return as_marked("input", number, record, labelled=False)

        for number, sentence in read_json_lines(sys.stdin.buffer, read, counts.skipped):
            numbers.append(number)
            yield sentence

    with results_to(options.out) as out:
        for one in model.stream(sentences(), threshold=options.threshold, chunk=options.chunk):
            number = numbers.pop(0)
            if one is None:
                problem = f"an entity lies beyond {model.room} tokens"
                counts.skipped.add("line", number, problem)
                continue
            line = {"line": number, "relation": one.relation, "nearest": one.nearest}
            shown = json.dumps({**line, "score": round(one.score, 4)}, ensure_ascii=False)
            print(shown, file=out)
            counts.sentences += 1
            counts.answered += one.relation is not None
            counts.tell(options.progress)
    print(counts.line(), file=sys.stderr)
    return SKIPPED if counts.skipped.count else 0


def evaluate(options: argparse.Namespace) -> int:
    """Print the scores on labelled sentences as one JSON object."""
    from relcl_lib.data.marked_text import read_marked
    from relcl_lib.papers.crecl.classifier import ContinualClassifier

    model = ContinualClassifier.load(options.model, device=options.device)
    lessons = read_marked(options.data, split="test", none=True)
    scores = model.evaluate(lessons, options.threshold)
    if scores["too_long"]:
        unread = f"{scores['too_long']} sentences have no answer: an entity lies beyond {model.room} tokens"
        print(unread, file=sys.stderr)
    each = {name: round(value, 2) for name, value in scores.pop("relations").items()}
    shown = {name: value if value is None else round(value, 2) for name, value in scores.items()}
    print(json.dumps({**shown, "relations": each}, ensure_ascii=False, indent=1))
    return 0


def cosine(text: str) -> float:
    """A number from -1 to 1, as a `type` of argparse."""
    value = float(text)
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is no cosine: from -1 to 1")
    return value


def list_settings() -> str:
    """Every setting of `learn`, with what it is where nothing else is said."""
    from relcl_lib.papers.crecl.parameters import FOREIGN, OWN, CreclParameters

    usual = CreclParameters.create({"seeds": [2021], **OWN, "profile": "reduced"}).resolved()
    return "settings, as NAME=VALUE, with their defaults (profile reduced):\n" + (
        CreclParameters.listing(usual.model_dump(), leave_out=("profile", "device", *FOREIGN))
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of the three commands."""
    parser = argparse.ArgumentParser(
        prog="python -m relcl_lib crecl",
        description=f"{__doc__}\n{LAYOUT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    raw = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    begun = {"help": "begin a model, or teach it further", "add_help": False, **raw}
    taught = commands.add_parser(
        "learn", description=LEARNED + LAYOUT + FILES.format("train"), **begun
    )
    add_settings_help(taught, list_settings)
    taught.add_argument("--model", required=True, type=place, help="folder of the model")
    taught.add_argument("--data", required=True, type=place, help="sentences with their relations")
    taught.add_argument(
        "--relation",
        action="append",
        type=str.strip,
        metavar="NAME",
        help="only this one of the file; repeatable",
    )
    taught.add_argument("--profile", help="of a new model: quick, reduced (default) or full")
    taught.add_argument("--device", default="auto")
    taught.add_argument(
        "settings", nargs="*", help="NAME=VALUE of a new model, e.g. encoder=FOLDER"
    )
    taught.set_defaults(run=learn)
    about = {"help": "sentences on stdin, relations on stdout", "description": ANSWERED + LAYOUT}
    asked = commands.add_parser("predict", **about, **raw)
    asked.add_argument(
        "--chunk", type=positive, default=256, help="sentences held in memory (default: 256)"
    )
    asked.add_argument("--out", help="file for the answers instead of standard output")
    asked.add_argument(
        "--progress",
        type=positive,
        default=1000,
        help="sentences between two counts (default: 1000)",
    )
    asked.set_defaults(run=predict)
    about = {
        "help": "accuracy on labelled sentences",
        "description": SCORES + LAYOUT + FILES.format("test"),
    }
    scored = commands.add_parser("evaluate", **about, **raw)
    scored.add_argument("--data", required=True, type=place, help="sentences with their relations")
    scored.set_defaults(run=evaluate)
    for command in (asked, scored):
        command.add_argument("--model", required=True, type=place, help="folder of the model")
        command.add_argument("--threshold", type=cosine, help="least cosine (default: the model's)")
        command.add_argument("--device", default="auto")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code is 0, or 1 where lines were skipped."""
    options = parse(build_parser(), arguments)
    return options.run(options)
