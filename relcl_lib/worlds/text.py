"""Sentences of the generated corpus: a fact becomes a clause, clauses become a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from relcl_lib.worlds.grammar import AMBIGUOUS, NULL, PATTERNS, VIEWS, Pattern
from relcl_lib.worlds.phrases import JOINERS, LEAD_INS
from relcl_lib.worlds.rules import Fact, relations_of
from relcl_lib.worlds.world import Entity, World, choose

# Half of the facts have an ambiguous phrasing at all, so this yields about 3 % of all clauses.
AMBIGUOUS_SHARE = 0.06
_LEAD_IN_SHARE = 0.3


class Ref(NamedTuple):
    """A mention not yet worded: the entity's id."""

    entity: str


Words = tuple["str | Ref", ...]


class Clause(NamedTuple):
    """A clause: its words, what it states (None: nothing), its paraphrase, and how it splits.

    `verb` are the words after the subject; `subject` is None where the clause begins otherwise.
    """

    words: Words
    fact: Fact | None
    key: str
    subject: Ref | None
    verb: Words


class Span(NamedTuple):
    """A mention: the entity's id and the half-open token range."""

    entity: str
    start: int
    end: int


@dataclass(frozen=True)
class Sentence:
    """A worded sentence: tokens, mentions in order, facts stated, paraphrases used."""

    tokens: tuple[str, ...]
    spans: tuple[Span, ...]
    facts: tuple[Fact, ...]
    keys: tuple[str, ...]

    def triples(self) -> list[tuple[str, str, str]]:
        """The stated triples (head id, relation id, tail id), each once, in stated order."""
        return list(dict.fromkeys(t for fact in self.facts for t in relations_of(fact)))

    def mentions(self, entity: str) -> list[list[int]]:
        """The token positions of each mention of an entity."""
        return [list(range(s.start, s.end)) for s in self.spans if s.entity == entity]

    def surface(self, entity: str) -> str:
        """The words of an entity's first mention, joined by spaces."""
        first = self.mentions(entity)[0]
        return " ".join(self.tokens[first[0] : first[-1] + 1])


def _fill(pattern: Pattern, a: Entity, b: Entity, fact: Fact | None) -> Clause:
    arguments = {"{a}": a, "{b}": b}
    words: list[str | Ref] = []
    subject, verb_at = None, 0
    for word in pattern.words:
        if word in arguments:
            words.append(Ref(arguments[word].id))
        elif word == "|":
            subject, verb_at = Ref(words[0].entity), len(words)
        elif word.startswith("["):
            who, forms = word[1:-1].split(":")
            male, female = forms.split("/")
            words.append(male if arguments[f"{{{who}}}"].gender == "m" else female)
        else:
            words.append(word)
    return Clause(tuple(words), fact, pattern.key, subject, tuple(words[verb_at:]))


def fact_clause(rng: Random, world: World, fact: Fact, held_out: float = 0.0) -> Clause:
    """Word a fact; `held_out` is the share of held-out paraphrases, 0 for a training split."""
    a, b = world.entities[fact.a], world.entities[fact.b]
    if fact.predicate in AMBIGUOUS and rng.random() < AMBIGUOUS_SHARE:
        pattern = choose(rng, AMBIGUOUS[fact.predicate])
        if len(VIEWS[fact.predicate]) == 2 and rng.random() < 0.5:
            a, b = b, a
        return _fill(pattern._replace(key=f"ambiguous:{pattern.key}"), a, b, fact)
    unseen = rng.random() < held_out
    pattern = choose(rng, [p for p in PATTERNS[fact.predicate] if p.held_out == unseen])
    if fact.predicate in ("spouse", "sibling") and rng.random() < 0.5:
        a, b = b, a
    return _fill(pattern, a, b, fact)


def null_clause(
    rng: Random, world: World, pool: Sequence[str], about: Sequence[str] = ()
) -> Clause | None:
    """Word something that is no relation, between two entities that no fact connects.

    Both are of `pool`, one of `about` if given. None where a few tries found no pair that has a
    phrase.
    """
    for _ in range(12):
        a = world.entities[choose(rng, about or pool)]
        b = world.entities[choose(rng, pool)]
        if rng.random() < 0.5:
            a, b = b, a
        patterns = NULL.get(f"{a.type}-{b.type}", ())
        if a.names[0] != b.names[0] and patterns and frozenset((a.id, b.id)) not in world.pairs:
            pattern = choose(rng, patterns)
            return _fill(pattern._replace(key=f"null:{pattern.key}"), a, b, None)
    return None


def _relative(world: World, subject: Ref, verb: Words) -> Words:
    who = "who" if world.entities[subject.entity].kind == "person" else "which"
    return (",", who, *verb)


def _join_two(rng: Random, world: World, one: Clause, two: Clause) -> Words:
    if one.subject and one.subject == two.subject:
        last = two.verb[-1]
        if isinstance(last, Ref) and last in one.words and two.verb[-2] in ("in", "at"):
            # "born in X and died there": the place is mentioned once and belongs to both facts.
            there = (*two.verb[:-2], "there")
            return (*one.words, "and", "later", *there)
        if rng.random() < 0.5:
            return (one.subject, *_relative(world, one.subject, two.verb), ",", *one.verb)
        return (*one.words, *choose(rng, (("and",), ("and", "later"), (", and",))), *two.verb)
    for first, second in ((one, two), (two, one)):
        if second.subject and first.words[-1] == second.subject:
            return (*first.words, *_relative(world, second.subject, second.verb))
    return (*one.words, *choose(rng, JOINERS).split(), *two.words)


def join(rng: Random, world: World, clauses: Sequence[Clause]) -> Words:
    """Make one sentence of clauses, sharing subjects where it can, with its full stop."""
    words = clauses[0].words
    if len(clauses) > 1:
        words = _join_two(rng, world, clauses[0], clauses[1])
    for clause in clauses[2:]:
        words = (*words, *choose(rng, JOINERS).split(), *clause.words)
    if rng.random() < _LEAD_IN_SHARE:
        year = str(1900 + int(rng.random() * 100))
        words = (*choose(rng, LEAD_INS).format(year=year).split(), *words)
    return (*words, ".")


def render(
    words: Words, clauses: Sequence[Clause], surface: Callable[[int, str], tuple[str, bool]]
) -> Sentence:
    """Word the mentions in what `join` made of the clauses.

    `surface` gives, for a position in `words` and an entity id, the mention's words and whether
    they are a name (a pronoun is none, and no span is recorded).
    """
    tokens: list[str] = []
    spans: list[Span] = []
    for at, word in enumerate(words):
        if isinstance(word, Ref):
            text, named = surface(at, word.entity)
            if named:
                spans.append(Span(word.entity, len(tokens), len(tokens) + len(text.split())))
            tokens += text.split()
        else:
            tokens += word.split()
    tokens[0] = tokens[0][0].upper() + tokens[0][1:]
    facts = tuple(clause.fact for clause in clauses if clause.fact)
    return Sentence(tuple(tokens), tuple(spans), facts, tuple(c.key for c in clauses))


def sentence(rng: Random, world: World, clauses: Sequence[Clause]) -> Sentence:
    """Word a sentence that stands alone: each entity by one name, mostly the full one."""
    names: dict[str, str] = {}

    def surface(at: int, key: str) -> tuple[str, bool]:
        options = world.entities[key].names
        if key not in names:
            names[key] = options[0] if rng.random() < 0.85 else choose(rng, options)
        return names[key], True

    return render(join(rng, world, clauses), clauses, surface)
