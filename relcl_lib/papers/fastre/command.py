"""The commands of FastRE: train a tagger, extract triples with it, evaluate it.

    python -m relcl_lib fastre train --data FOLDER --out FOLDER [NAME=VALUE ...]
    python -m relcl_lib fastre extract --model FOLDER < texts.txt > triples.jsonl
    python -m relcl_lib fastre evaluate --model FOLDER --data FILE

`extract` reads one text per line from standard input (with --jsonl: one object with a field "text"),
splits it into sentences if the tagger was trained on single ones, and writes one JSON object per
line, {"line", "text", "triples"}, in order. A line that cannot be read is named on standard error
and skipped; the exit code is then 1. With --out FILE it goes on where it was, if it was stopped and
the same input comes again.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from relcl_lib.lab.command_line import (
    SKIPPED,
    Counts,
    add_settings_help,
    decode_json,
    decode_line,
    parse,
    place,
    positive,
    result_path,
    results_to,
)

WORDS = """\
Plain text is split into words and punctuation, and by characters where a script has no spaces;
text whose punctuation stands apart already ('born in Lowford .') keeps its words. The setting
words=spaces or words=punctuation in training says which, and the tagger remembers it; --words says it
for one extraction or evaluation. Spans are characters [start, end) of the text.
"""
EXTRACTED = """\
Texts come on standard input: < FILE. A line is a sentence or a paragraph. A tagger that was trained on
single sentences reads each sentence of plain text alone; one that was trained on longer texts, as
WebNLG's, reads a line whole.

One JSON object comes back per line: its number "line", its "text", and "triples" with subject,
relation, object, their characters subject_span and object_span, subject_type and score. "cut" is there
where a sentence has more words than the tagger reads, and says how many it reads. With --jsonl all
other fields of the objects that came in, such as an "id", come back after these. Lines that cannot be
read are named on standard error and skipped; the exit code is then 1.

"""
SCORES = """\
Precision, recall and F1, in per cent, of a saved tagger on a file of sentences with triples, in any
layout of data/README.md. Their texts are read as `extract` reads them, split as the tagger's training
texts were. A triple is right where its relation and both entities are the gold ones. Of an entity these are compared:
  F1_exact  the whole of it
  F1        its first word, as in the paper's numbers (the partial match); precision and recall too
  F1_last   its last word, as in files that keep no other
By the partial match, on the sentences
  F1_normal, F1_EPO, F1_SEO  whose triples share no entity, both entities, or one entity
  F1_n1 ... F1_n5+           with 1, 2, 3, 4, and 5 or more triples
"reliability" shows how well scores do as probabilities: of the triples found, in steps of a tenth, the
mean score, the share that is right in per cent, and how many they are. "calibration_error" is the mean
distance of the two.
How many triples of the file can be found in its texts at all is said on standard error: the others
cannot be right under the exact match.
"""
LINE_LIMIT = 1 << 20  # bytes; a longer line is malformed, so that no line can fill the memory
OWN = ("line", "text", "triples", "cut")  # fields of a result that are not the input's


@dataclass
class Extracted(Counts):
    """What extraction has seen so far."""

    told = ("lines", "triples", "cut", "empty", "skipped")
    lines: int = 0
    triples: int = 0
    empty: int = 0
    cut: int = 0
    across: int = 0

    def add(self, result: dict[str, Any]) -> None:
        """Count a result."""
        self.lines += 1
        self.triples += len(result["triples"])
        self.empty += not result["text"].strip()
        self.cut += "cut" in result


def read_lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line of a stream without its end; None for one longer than a mebibyte.

    A byte-order mark at its start, as where files were joined, is no part of a line.
    """
    while piece := stream.readline(LINE_LIMIT + 1):
        while piece.startswith(codecs.BOM_UTF8):
            piece = piece.removeprefix(codecs.BOM_UTF8)
        if len(piece) <= LINE_LIMIT or piece.endswith(b"\n"):
            yield piece.rstrip(b"\r\n")
            continue
        while piece and not piece.endswith(b"\n"):
            piece = stream.readline(LINE_LIMIT)
        yield None


