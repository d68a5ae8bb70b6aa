"""Documents with entities and relations, and the JSON layout of DocRED that Re-DocRED shares.

Positions count tokens of one sentence and ends are exclusive. Entities and sentences are named by
their numbers in the document, from 0.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from relcl_lib.data.download import DataFormatError, matches
from relcl_lib.data.text_files import read_json_records

#: what may list the relations beside documents, see `download.matches`
LISTED = ("rel2id.json",)
AGAIN = (
    "Write it in DocRED's layout: title, sents, vertexSet, labels; if it is a download, get the file "
    "again"
)


class Mention(NamedTuple):
    """Tokens `start` to `end` (exclusive) of a sentence, the entity type and the text there."""

    sentence: int
    start: int
    end: int
    type: str
    name: str


class Fact(NamedTuple):
    """A relation from one entity of a document to another."""

    head: int
    relation: str
    tail: int


@dataclass(frozen=True)
class Document:
    """A document: sentences of tokens, entities with their mentions, and what is annotated.

    `facts` is None where the labels are not public. `pairs` lists the ordered pairs to classify in
    rising order; None stands for every pair of two entities. `inferred` are the facts that no
    sentence states, `hops` how many stated facts each of `facts` rests on; None where the data does
    not say.
    """

    title: str
    sentences: tuple[tuple[str, ...], ...]
    entities: tuple[tuple[Mention, ...], ...]
    facts: tuple[Fact, ...] | None
    pairs: tuple[tuple[int, int], ...] | None = None
    inferred: frozenset[Fact] | None = None
    hops: tuple[int, ...] | None = None

    def candidates(self) -> list[tuple[int, int]]:
        """List the ordered pairs to classify, in rising order."""
        if self.pairs is not None:
            return list(self.pairs)
        count = len(self.entities)
        return [(s, o) for s in range(count) for o in range(count) if s != o]

    def gold(self) -> set[Fact]:
        """The annotated facts as a set; ValueError where the labels are not public."""
        if self.facts is None:
            raise ValueError(
                f"document {self.title!r} has no public labels, so it cannot be scored; write a "
                "result file and hand it in"
            )
        return set(self.facts)


@dataclass
class OtherNames:
    """Mentions whose name is not what stands at their words, and the first of them.

    White space does not count. A few of DocRED's own differ, so it is no error; where places are
    counted wrongly, most do.
    """

    mentions: int = 0
    other: int = 0
    first: str = ""

    def add(self, where: str, document: Document) -> None:
        """Look at a document; `where` says which it is."""
        for number, mentions in enumerate(document.entities):
            for mention in mentions:
                self.mentions += 1
                words = document.sentences[mention.sentence][mention.start : mention.end]
                if "".join("".join(words).split()) == "".join(mention.name.split()):
                    continue
                self.other += 1
                self.first = self.first or (
                    f"{where} {document.title!r}, entity {number}: {mention.name!r}, but "
                    f"{' '.join(words)!r} stands at [{mention.start}, {mention.end}] of sentence "
                    f"{mention.sentence}"
                )

    def __str__(self) -> str:
        """What to say of them; empty for none."""
        if not self.other:
            return ""
        have = "has" if self.other == 1 else "have"
        return (
            f"{self.other} of {self.mentions} mentions {have} another name than the words at their "
            f"pos ({self.first}): pos counts words from 0, the end exclusive"
        )


def missing_or(error: Exception) -> str:
    """What is wrong with a record, of the error that reading it raised."""
    return f"no field {error.args[0]}" if isinstance(error, KeyError) else str(error)


def read_documents(
    path: str | os.PathLike[str], relations: Collection[str] | None = None, *, labelled: bool = True
) -> list[Document]:
    """Read one file in DocRED's layout: a JSON array, or one object per line.

    `relations` are the ids there are (None accepts every one); `labelled=False` accepts documents
    whose `labels` are missing or null, as DocRED's test file has them. A DataFormatError names the
    file, the document, the field, and what to do.
    """
    path = Path(path)
    return [
        as_document(path, at, record, relations, labelled=labelled)
        for at, record in enumerate(read_json_records(path), start=1)
    ]


def as_document(
    path: str | Path,
    at: int,
    record: Any,
    relations: Collection[str] | None = None,
    *,
    labelled: bool = True,
) -> Document:
    """Make a document of one record; `path` and `at` (from 1) name it in errors."""
    if not isinstance(record, dict):
        raise DataFormatError(path, f"record {at} is a {type(record).__name__}, no object", AGAIN)
    for name in ("title", "sents", "vertexSet"):
        if name not in record:
            raise DataFormatError(path, f"record {at} has no field {name}", AGAIN)
    if not isinstance(record["title"], str | int):  # some number their documents
        problem = f"record {at}, field title: {record['title']!r} is no text"
        raise DataFormatError(path, problem, AGAIN)
    if labelled and record.get("labels") is None:
        raise DataFormatError(
            path,
            f"record {at} ({record['title']!r}) has no field labels",
            "Documents to train and to choose on need labels ([] for none): add them, or take this "
            "one out. Only a test file may be without",
        )
    where = f"record {at} ({record['title']!r})"
    sentences = _sentences(path, where, record["sents"])
    entities = _entities(path, where, record["vertexSet"])
    _check_mentions(path, where, sentences, entities)
    facts, inferred, hops = None, None, None
    if record.get("labels") is not None:
        found = _facts(path, where, record["labels"], len(entities), relations)
        facts, marks = tuple(found), found.values()
        if any(stated is not None for stated, _ in marks):
            inferred = frozenset(fact for fact, (stated, _) in found.items() if stated is False)
        if found and all(isinstance(count, int) for _, count in marks):
            hops = tuple(count for _, count in marks)
    title = str(record["title"])
    return Document(title, sentences, entities, facts, inferred=inferred, hops=hops)


def _sentences(path: str | Path, where: str, sentences: Any) -> tuple[tuple[str, ...], ...]:
    if not isinstance(sentences, list):
        raise DataFormatError(
            path, f"{where}, field sents: a {type(sentences).__name__}, no list", AGAIN
        )
    for number, sentence in enumerate(sentences):
        # A text would be read as a list of its letters.
        whole = isinstance(sentence, list) and all(isinstance(token, str) for token in sentence)
        if not whole:
            raise DataFormatError(
                path,
                f"{where}, field sents: sentence {number} is {sentence!r}, no list of tokens",
                "Split each sentence into tokens",
            )
    return tuple(map(tuple, sentences))


def _entities(path: str | Path, where: str, vertices: Any) -> tuple[tuple[Mention, ...], ...]:
    found, at = [], ""
    try:
        if not isinstance(vertices, list):
            raise TypeError(f"a {type(vertices).__name__}, no list of entities")
        for number, vertex in enumerate(vertices):
            at = f"entity {number}: "
            if not isinstance(vertex, list):
                raise TypeError(f"a {type(vertex).__name__}, no list of mentions")
            found.append(tuple(map(_mention, vertex)))
    except (KeyError, TypeError, ValueError) as error:
        raise DataFormatError(
            path,
            f"{where}, field vertexSet: {at}{missing_or(error)}",
            "A mention is {name, sent_id, pos: [start, end], type}, an entity a list of them",
        ) from error
    return tuple(found)


def _mention(record: Any) -> Mention:
    if not isinstance(record, dict):
        raise TypeError(f"{record!r} is no mention")
    place = record["pos"]
    if not isinstance(place, list) or len(place) != 2:
        raise TypeError(f"pos: {place!r} is no [start, end]")
    start, end = (_whole_number(x, "pos") for x in place)
    sentence = _whole_number(record["sent_id"], "sent_id")
    kind, name = (_text(record[field], field) for field in ("type", "name"))
    return Mention(sentence, start, end, kind, name)


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{field}: {value!r} is no text")
    return value


def _whole_number(value: Any, field: str) -> int:
    """A whole number as it is; `int` would cut a fraction off in silence."""
    if type(value) is not int:
        raise TypeError(f"{field}: {value!r} is no whole number")
    return value


def _check_mentions(path: str | Path, where: str, sentences: Sequence, entities: Sequence) -> None:
    for number, mentions in enumerate(entities):
        if not mentions:
            raise DataFormatError(
                path, f"{where}, field vertexSet: entity {number} has no mention", "Remove it"
            )
        for mention in mentions:
            known = 0 <= mention.sentence < len(sentences)
            size = len(sentences[mention.sentence]) if known else 0
            if not known or not 0 <= mention.start < mention.end <= size:
                has = f"which has {size} tokens" if known else f"of {len(sentences)} sentences"
                raise DataFormatError(
                    path,
                    f"{where}, field vertexSet: entity {number} has a mention {mention.name!r} at "
                    f"tokens {mention.start} to {mention.end} of sentence {mention.sentence}, {has}",
                    "Sentences count from 0, pos is [start, end) in tokens of the sentence",
                )


def _facts(
    path: str | Path, where: str, labels: Any, count: int, relations: Collection[str] | None
) -> dict[Fact, tuple[bool | None, int | None]]:
    """The facts, each once, with what their labels say of `stated` and `hops`."""
    if not isinstance(labels, list):
        raise DataFormatError(
            path, f"{where}, field labels: a {type(labels).__name__}, no list", AGAIN
        )
    found: dict[Fact, tuple[bool | None, int | None]] = {}
    for label in labels:
        try:
            head, tail = _whole_number(label["h"], "h"), _whole_number(label["t"], "t")
            fact = Fact(head, _text(label["r"], "r"), tail)
            marks = label.get("stated"), label.get("hops")
            counted = marks[1] is None or (type(marks[1]) is int and marks[1] >= 0)
            if not isinstance(marks[0], bool | None) or not counted:
                raise TypeError(f"stated and hops: {marks} are no true or false and a number")
        except (KeyError, TypeError, ValueError) as error:
            raise DataFormatError(
                path,
                f"{where}, field labels: {missing_or(error)} in {label!r}",
                "A label is {h, t, r}",
            ) from error
        ends = {fact.head, fact.tail}
        if len(ends) < 2 or min(ends) < 0 or max(ends) >= count:
            raise DataFormatError(
                path,
                f"{where}, field labels: h = {fact.head} and t = {fact.tail} are not two of the "
                f"{count} entities",
                "h and t are places in vertexSet, from 0",
            )
        if relations is not None and fact.relation not in relations:
            beside = matches(Path(path).parent, LISTED)
            raise DataFormatError(
                path,
                f"{where}, field labels: relation {fact.relation!r} is unknown",
                f"Known are {len(relations)} relations; "
                + ("add it to" if beside else "put beside the file a")
                + " rel2id.json",
            )
        found[fact] = marks
    return found
