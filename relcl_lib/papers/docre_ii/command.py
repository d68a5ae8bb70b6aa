"""The commands of DocRE-II: train on documents, predict the relations in others, score predictions.

    python -m relcl_lib docre_ii train --data FOLDER --out FOLDER [NAME=VALUE ...]
    python -m relcl_lib docre_ii predict --model FOLDER < documents.jsonl > facts.jsonl
    python -m relcl_lib docre_ii evaluate --gold FILE --predictions FILE [--train FILE] [--mesh FILE]

Entities have to be marked already. `predict` reads DocRED's layout, one document per line (an object
with title, sents, vertexSet) or a JSON array of them on one line, or the PubTator format with any
kinds of entity; labels are not looked at. It writes one object per document, {"line", "title",
"facts"}, in order, where "line" counts the documents of an array; a fact has head and tail (numbers
of entities, with names), relation, score, margin over the threshold, and whether the base or the
inference module added it (`by`); one that inference added also names the pairs it rests on, those
with the largest attention weights, and what had been predicted of them. What cannot be read is named
on standard error and skipped; the exit code is then 1. `evaluate` reads these, or the file that
DocRED's competition takes (which `predict --submission` writes), and gold in either format. In
PubTator files entities are numbered by where they come first in the text. CDR's hypernym filter needs
the MeSH tree: without `--mesh` every predicted pair counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relcl_lib.lab.command_line import (
    SKIPPED,
    Counts,
    add_settings_help,
    parse,
    place,
    positive,
    result_path,
    results_to,
)

SCORES = (
    "Prints one JSON object. F1: all facts. IgnF1: without those that --train has, by names. Intra-F1, "
    "Inter-F1: pairs with, without a sentence that mentions both. Infer-F1: gold facts on a "
    "triangle of gold facts, against predictions on a triangle of predictions; Infer-F1_all: against "
    "all predictions, so that even a perfect system has a precision below 100. Both are left out where "
    "gold has no triangle. Documents that do not occur in --predictions count as without facts."
)

TRAINED = """\
Train a model on documents and save it in --out, as the folder `model`, beside records and checkpoints.

FOLDER holds train.json and dev.json in DocRED's layout (`predict --help` shows a document; a label
{"h": 0, "t": 1, "r": "P551"} names head, tail and relation), or PubTator files. test.json is optional.
The base is trained first, then base and inference module together; of each the epoch is kept that is
best on dev. Stopped, the same command goes on after the last finished epoch; when all is trained it
trains nothing anew. `predict --model` and other commands take --out or its folder `model`.
"""
PREDICTED = """Documents on stdin, one per line, on stdout a line of JSON for each (with --submission one array of all
facts).

A document in DocRED's layout, here on several lines; `pos` counts the words of sentence `sent_id`, its
second number is that of the word after the mention:

{"title": "a letter", "sents": [["Ada", "lives", "in", "Turin", "."]],
 "vertexSet": [[{"name": "Ada", "sent_id": 0, "pos": [0, 1], "type": "PER"}],
               [{"name": "Turin", "sent_id": 0, "pos": [3, 4], "type": "LOC"}]]}

and what comes out, facts with the numbers of their entities:

{"line": 1, "title": "a letter", "facts": [
 {"head": 0, "relation": "P551", "tail": 1, "score": 0.9, "margin": 2.2, "by": "base",
  "rests_on": [], "head_name": "Ada", "tail_name": "Turin"}]}