def read_text(line: bytes | None, jsonl: bool) -> dict[str, Any]:
    """The "text" of a line, and what else its object holds; ValueError says how it is malformed."""
    if line is None:
        raise ValueError(f"longer than {LINE_LIMIT} bytes; put a paragraph on a line")
    text = decode_line(line)
    if jsonl:
        record = decode_json(text)
        if not has_text(record):
            has = ", ".join(list(record)[:8]) if isinstance(record, dict) else ""
            has = f" (it has {has})" if has else ""
            raise ValueError(f'no object with a text in the field "text"{has}')
        return {name: value for name, value in record.items() if name == "text" or name not in OWN}
    return {"text": text}


def has_text(record: Any) -> bool:
    """Whether a JSON value is an object with a text in the field "text"."""
    return isinstance(record, dict) and isinstance(record.get("text"), str)


def extract_stream(
    extractor: Any,
    lines: Iterable[bytes | None],
    *,
    jsonl: bool = False,
    chunk: int = 1024,
    counts: Extracted | None = None,
    first: int = 1,
    min_score: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Yield one result per readable line of `read_lines`, in order, extracting `chunk` lines at a time.

    No more than a chunk is held, however many lines there are; within one, sentences are sorted by
    length, so a larger chunk wastes less on padding. `counts` is updated on the way; its `skipped`
    names malformed lines. `first` is the number of the first of the lines.
    """
    counts = Extracted() if counts is None else counts
    held: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, start=first):
        record = _read(number, line, jsonl, counts)
        if record is not None:
            held.append((number, record))
        if len(held) == chunk:
            yield from _results(extractor, held, counts, min_score)
            held = []
    yield from _results(extractor, held, counts, min_score)


def _read(number: int, line: bytes | None, jsonl: bool, counts: Extracted) -> dict[str, Any] | None:
    """The record of a line; None where it is malformed, which is counted and told."""
    if jsonl and line is not None and not line.strip():
        return None  # as elsewhere in files of JSON lines
    try:
        record = read_text(line, jsonl)
    except ValueError as error:
        counts.skipped.add("line", number, error)
        return None
    if number == 1 and not jsonl:
        with contextlib.suppress(ValueError):
            if has_text(decode_json(record["text"])):
                said = (
                    'line 1 is a JSON object and was read as plain text; --jsonl reads its "text"'
                )
                print(said, file=sys.stderr)
    return record


def pass_over(
    lines: Iterator[bytes | None],
    kept: Iterable[dict[str, Any]],
    *,
    jsonl: bool = False,
    counts: Extracted,
    part: str | Path = "the file beside it whose name has .part-",
) -> int:
    """Pass over the lines whose results are kept from an earlier try; how many there were.

    `part` is where they are kept.

    Raises:
        ValueError: the results are of other lines.
    """
    passed, end = 0, object()
    for result in kept:
        record, line = None, None
        while record is None and line is not end:
            passed += 1
            line = next(lines, end)
            record = None if line is end else _read(passed, line, jsonl, counts)
        before = {k: v for k, v in result.items() if k == "text" or k not in OWN}
        # As text: a field may be NaN, which equals nothing.
        now, then = (json.dumps(fields, sort_keys=True) for fields in (record, before))
        if (passed, now) != (result["line"], then):
            raise ValueError(
                f"line {passed} is not the one that was extracted before: the input has changed. Take "
                f"another --out, or delete {part}"
            )
        counts.add(result)
    return passed


def _results(
    extractor: Any, held: Sequence[tuple[int, dict[str, Any]]], counts: Extracted, min_score: float
) -> Iterator[dict[str, Any]]:
    texts = [record["text"] for _, record in held]
    found, cuts = extractor.extract_with_cuts(texts, min_score) if held else ([], [])
    for (number, record), triples, cut in zip(held, found, cuts, strict=True):
        text = record["text"]
        result = {"line": number, "text": text, "triples": [t._asdict() for t in triples]}
        if cut is not None:
            result["cut"] = cut
        result |= record
        counts.across += _crossing(text, triples, extractor)
        counts.add(result)
        yield result


def _crossing(text: str, triples: Sequence[Any], extractor: Any) -> int:
    """How many triples have an entity that goes on after the end of a sentence."""
    from relcl_lib.text.splitting import sentence_spans

    # Where each was read alone none goes on, but for words that are apart: a mark among them ends one.
    sentences = [] if extractor.by_sentence else sentence_spans(text, extractor.words)

    def crosses(entity: str, span: Sequence[int]) -> bool:
        return bool({".", "!", "?"} & set(entity.split()[:-1])) or any(
            start <= span[0] < end < span[1] for start, end in sentences
        )

    return sum(
        crosses(t.subject, t.subject_span) or crosses(t.object, t.object_span) for t in triples
    )


def extract(options: argparse.Namespace) -> int:
    """Run `extract`; the exit code says whether lines were skipped."""
    from relcl_lib.papers.fastre.extract import Extractor
    from relcl_lib.papers.fastre.resume import ResultFile

    if options.out:
        options.out = result_path(options.out, sys.stdin.buffer)
    how = {"batch_size": options.batch_size, "precision": options.precision}
    extractor = Extractor.load(options.model, device=options.device, **how)
    extractor.words = options.words or extractor.words
    extractor.by_sentence &= not options.whole_lines
    counts, told = Extracted(), {"jsonl": options.jsonl}
    lines, out, passed = read_lines(sys.stdin.buffer), None, 0
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(results_to(None))
        stack.enter_context(extractor.ready())  # once, not for every chunk
        if options.out:
            shaping = (options.model, options.chunk)
            sifted = {"min_score": options.min_score, "device": str(extractor.device)}
            sifted |= {"by_sentence": extractor.by_sentence, "words": extractor.words}
            out = ResultFile(options.out, *shaping, **how, **sifted, **told)
            kept = stack.enter_context(out).kept()
            passed = pass_over(lines, kept, counts=counts, part=out.part, **told)
            if passed:
                print(f"going on at line {passed + 1}", file=sys.stderr)
        results = extract_stream(
            extractor,
            lines,
            chunk=options.chunk,
            counts=counts,
            first=passed + 1,
            **told,
            min_score=options.min_score,
        )
        for result in out.write(results) if out else results:
            if not out:
                shown.write(json.dumps(result, ensure_ascii=False) + "\n")
            counts.tell(options.progress)
    print(counts.line(), file=sys.stderr)
    if counts.across:
        have = "triple has" if counts.across == 1 else "triples have"
        said = "an entity with the end of a sentence in it: put one sentence on a line"
        print(f"{counts.across} {have} {said}", file=sys.stderr)
    return SKIPPED if counts.skipped.count else 0


def evaluate(options: argparse.Namespace) -> int:
    """Print the scores of a saved tagger on a file as one JSON object."""
    from relcl_lib.data.download import DataFormatError
    from relcl_lib.data.triples import read_sentences
    from relcl_lib.papers.fastre.evaluate import describe_compared, evaluate_on, locate
    from relcl_lib.papers.fastre.extract import Extractor
    from relcl_lib.papers.fastre.lost import describe_lost

    sentences = read_sentences(options.data)
    if not sentences:
        raise DataFormatError(options.data, "holds no sentence", "Score on sentences with triples")
    train = read_sentences(options.train) if options.train else []
    extractor = Extractor.load(options.model, device=options.device)
    extractor.words = options.words or extractor.words
    report = locate(extractor, sentences)
    print(located(options.data, report), file=sys.stderr)
    if lost := describe_lost(report, "evaluated"):
        print(lost, file=sys.stderr)
    scores = evaluate_on(extractor, sentences, train, options.min_score)
    bins = scores.pop("reliability")
    rounded = {name: round(value, 2) for name, value in scores.items()}
    rounded["reliability"] = [
        {"score": round(score, 4), "right": round(100 * right, 2), "triples": count}
        for score, right, count in bins
    ]
    print(json.dumps({"compared": describe_compared(rounded), **rounded}, indent=1))
    return 0


def located(name: str, report: dict[str, Any]) -> str:
    """How many triples of some sentences could be located."""
    found = f"{report['tagged']} of {report['triples']} triples located"
    return f"{name}: {report['sentences']} sentence{'s' * (report['sentences'] != 1)}, {found}"


def share(text: str) -> float:
    """A number from 0 to 1, as a `type` of argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 to 1")
    return value


def dataset_name(folder: str, known: Sequence[str]) -> str:
    """What a data set is called that was given as a folder: a known set's name, or the folder's."""
    name = Path(folder).expanduser().resolve().name
    if name.lower() in known:
        return name.lower()
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.+_")[:100] or "own"


def list_settings() -> str:
    """Every setting of `train`, with what it is where nothing else is said."""
    from relcl_lib.papers.fastre.parameters import FastreParameters

    usual = FastreParameters.create(profile="full").resolved().model_dump() | {"seeds": [0]}
    return (
        "settings, as NAME=VALUE, with their defaults (profile full; method=CasRel has others):\n"
        + FastreParameters.listing(usual, leave_out=("profile", "data_root"))
    )


def train(options: argparse.Namespace) -> int:
    """Train, or read what is trained, and save one tagger per seed."""
    from relcl_lib.data.download import check_folder
    from relcl_lib.data.triples import describe_repeats
    from relcl_lib.lab.checkpoints import model_folders, refuse_other
    from relcl_lib.lab.parameters import read_settings
    from relcl_lib.papers.fastre.confidence import describe_calibration
    from relcl_lib.papers.fastre.evaluate import describe_compared
    from relcl_lib.papers.fastre.extract import ABOUT
    from relcl_lib.papers.fastre.lost import describe_lost
    from relcl_lib.papers.fastre.parameters import FastreParameters
    from relcl_lib.papers.fastre.run import FastreRun, load_data, location_report, train_or_read
    from relcl_lib.papers.fastre.tables import DATASETS

    settings = read_settings(options.settings)
    values: dict[str, Any] = {"data_root": options.data, "seeds": [0], "profile": options.profile}
    if options.data and "dataset" not in settings:
        values["dataset"] = dataset_name(options.data, tuple(DATASETS))
    vectors = settings.get("word_vectors")
    if isinstance(vectors, str) and Path(vectors).expanduser().is_file():
        values["all_words"] = True  # so that the tagger knows words of other texts, too
    parameters = FastreParameters.create(values | settings)
    if options.data:
        check_folder("--data", options.data, "train.json")
    out, trained, told = options.out, False, {""}

    def tell(line: str) -> None:
        if line not in told:
            told.add(line)
            print(line, file=sys.stderr, flush=True)

    def on_epoch(run: FastreRun) -> None:
        nonlocal trained
        trained = True
        tell(run.vectors.note if run.vectors else "")
        last = run.history[-1]
        print(
            f"seed {run.seed} epoch {run.epochs_done}/{run.settings.epochs}: loss "
            f"{last['loss']:.4f}, valid F1 {last['valid_F1']:.2f}, {last['seconds']:.0f} s",
            file=sys.stderr,
            flush=True,
        )

    data, work = load_data(parameters), out / "checkpoints"
    tell(f"data: {data.name}, {data.source} of {data.folder}" + f"; {data.note}" * bool(data.note))
    tell(describe_repeats(data))
    for split in filter(data.sizes.get, data.sizes):
        report = location_report(data, parameters, split)
        tell(located(split, report))
        tell(describe_lost(report, split))
    folders = model_folders(out, parameters.seeds)
    for seed, folder in folders.items():  # now, not when an hour's training is to be saved
        refuse_other(folder, ABOUT, lambda s=seed: FastreRun(parameters, data, s).digest)
    records = train_or_read(
        parameters, data=data, results=out / "results", work_dir=work, on_unit=on_epoch
    )
    if not trained:
        print("already trained: nothing was trained anew", file=sys.stderr)
    for seed, folder in folders.items():
        # Every epoch is in the checkpoint, so this trains nothing that is already trained.
        run = FastreRun(parameters, data, seed, work).train(on_epoch)
        print(run.chosen, file=sys.stderr)
        tagger = run.calibrated()
        print(f"tagger: {tagger.save(folder)}", file=sys.stderr)
        print(describe_calibration(tagger.calibration), file=sys.stderr)
    names = ("F1_exact", "precision", "recall", "F1", "F1_valid")
    tell(describe_compared({"F1", *records[0].metrics} & set(names)))
    for record in records:
        shown = {name: record.metrics[name] for name in names if name in record.metrics}
        print(json.dumps({"seed": record.seed, "protocol": record.protocol, **shown}))
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of the three commands."""
    parser = argparse.ArgumentParser(
        prog="python -m relcl_lib fastre",
        description=f"{__doc__}\n{WORDS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    found = commands.add_parser(
        "extract",
        help="texts on stdin, triples on stdout",
        description=EXTRACTED + WORDS,
        formatter_class=raw,
    )
    found.add_argument("--model", required=True, help="folder of a trained tagger")
    found.add_argument(
        "--out",
        help="file for the triples instead of standard output; killed and started again with the same "
        "input, extraction goes on where it was",
    )
    found.add_argument("--jsonl", action="store_true", help='lines are objects with "text"')
    found.add_argument(
        "--whole-lines", action="store_true", help="never split a line into sentences"
    )
    for name, usual, about in (
        ("batch-size", 128, "sentences at a time"),
        ("chunk", 1024, "lines held in memory"),
        ("progress", 10_000, "lines between two counts"),
    ):
        shown = f"{about} (default: {usual})"
        found.add_argument(f"--{name}", type=positive, default=usual, help=shown)
    found.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "auto"),
        default="float32",
        help="bfloat16 is faster where the processor has it, and finds a few other triples; auto: there",
    )
    found.set_defaults(run=extract)
    scored = commands.add_parser(
        "evaluate",
        help="scores of a saved tagger on a file",
        description=SCORES,
        formatter_class=raw,
    )
    scored.add_argument("--model", required=True, help="folder of a trained tagger")
    scored.add_argument("--data", required=True, type=place, help="file of sentences with triples")
    about = "its training file: scores of triples seen there, and others"
    scored.add_argument("--train", type=place, help=about)
    scored.set_defaults(run=evaluate)
    for command in (found, scored):
        command.add_argument(
            "--min-score", type=share, default=0.0, help="leave out triples below this probability"
        )
        command.add_argument(
            "--words",
            choices=("auto", "spaces", "punctuation"),
            help="how texts are split into words (default: as the tagger remembers)",
        )
        command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    trained = commands.add_parser(
        "train",
        help="train a tagger and save it",
        description=WORDS,
        formatter_class=raw,
        add_help=False,
    )
    add_settings_help(trained, list_settings)
    trained.add_argument(
        "--data",
        help="folder with train.json, and valid.json and test.json if there are any, in a layout of "
        "data/README.md (default: the embedded corpus in the profile quick)",
    )
    trained.add_argument(
        "--out",
        required=True,
        type=place,
        help="folder for tagger, records, checkpoints; a tagger of other data or settings is not replaced",
    )
    trained.add_argument("--profile", default="full", help="quick, reduced or full (default)")
    trained.add_argument("settings", nargs="*", help="NAME=VALUE, e.g. dataset=webnlg epochs=20")
    trained.set_defaults(run=train)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code is 0, or 1 where lines were skipped."""
    options = parse(build_parser(), arguments)
    return options.run(options)
