"""Abstracts in the PubTator format, and documents of the pairs of their entities.

A candidate of CDR or GDA is each pair of a document's first and second kind of entity (chemical and
disease, gene and disease); elsewhere (BioRED, one's own) each pair of two entities. Sentences and
tokens come from regular expressions; labels do not depend on them.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, pairwise, permutations
from pathlib import Path
from typing import NamedTuple

from relcl_lib.data.document_files import Document, Fact, Mention
from relcl_lib.data.download import DataFormatError
from relcl_lib.data.text_files import read_lines

#: what stands where a mention has no identifier, in any case
UNGROUNDED = ("-1", "-", "", "none", "null", "n/a")
FIX = (
    "A line is PMID|t|title, PMID|a|abstract, a mention (PMID, start, end, text, kind, identifiers "
    "and, if they are several, their texts) or a relation (PMID, type, two identifiers and, in "
    "BioRED, whether it is novel), columns apart by tabs"
)
ORIENTATIONS = ("document", "kind")
_PLACE = re.compile("[0-9]{1,9}")
_TEXT = re.compile(r"(?P<pmid>[^|\t]+)\|(?P<part>[ta])\|(?P<text>.*)")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SEPARATORS = "|,;"  # between identifiers: CDR's and GDA's, BioRED's, PubTator Central's
_VARIANT = re.compile(r"\w*\|[A-Z]+\|")  # tmVar's p|SUB|R|337|C is one identifier
_SENTENCE_END = re.compile(r"[.!?][)\]\"']*\s+(?=[A-Z0-9(\[\"'])")

#: descriptor id -> its tree numbers, of the MeSH tree
MeshTree = Mapping[str, frozenset[str]]


class Line(NamedTuple):
    """A line in the PubTator format, and where it stands: file and number from 1."""

    path: Path
    number: int
    text: str


class Annotation(NamedTuple):
    """A mention: characters `start` to `end` (exclusive) of the text, its kind, its identifiers.

    `names` holds a text for each identifier: the parts of a composite mention, or the whole.
    """

    start: int
    end: int
    kind: str
    ids: tuple[str, ...]
    names: tuple[str, ...]


class Abstract(NamedTuple):
    """Title and abstract, joined by one space, with mentions and relations.

    A relation is its type and the two identifiers as they are written.
    """

    pmid: str
    title_length: int
    text: str
    annotations: tuple[Annotation, ...]
    relations: tuple[tuple[str, str, str], ...]


def is_pubtator(line: str) -> bool:
    """Whether a line is the title line of a document in the PubTator format."""
    return not line.lstrip().startswith(("{", "[")) and bool(_TEXT.match(line))


def read_pubtator(path: str | os.PathLike[str], relation: str | None = None) -> list[Abstract]:
    """Read a file in the PubTator format.

    Documents of a title line, an abstract line, mentions and relations, separated by blank lines.
    `relation` is the one type of relation lines that is admitted; None admits every one.
    A DataFormatError names the file, the document, the line and the field.
    """
    path = Path(path)
    abstracts, block = [], []
    for number, text in enumerate([*read_lines(path), ""], start=1):
        if text.strip():
            block.append(Line(path, number, text))
        elif block:
            abstracts.append(make_abstract(block, relation))
            block = []
    repeated = [pmid for pmid, n in Counter(a.pmid for a in abstracts).items() if n > 1]
    if repeated:
        raise DataFormatError(path, f"document {repeated[0]} stands there twice", "Remove one")
    return abstracts


def make_abstract(
    lines: Sequence[Line], relation: str | None = None, report: Counter[str] | None = None
) -> Abstract:
    """Make an abstract of its lines, which may come from several files; else as `read_pubtator`.

    A mention whose text is not at its offsets is an error, or, where there is a `report`, counted there
    as `offsets_disagree` and left out.
    """
    texts: dict[str, str] = {}
    rows, pmid = [], None
    for line in lines:
        found = _TEXT.fullmatch(line.text)
        if found:
            if pmid not in (None, found["pmid"]) or found["part"] in texts:
                raise DataFormatError(
                    line.path,
                    f"document {pmid}, line {line.number}: {found['pmid']}|{found['part']}| stands "
                    "inside it",
                    "Leave a blank line between documents, and give each one title and one abstract",
                )
            texts[found["part"]] = found["text"]
            pmid = found["pmid"]
        else:
            rows.append((line, line.text.split("\t")))
    if pmid is None:
        path, number, _ = lines[0]
        raise DataFormatError(path, f"line {number}: a document without a title line", FIX)
    title = texts.get("t", "")
    text = f"{title} {texts.get('a', '')}"
    mentions, relations = [], []
    for (path, number, _), columns in rows:
        where = f"document {pmid}, line {number}"
        if columns[0] != pmid:
            raise DataFormatError(
                path, f"{where}: its first column is {columns[0]!r}", f"{FIX}, of one document"
            )
        while len(columns) > 4 and not columns[-1].strip():  # tabs at the line's end
            columns.pop()
        numbered = all(_PLACE.fullmatch(column.strip()) for column in columns[1:3])
        if 5 + (not numbered) <= len(columns) <= 7:
            mentions.append((path, where, columns))
        elif numbered or len(columns) not in (4, 5):
            raise DataFormatError(path, f"{where}: {len(columns)} columns", FIX)
        elif relation not in (None, columns[1]):
            raise DataFormatError(
                path,
                f"{where}, field relation: {columns[1]!r}, expected {relation!r}",
                f"{FIX}. A data set under a name of your own may have any relations",
            )
        else:
            relations.append((columns[1], columns[2].strip(), columns[3].strip()))
    whole = {identifier for _, *pair in relations for identifier in pair}
    between = re.compile(f"[{_SEPARATORS if relation is None else _SEPARATORS[0]}]")
    annotations = (_annotation(*mention, text, whole, between, report) for mention in mentions)
    return Abstract(pmid, len(title), text, tuple(filter(None, annotations)), tuple(relations))


def _annotation(
    path: Path,
    where: str,
    columns: Sequence[str],
    text: str,
    whole: Collection[str],
    between: re.Pattern[str],
    report: Counter[str] | None,
) -> Annotation | None:
    """The mention of a line; `whole` are identifiers, between which `between` stands elsewhere."""
    try:
        start, end = int(columns[1]), int(columns[2])
    except ValueError as error:
        raise DataFormatError(path, f"{where}, fields start and end: {error}", FIX) from error
    inside = 0 <= start < end <= len(text)  # a negative offset would count from the end
    if not inside or text[start:end] != columns[3] or not columns[3].strip():
        if report is not None:
            report["offsets_disagree"] += 1
            return None
        raise DataFormatError(
            path,
            f"{where}, fields start and end: the text at {start} to {end} is "
            f"{text[start:end] if inside else ''!r}, the mention {columns[3]!r}",
            "Offsets count characters from 0 over title, one space and abstract",
        )
    kind, column, parts = [*columns[4:], "", ""][:3]
    column = column.strip()
    one = column in whole or _VARIANT.match(column)
    ids = (column,) if one else tuple(part.strip() for part in between.split(column))
    names = tuple(parts.split("|"))
    return Annotation(
        start,
        end,
        kind,
        ids,
        names if parts and len(names) == len(ids) else (columns[3],) * len(ids),
    )


def read_mesh_tree(path: str | os.PathLike[str]) -> MeshTree:
    """Read a MeSH tree: lines of tree number, descriptor id and term, separated by tabs."""
    numbers: dict[str, set[str]] = defaultdict(set)
    for at, line in enumerate(read_lines(Path(path)), start=1):
        columns = line.split("\t")
        if len(columns) < 2:
            raise DataFormatError(path, f"line {at}: no tab", "A line is number, id, term")
        numbers[columns[1]].add(columns[0])
    return {descriptor: frozenset(found) for descriptor, found in numbers.items()}


def is_hypernym(general: str, special: str, tree: MeshTree) -> bool:
    """Whether a tree number of `general` begins one of `special` (or is one)."""
    return any(b.startswith(a) for a in tree.get(general, ()) for b in tree.get(special, ()))


def as_candidate_document(
    abstract: Abstract,
    kinds: tuple[str, str] = ("Chemical", "Disease"),
    relation: str = "CID",
    *,
    orientation: str = "document",
    tree: MeshTree | None = None,
    report: Counter[str] | None = None,
) -> Document:
    """Make a document whose pairs are the candidates of two kinds of entity.

    An entity is every mention of one identifier; a mention with several belongs to each of them.

    Args:
        abstract: of `read_pubtator` or `candidate_sets.read_gda_folder`.
        kinds: first and second kind, as relations are written.
        relation: the one relation's name.
        orientation: the head of a pair is the entity that comes first in the document (`document`,
            as the released readers have it), or always of the first kind (`kind`).
        tree: leaves out the negative pairs (c, x) where x is more general than a y of a positive
            (c, y): EoG's hypernym filter. They count neither as errors nor as negatives.
        report: counts `excluded_pairs`, `facts_without_mention` and `ungrounded_mentions`.
    """
    counts = report if report is not None else Counter()
    sentences, entities, place = _entities(abstract, orientation, counts, kinds)
    positives = _positives(abstract, place, kinds)
    for _, first, second in abstract.relations:
        if (first, second) not in positives:
            counts["facts_without_mention"] += 1
    excluded = _excluded(positives, place, kinds, tree, counts)
    pairs, facts = [], []
    for (kind, first), head in place.items():
        for (other, second), tail in place.items():
            if (kind, other) != kinds or (head, tail) in excluded:
                continue
            pair = (head, tail) if orientation == "kind" or head < tail else (tail, head)
            if (first, second) in positives:
                facts.append(Fact(pair[0], relation, pair[1]))
            pairs.append(pair)
    return Document(abstract.pmid, sentences, entities, tuple(facts), tuple(sorted(pairs)))


def _positives(
    abstract: Abstract, place: Collection[tuple[str, str]], kinds: tuple[str, str]
) -> set[tuple[str, str]]:
    """The two identifiers of each relation, where both are mentioned as of their kinds."""
    return {
        (first, second)
        for _, first, second in abstract.relations
        if (kinds[0], first) in place and (kinds[1], second) in place
    }


def _excluded(
    positives: Collection[tuple[str, str]],
    place: Mapping[tuple[str, str], int],
    kinds: tuple[str, str],
    tree: MeshTree | None,
    counts: Counter[str],
) -> set[tuple[int, int]]:
    """The pairs of numbers (c, x) that the hypernym filter leaves out; none without a tree."""
    found = {
        (place[kinds[0], first], tail)
        for first, special in positives
        for (kind, second), tail in place.items()
        if tree and kind == kinds[1] and (first, second) not in positives
        if is_hypernym(second, special, tree)
    }
    counts.update(["excluded_pairs"] * len(found))
    return found


def as_related_document(
    abstract: Abstract,
    *,
    orientation: str = "document",
    tree: MeshTree | None = None,
    report: Counter[str] | None = None,
) -> Document:
    """Make a document of every pair of two entities of any kinds, with relations of any types.

    `orientation`: a pair stands once, its head being the entity that comes first in the
    `document`; or, as `kind`, in both directions, a relation going from its first identifier to its
    second. `tree` leaves out the pairs of a chemical and a disease that CDR's hypernym filter does
    (`as_candidate_document`). `report` counts `excluded_pairs`, `facts_without_mention`,
    `facts_of_one_entity` and `ungrounded_mentions`.
    """
    counts = report if report is not None else Counter()
    sentences, entities, place = _entities(abstract, orientation, counts)
    number = {identifier: at for (_, identifier), at in reversed(place.items())}
    facts: dict[Fact, None] = {}
    for relation, *ends in abstract.relations:
        pair = [number[identifier] for identifier in ends if identifier in number]
        if len(pair) < 2:
            counts["facts_without_mention"] += 1
        elif pair[0] == pair[1]:
            counts["facts_of_one_entity"] += 1
        else:
            head, tail = sorted(pair) if orientation == "document" else pair
            facts[Fact(head, relation, tail)] = None
    if orientation == "kind" and not tree:  # every pair, which need not be listed
        return Document(abstract.pmid, sentences, entities, tuple(facts))
    pair_up = combinations if orientation == "document" else permutations
    kinds = "Chemical", "Disease"
    excluded = _excluded(_positives(abstract, place, kinds), place, kinds, tree, counts)
    pairs = pair_up(range(len(entities)), 2)
    pairs = tuple(pair for pair in pairs if not {pair, pair[::-1]} & excluded)
    return Document(abstract.pmid, sentences, entities, tuple(facts), pairs)


def _entities(
    abstract: Abstract,
    orientation: str,
    counts: Counter[str],
    kinds: Collection[str] | None = None,
) -> tuple[tuple, tuple, dict[tuple[str, str], int]]:
    """Sentences, entities, and (kind, identifier) -> number of the entity; None: all kinds.

    Entities are numbered by where they come first in the text, whatever the order of the lines.
    """
    if orientation not in ORIENTATIONS:
        raise ValueError(f"orientation={orientation!r} must be 'document' or 'kind'")
    mentions: dict[tuple[str, str], list[tuple[Annotation, str]]] = {}
    for found in sorted(abstract.annotations, key=lambda found: (found.start, found.end)):
        for identifier, name in zip(found.ids, found.names, strict=True):
            if identifier.lower() in UNGROUNDED:
                counts["ungrounded_mentions"] += 1
            elif kinds is None or found.kind in kinds:
                mentions.setdefault((found.kind, identifier), []).append((found, name))
    sentences, locate = _tokenise(abstract, [m for found in mentions.values() for m, _ in found])
    entities = tuple(
        tuple(Mention(*locate[m.start, m.end], m.kind, name) for m, name in found)
        for found in mentions.values()
    )
    return sentences, entities, {key: at for at, key in enumerate(mentions)}


def _tokenise(
    abstract: Abstract, mentions: Iterable[Annotation]
) -> tuple[tuple[tuple[str, ...], ...], dict[tuple[int, int], tuple[int, int, int]]]:
    """Split a text into sentences and tokens: no mention is split between sentences or in a token.

    Returns the sentences, and for the characters of each mention its sentence, start and end.
    """
    text, spans = abstract.text, {(m.start, m.end) for m in mentions}
    ends = {abstract.title_length, *(found.end() for found in _SENTENCE_END.finditer(text))}
    ends = sorted(at for at in ends if not any(start < at < end for start, end in spans))
    cuts = sorted({at for span in spans for at in span})
    tokens = []
    for found in _TOKEN.finditer(text):
        start, end = found.span()
        inside = cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]
        tokens += list(pairwise([start, *inside, end]))
    starts = [start for start, _ in tokens]
    first = [0, *(bisect_left(starts, end) for end in ends), len(tokens)]
    parts = [(low, high) for low, high in pairwise(first) if low < high]
    lows = [low for low, _ in parts]
    locate = {}
    for start, end in spans:
        low, high = bisect_left(starts, start), bisect_left(starts, end)
        number = bisect_right(lows, low) - 1
        locate[start, end] = (number, low - lows[number], high - lows[number])
    sentences = (tuple(text[a:b] for a, b in tokens[low:high]) for low, high in parts)
    return tuple(sentences), locate