`score` is the sigmoid of `margin`, the logit above the threshold's. `by` is `inference` where the base
alone does not find the fact; then `rests_on` lists the pairs with the most attention. PubTator files
are read as well."""


@dataclass
class Predicted(Counts):
    """What prediction has done so far."""

    told = ("documents", "facts", "skipped")
    documents: int = 0
    facts: int = 0


def predict(options: argparse.Namespace) -> int:
    """Run `predict`; the exit code says whether lines were skipped."""
    from relcl_lib.data.document_files import OtherNames
    from relcl_lib.data.document_stream import stream_documents
    from relcl_lib.papers.docre_ii.predictor import Predictor

    if options.out:
        options.out = result_path(options.out, sys.stdin.buffer)
    model, numbers = Predictor.load(options.model, device=options.device), []
    left_out, names, counts = Counter(), OtherNames(), Predicted()

    def documents() -> Iterator[Any]:
        lines = sys.stdin.buffer
        for number, document in stream_documents(lines, counts.skipped, left_out, names):
            if (count := len(document.entities)) > (most := model.most_entities):
                typed = f"the markers of this model (markers='typed') tell {most} apart"
                said = f"it has {count} entities, and {typed}"
                counts.skipped.add("document at line", number, said)
                continue
            numbers.append(number)
            yield document

    threshold = model.threshold if options.tuned else 0.0
    if options.tuned and not model.note.get("tuned", True):
        said = "--tuned changes nothing: the dev documents of this model's training had no relation"
        print(said, file=sys.stderr)
    cut, unread, wanted = 0, 0, model.pairing.kinds or ()
    without_a_pair, came = 0, set()
    seen: set[str] = set()
    found = model.stream(documents(), threshold=threshold, chunk=options.chunk)
    with results_to(options.out) as out:
        for document, facts in found:
            number = numbers.pop(0)
            cut, unread = cut + facts.cut, unread + len(facts.unread)
            if options.submission:  # which knows documents by their titles alone
                if document.title in seen:
                    said = f"document at line {number}: a second {document.title!r}"
                    print(said, file=sys.stderr)
                seen.add(document.title)
                for before, fact in enumerate(facts, start=counts.facts):
                    row = {"title": document.title, "h_idx": fact.head, "t_idx": fact.tail}
                    row |= {"r": fact.relation, "evidence": []}
                    mark = "," if before else "["
                    print(mark, json.dumps(row, ensure_ascii=False), sep="\n", file=out)
            else:
                print(_line(number, document, facts), file=out)
            kinds = {mentions[0].type for mentions in document.entities}
            if document.pairs is None and not kinds.issuperset(wanted):
                without_a_pair, came = without_a_pair + 1, came | kinds
            counts.documents += 1
            counts.facts += len(facts)
            counts.tell(options.progress)
        if options.submission:
            print("]" if counts.facts else "[]", file=out)
    print(counts.line(), file=sys.stderr)
    if names.other:
        print(names, file=sys.stderr)
    if count := left_out["ungrounded_mentions"]:
        print(f"{count} mentions have no identifier and were left out", file=sys.stderr)
    if without_a_pair:
        print(
            f"{without_a_pair} documents lack entities of the kinds {' and '.join(wanted)}, between "
            f"which alone this model finds relations; they have {', '.join(sorted(came)) or 'none'}",
            file=sys.stderr,
        )
    if cut:
        print(
            f"{cut} documents are longer than the model reads: their ends were left out, and with "
            f"them {unread} entities, of which no fact is predicted",
            file=sys.stderr,
        )
    return SKIPPED if counts.skipped.count else 0


def _line(number: int, document: Any, facts: Any) -> str:
    """A document's facts as `predict` writes them."""
    names = [mentions[0].name for mentions in document.entities]
    shown = [
        {**_named(fact, names), "rests_on": [_named(support, names) for support in fact.rests_on]}
        for fact in facts
    ]
    line = {"line": number, "title": document.title, "facts": shown}
    if facts.cut:
        line |= {"cut": True, "unread": facts.unread}
    return json.dumps(line, ensure_ascii=False)


def _named(found: Any, names: Sequence[str]) -> dict[str, Any]:
    """A fact, or a pair that it rests on, with the names of its entities."""
    return {**found._asdict(), "head_name": names[found.head], "tail_name": names[found.tail]}


