"""Generated documents: some facts are stated, the rules yield the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from relcl_lib.worlds.grammar import RELATIONS
from relcl_lib.worlds.rules import Derivation, Fact, derivations, proofs, relations_of
from relcl_lib.worlds.text import (
    Clause,
    Ref,
    Sentence,
    Words,
    fact_clause,
    join,
    null_clause,
    render,
)
from relcl_lib.worlds.world import World, choose, shuffled

STATED_CONCLUSIONS = 0.15
HELD_OUT_DOCUMENTS = 0.5
HELD_OUT_PARAPHRASES = 0.5
PRONOUN_SHARE = 0.6
ALIAS_SHARE = 0.4
_RELATION_ORDER = {relation.id: i for i, relation in enumerate(RELATIONS)}


class Label(NamedTuple):
    """A relation of a document.

    `head` and `tail` are entity ids, `evidence` sentence numbers; `hops` is the number of stated
    facts it rests on, and `stated` whether a sentence says it.
    """

    head: str
    relation: str
    tail: str
    evidence: tuple[int, ...]
    stated: bool
    hops: int


@dataclass(frozen=True)
class Document:
    """Title, sentences, and all that follows from what they say."""

    title: str
    sentences: tuple[Sentence, ...]
    labels: tuple[Label, ...]

    def entities(self) -> list[str]:
        """The ids of the entities mentioned, in the order of their first mention."""
        return list(dict.fromkeys(s.entity for part in self.sentences for s in part.spans))


class _Pool:
    """Facts and derivations of a world that a document of one split may use."""

    def __init__(self, world: World, unseen: bool) -> None:
        self.world = world
        self.facts = [fact for fact in world.facts if unseen or not world.unseen(fact)]
        self.base = set(world.base)
        self.steps = derivations(self.facts)
        self.by_entity: dict[str, list[Derivation]] = defaultdict(list)
        self.facts_by_entity: dict[str, list[Fact]] = defaultdict(list)
        self.ways: dict[Fact, list[Derivation]] = defaultdict(list)
        for step in self.steps:
            for entity in dict.fromkeys(e for fact in step.premises for e in fact[1:]):
                self.by_entity[entity].append(step)
            self.ways[step.conclusion].append(step)
        for fact in self.facts:
            for entity in fact[1:]:
                self.facts_by_entity[entity].append(fact)
        self.starts = [step for step in self.steps if any(map(world.unseen, step.premises))]


def _expand(rng: Random, pool: _Pool, step: Derivation) -> list[Fact]:
    """Turn a derivation into facts to state."""
    stated: list[Fact] = []
    for premise in step.premises:
        ways = pool.ways[premise]
        # A premise that itself follows is left to be inferred half of the time: a third hop.
        if premise not in pool.base and ways and rng.random() < 0.5:
            stated += choose(rng, ways).premises
        else:
            stated.append(premise)
    if rng.random() < STATED_CONCLUSIONS:
        stated.append(step.conclusion)
    return stated


def _entities(facts: Iterable[Fact]) -> list[str]:
    return list(dict.fromkeys(entity for fact in facts for entity in fact[1:]))


def _choose_facts(rng: Random, pool: _Pool, unseen: bool) -> list[Fact]:
    """Choose what a document states: a few derivations that touch, and others that do not.

    The others come in the same words and types, so that being named together means little.
    """
    start = choose(rng, pool.starts if unseen and pool.starts else pool.steps)
    stated = dict.fromkeys(_expand(rng, pool, start))
    for _ in range(1 + int(rng.random() * 3)):
        step = choose(rng, pool.by_entity[choose(rng, _entities(stated))] or [start])
        stated.update(dict.fromkeys(_expand(rng, pool, step)))
    for _ in range(1 + int(rng.random() * 2)):
        stated[choose(rng, pool.facts_by_entity[choose(rng, _entities(stated))])] = None
    stated = dict.fromkeys(list(stated)[:9])
    for _ in range(1 + int(rng.random() * 2)):
        stated.update(dict.fromkeys(_expand(rng, pool, choose(rng, pool.steps))))
    return list(stated)[:13]


def _group(rng: Random, clauses: list[Clause]) -> list[list[Clause]]:
    """Deal clauses into 4 to 8 sentences, neighbours by subject so that pronouns can refer."""
    order: dict[str, None] = {}
    for clause in clauses:
        order[clause.subject.entity if clause.subject else ""] = None
    rank = {subject: i for i, subject in enumerate(shuffled(rng, order))}
    clauses = sorted(clauses, key=lambda c: rank[c.subject.entity if c.subject else ""])
    groups = [[clause] for clause in clauses]
    while len(groups) > 8 or (len(groups) > 4 and rng.random() < 0.4):
        at = int(rng.random() * (len(groups) - 1))
        if len(groups[at]) + len(groups[at + 1]) > 3:
            at = min(range(len(groups) - 1), key=lambda i: len(groups[i]) + len(groups[i + 1]))
        groups[at : at + 2] = [groups[at] + groups[at + 1]]
    return groups


def _subject_at(words: Words) -> int | None:
    """Find the mention that is the sentence's subject and could be a pronoun."""
    at = next(i for i, word in enumerate(words) if isinstance(word, Ref))
    opens = at == 0 or words[at - 1] in (",", "that")
    return at if opens and words[at + 1] not in ("'s", "and", ",") else None