def read_predictions(path: Path) -> dict[str, set[Any]]:
    """Facts by the title of their document, of what `predict` wrote in either form.

    Raises:
        DataFormatError: names the record and the field that is wrong.
    """
    from relcl_lib.data.document_files import Fact, missing_or
    from relcl_lib.data.download import DataFormatError
    from relcl_lib.data.text_files import read_json_records

    found: dict[str, set[Any]] = {}
    for at, record in enumerate(read_json_records(path), start=1):
        try:
            facts = found.setdefault(str(record["title"]), set())
            if "facts" in record:
                if not isinstance(record["facts"], list):
                    raise TypeError(f"field facts: {record['facts']!r} is no list")
                if strange := [fact for fact in record["facts"] if not isinstance(fact, dict)]:
                    raise TypeError(f"field facts: {strange[0]!r} is no object")
                rows = [(fact["head"], fact["relation"], fact["tail"]) for fact in record["facts"]]
            else:
                rows = [(record["h_idx"], record["r"], record["t_idx"])]
            for head, relation, tail in rows:
                if type(head) is not int or type(tail) is not int:
                    raise TypeError(f"{head!r} and {tail!r} are no numbers of entities")
                if not isinstance(relation, str):
                    raise TypeError(f"the relation {relation!r} is no text")
                facts.add(Fact(head, relation, tail))
        except (KeyError, TypeError) as error:
            raise DataFormatError(
                path,
                f"record {at}: {missing_or(error)}",
                "A record is {title, h_idx, t_idx, r}, or a line that 'docre_ii predict' wrote",
            ) from error
    return found


def _sorted(fact: Any) -> Any:
    """A fact whose head is the entity of the smaller number."""
    head, tail = sorted((fact.head, fact.tail))
    return fact._replace(head=head, tail=tail)


def _undirected(document: Any) -> Any:
    """A document whose facts go from the entity of the smaller number to the other."""
    return replace(document, facts=tuple(map(_sorted, document.facts)))


def evaluate(options: argparse.Namespace) -> int:
    """Print the official scores of a file of predictions as one JSON object."""
    from relcl_lib.data.document_stream import read_any
    from relcl_lib.data.download import DataFormatError
    from relcl_lib.data.pubtator import read_mesh_tree
    from relcl_lib.text.document_metrics import all_scores, name_facts

    left_out: Counter[str] = Counter()
    tree = read_mesh_tree(options.mesh) if options.mesh else None
    gold, is_pubtator = read_any(options.gold, left_out, tree)
    if tree and not is_pubtator:
        has = "in DocRED's layout entities have no identifiers that the MeSH tree could tell of"
        raise DataFormatError(options.gold, has, "Leave out --mesh, or give PubTator files")
    training = read_any(options.train)[0] if options.train else []
    if not any(document.facts for document in gold):
        raise DataFormatError(options.gold, "no document has a relation", "Score on labelled ones")
    found = read_predictions(options.predictions)
    if is_pubtator and not options.directed:
        gold, training = (list(map(_undirected, documents)) for documents in (gold, training))
        found = {title: set(map(_sorted, facts)) for title, facts in found.items()}
    known = name_facts(training)
    if is_pubtator and not options.directed:  # which entity comes first differs between documents
        known |= {(tail, head, relation) for head, tail, relation in known}
    for name, why in (
        ("facts_without_mention", "name an entity that has no mention"),
        ("facts_of_one_entity", "go from an entity to itself"),
    ):
        if count := left_out[name]:
            print(f"{options.gold}: {count} relations {why} and do not count", file=sys.stderr)
    titles = [document.title for document in gold]
    if len(set(titles)) < len(titles):
        raise DataFormatError(options.gold, "two documents have one title", "Rename one of them")
    if strange := sorted(set(found) - set(titles)):
        raise DataFormatError(
            options.predictions,
            f"{len(strange)} document(s) are not in {options.gold}, {strange[0]!r} among them",
            "Predict for the documents of the gold file",
        )
    if missing := len(set(titles) - set(found)):
        what = f"{missing} of {len(titles)} gold documents do not occur and count as without facts"
        print(f"{options.predictions}: {what}", file=sys.stderr)
    relations = {fact.relation for document in gold for fact in document.facts or ()}
    if unknown := sorted({f.relation for facts in found.values() for f in facts} - relations):
        what = (
            f"{len(unknown)} relations that the gold file does not have, {unknown[0]!r} among them"
        )
        print(f"{options.predictions}: {what}", file=sys.stderr)
    for document in gold:
        count = len(document.entities)
        for fact in found.get(document.title, ()):
            if not (0 <= fact.head < count and 0 <= fact.tail < count):
                raise DataFormatError(
                    options.predictions,
                    f"document {document.title!r}: {tuple(fact)} names an entity that is not there",
                    f"It has {count} entities, counted from 0",
                )
    if tree:
        allowed = {document.title: {*document.candidates()} for document in gold}
        every = sum(map(len, found.values()))
        found = {
            title: {fact for fact in facts if (fact.head, fact.tail) in allowed[title]}
            for title, facts in found.items()
        }
        left = every - sum(map(len, found.values()))
        said = (
            f"the hypernym filter leaves out {left_out['excluded_pairs']} pairs, {left} predicted"
        )
        print(f"{options.predictions}: {said}", file=sys.stderr)
    scores = all_scores([found.get(title, set()) for title in titles], gold, known)
    if not known:
        del scores["IgnF1"]  # without the training facts it would only repeat F1
    print(json.dumps({name: round(value, 2) for name, value in scores.items()}, indent=1))
    return 0


def train(options: argparse.Namespace) -> int:
    """Train, or read what is trained, and save one model per seed."""
    from relcl_lib.data.download import check_folder
    from relcl_lib.lab.parameters import read_settings
    from relcl_lib.papers.docre_ii.parameters import LINEAR, DocreParameters

    values: dict[str, Any] = {"dataset": "own", "seeds": [0], "profile": options.profile}
    values["data_root"] = str(options.data)
    parameters = DocreParameters.create(values | read_settings(options.settings))
    if parameters.method == LINEAR or parameters.base == "stated_facts":
        which = f"method={LINEAR!r}" if parameters.method == LINEAR else "base='stated_facts'"
        raise ValueError(f"{which} leaves no model that can read documents; train another")
    check_folder("--data", options.data, "train.json and dev.json")

    # After what a person may have mistyped, as these load torch.
    from relcl_lib.lab.checkpoints import model_folders, refuse_other
    from relcl_lib.papers.docre_ii.predictor import ABOUT, Predictor
    from relcl_lib.papers.docre_ii.run import DocreRun, load_data, train_or_read
    from relcl_lib.text.document_tokens import TYPE_NUMBERS

    out, trained = options.out, False

    def on_epoch(run: DocreRun) -> None:
        nonlocal trained
        trained = True
        last = run.history[-1]
        print(
            f"seed {run.seed} stage {last['stage']} epoch {run.done}/{run.total}: loss "
            f"{last['loss']:.4f}, dev F1 {last['dev_F1']:.2f}, {last['seconds']:.0f} s",
            file=sys.stderr,
            flush=True,
        )

    data, work = load_data(parameters), out / "checkpoints"
    where = f" of {data.folder}" if data.folder else ""
    note = f"; {data.note}" if data.note else ""
    print(f"data: {data.name}, {data.source}{where}{note}", file=sys.stderr)
    if data.other_names:
        print(data.other_names, file=sys.stderr)
    if parameters.resolved().markers == "typed" and (kinds := untyped(data)):
        known = ", ".join(TYPE_NUMBERS)
        print(f"typed markers do not tell {kinds} apart (known: {known})", file=sys.stderr)
    folders = model_folders(out, parameters.seeds)
    for seed, folder in folders.items():  # now, not when an hour's training is to be saved
        refuse_other(folder, ABOUT, lambda s=seed: DocreRun(parameters, data, s).digest)
    records = train_or_read(
        parameters, data=data, results=out / "results", work_dir=work, on_unit=on_epoch
    )
    for seed, folder in folders.items():
        # Every epoch is in the checkpoint, so this trains nothing that is already trained.
        run = DocreRun(parameters, data, seed, work).train(on_epoch)
        for split in ("train", "dev"):
            counts = run.tokens(split).report
            if cut := counts.get("documents_cut"):
                print(
                    f"{split}: {cut} documents are longer than the model reads; "
                    f"{counts.get('entities_cut', 0)} entities stand only in what was cut",
                    file=sys.stderr,
                )
        if data.has_facts("dev") and not run.best_score:
            said = (
                f"seed {seed}: dev {run.settings.chosen_by} was 0 in each epoch of stage {run.stage}; "
                "the last is saved"
            )
            print(said, file=sys.stderr)
        print(f"model: {Predictor.of(run).save(folder)}", file=sys.stderr)
    if not trained:
        print("already trained: nothing was trained anew", file=sys.stderr)
    for record in records:
        names = ("F1", "F1_tuned", "AP", "F1_base", "F1_dev", "AP_dev")
        shown = {k: record.metrics[k] for k in names if k in record.metrics}
        print(json.dumps({"seed": record.seed, "protocol": record.protocol, **shown}))
        if behind := behind_base(record.metrics):
            print(f"seed {record.seed}: {behind}", file=sys.stderr)
    return 0