def _write(rng: Random, world: World, groups: list[list[Clause]]) -> list[Sentence]:
    introduced: set[str] = set()
    previous: Ref | None = None
    sentences: list[Sentence] = []
    for clauses in groups:
        words = join(rng, world, clauses)
        at = _subject_at(words)
        subject = words[at] if at is not None else None
        pronoun_at = (
            at if subject and subject == previous and rng.random() < PRONOUN_SHARE else None
        )

        def surface(i: int, key: str, pronoun_at: int | None = pronoun_at) -> tuple[str, bool]:
            entity = world.entities[key]
            if i == pronoun_at:
                form = {"m": "he", "f": "she", "": "it"}[entity.gender]
                return form, False
            if key not in introduced or rng.random() >= ALIAS_SHARE:
                introduced.add(key)
                return entity.names[0], True
            return choose(rng, entity.names[1:] or entity.names), True

        sentences.append(render(words, clauses, surface))
        previous = subject if isinstance(subject, Ref) else None
    return sentences


def _labels(sentences: list[Sentence]) -> list[Label]:
    said: dict[Fact, set[int]] = defaultdict(set)
    for number, part in enumerate(sentences):
        for fact in part.facts:
            said[fact].add(number)
    labels: list[Label] = []
    for fact, support in proofs(said).items():
        evidence = tuple(sorted({number for premise in support for number in said[premise]}))
        for head, relation, tail in relations_of(fact):
            labels.append(Label(head, relation, tail, evidence, fact in said, len(support)))
    return labels


def _document(
    rng: Random, pool: _Pool, unseen: bool, held_out: float
) -> tuple[tuple[Sentence, ...], list[Label]]:
    world = pool.world
    facts = _choose_facts(rng, pool, unseen)
    clauses = [fact_clause(rng, world, fact, held_out) for fact in facts]
    present = _entities(facts)
    for _ in range(max(1 + int(rng.random() * 3), 4 - len(clauses))):
        extra = null_clause(rng, world, present)
        clauses += [extra] if extra else []
    sentences = _write(rng, world, _group(rng, clauses))
    return tuple(sentences), _labels(sentences)


def draw_documents(world: World, sizes: dict[str, int]) -> dict[str, list[Document]]:
    """Draw documents of 4 to 8 sentences, `sizes` of each split.

    A document's labels are what follows from its own sentences, not all that is true of the world.
    `test` alone has held-out entities (in half of its documents or more) and held-out paraphrases
    (half of them).
    """
    pools = {unseen: _Pool(world, unseen) for unseen in (False, True)}
    titles: dict[str, int] = defaultdict(int)
    seen: set[tuple[tuple[str, ...], ...]] = set()
    drawn: dict[str, list[Document]] = {}
    for split, size in sizes.items():
        rng = Random(f"documents/{world.seed}/{split}")
        drawn[split] = []
        while len(drawn[split]) < size:
            unseen = split == "test" and rng.random() < HELD_OUT_DOCUMENTS
            held_out = HELD_OUT_PARAPHRASES if split == "test" else 0.0
            sentences, labels = _document(rng, pools[split == "test"], unseen, held_out)
            text = tuple(part.tokens for part in sentences)
            if not 4 <= len(sentences) <= 8 or text in seen:
                continue
            seen.add(text)
            counts = Counter(span.entity for part in sentences for span in part.spans)
            name = world.entities[max(counts, key=lambda e: counts[e])].names[0]
            titles[name] += 1
            # Scorers tell documents apart by their titles.
            title = name if titles[name] == 1 else f"{name} ({titles[name]})"
            order = {entity: i for i, entity in enumerate(counts)}
            labels.sort(key=lambda x: (order[x.head], order[x.tail], _RELATION_ORDER[x.relation]))
            drawn[split].append(Document(title, sentences, tuple(labels)))
    return drawn