def untyped(data: Any) -> str:
    """The kinds of training entities that typed markers have no number for."""
    from relcl_lib.text.document_tokens import TYPE_NUMBERS

    found = {m.type for d in data.train for mentions in d.entities for m in mentions}
    return ", ".join(sorted(found - set(TYPE_NUMBERS) - {""}))


def behind_base(metrics: Mapping[str, float]) -> str:
    """What to say of a model that does worse on dev than its base did after stage 1; "" of others."""
    own, base = metrics.get("F1_dev"), metrics.get("F1_base_dev")
    if own is None or base is None or own >= base:
        return ""
    return (
        f"dev F1 is {own:.2f} after stage 2, below the {base:.2f} of the base alone after stage 1: "
        "train longer, with a larger stage2_epochs"
    )


def list_settings() -> str:
    """Every setting of `train`, with what it is where nothing else is said."""
    from relcl_lib.papers.docre_ii.parameters import DocreParameters

    usual = DocreParameters.create(profile="full").resolved().model_dump() | {
        "dataset": "own",
        "seeds": [0],
    }
    return "settings, as NAME=VALUE, with their defaults (profile full):\n" + (
        DocreParameters.listing(usual, leave_out=("profile", "data_root"))
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of the three commands."""
    parser = argparse.ArgumentParser(
        prog="python -m relcl_lib docre_ii",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    found = commands.add_parser(
        "predict",
        help="documents on stdin, facts on stdout",
        description=PREDICTED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--model", required=True, type=place, help="folder of a trained model")
    found.add_argument("--out", help="file for the facts instead of standard output")
    found.add_argument("--tuned", action="store_true", help="with the threshold best on dev")
    found.add_argument("--submission", action="store_true", help="as DocRED's competition takes it")
    found.add_argument(
        "--chunk", type=positive, default=64, help="documents held in memory (default: 64)"
    )
    found.add_argument(
        "--progress", type=positive, default=100, help="documents between two counts (default: 100)"
    )
    found.add_argument("--device", default="auto", help="auto, cpu or cuda")
    found.set_defaults(run=predict)
    scored = commands.add_parser(
        "evaluate", help="F1, IgnF1, Infer-F1 of predictions", description=SCORES
    )
    scored.add_argument("--gold", required=True, type=place, help="labelled documents")
    scored.add_argument("--predictions", required=True, type=place, help="what predict wrote")
    scored.add_argument("--train", type=place, help="training documents, for IgnF1")
    mesh = (
        "CDR: the MeSH tree (2017MeshTree.txt), by which pairs do not count whose disease is more "
        "general than one that the chemical does induce, as in training on CDR"
    )
    scored.add_argument("--mesh", type=place, help=mesh)
    directed = "PubTator: the direction of a fact counts (a model trained with orientation=kind)"
    scored.add_argument("--directed", action="store_true", help=directed)
    scored.set_defaults(run=evaluate)
    trained = commands.add_parser(
        "train",
        help="train a model and save it",
        description=TRAINED,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings_help(trained, list_settings)
    trained.add_argument(
        "--data", required=True, type=place, help="folder in DocRED's layout, or PubTator files"
    )
    trained.add_argument("--out", required=True, type=place, help="for model, records, checkpoints")
    trained.add_argument("--profile", default="full", help="quick, reduced or full (default)")
    trained.add_argument("settings", nargs="*", help="NAME=VALUE, e.g. encoder=FOLDER")
    trained.set_defaults(run=train)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code is 0, or 1 where lines were skipped."""
    options = parse(build_parser(), arguments)
    return options.run(options)
