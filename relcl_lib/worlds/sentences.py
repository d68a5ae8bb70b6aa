"""Generated sentences for relation classification (FewRel) and triple extraction (NYT, WebNLG)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from relcl_lib.worlds.grammar import RELATIONS, VIEWS
from relcl_lib.worlds.rules import Fact, relations_of
from relcl_lib.worlds.text import Clause, Sentence, fact_clause, null_clause, sentence
from relcl_lib.worlds.world import World, choose, shuffled

HELD_OUT_PARAPHRASES = 0.5
HELD_OUT_FACTS = 0.5
OVERLAP_SHARES = {"normal": 0.5, "epo": 0.2, "seo": 0.3}
_TRIES = 200


class Example(NamedTuple):
    """A sentence asked about one pair: the ids of head, relation and tail."""

    sentence: Sentence
    head: str
    relation: str
    tail: str


def overlap_kind(triples: Iterable[Sequence[str]]) -> str:
    """Tell how the triples (head, relation, tail) of a sentence overlap.

    The definitions are those of CasRel's evaluation: `epo` if two share head and tail in the same
    order (whatever else they share), else `seo` if an entity occurs in two triples, else
    `normal`.
    """
    pairs = [(head, tail) for head, _, tail in triples]
    entities = {entity for pair in pairs for entity in pair}
    if len(entities) == 2 * len(pairs):
        return "normal"
    return "epo" if len(set(pairs)) < len(pairs) else "seo"


class Source:
    """Facts of a world to draw from, by entity, predicate and pair.

    `held_out` is the share of held-out paraphrases, 0 for a training split.
    """

    def __init__(self, world: World, facts: Iterable[Fact], held_out: float = 0.0) -> None:
        self.world = world
        self.facts = list(facts)
        self.held_out = held_out
        self.by_predicate: dict[str, list[Fact]] = defaultdict(list)
        self.by_entity: dict[str, list[Fact]] = defaultdict(list)
        oriented: dict[frozenset[str], list[Fact]] = defaultdict(list)
        for fact in self.facts:
            self.by_predicate[fact.predicate].append(fact)
            self.by_entity[fact.a].append(fact)
            self.by_entity[fact.b].append(fact)
            oriented[frozenset(fact[1:])].append(fact)
        self.multiple = [
            group
            for group in oriented.values()
            if overlap_kind([t for f in group for t in relations_of(f)]) == "epo"
        ]
        self.entities = sorted(self.by_entity)

    def any_fact(self, rng: Random) -> Fact:
        """Draw a predicate, then a fact, so that no predicate is rare."""
        return choose(rng, self.by_predicate[choose(rng, sorted(self.by_predicate))])

    def beside(self, rng: Random, fact: Fact) -> Fact | None:
        """Draw another fact about one of a fact's entities."""
        others = [f for e in fact[1:] for f in self.by_entity[e] if f != fact]
        return choose(rng, others) if others else None

    def clause(self, rng: Random, fact: Fact) -> Clause:
        """Word a fact."""
        return fact_clause(rng, self.world, fact, self.held_out)

    def distraction(self, rng: Random, fact: Fact) -> Clause | None:
        """Draw a clause that has nothing to do with the relation asked for, or none."""
        kind = rng.random()
        other = None
        if kind < 0.35:
            other = self.beside(rng, fact)
        elif kind < 0.6:
            other = self.any_fact(rng)
        elif kind < 0.85:
            return null_clause(rng, self.world, self.entities, fact[1:])
        return self.clause(rng, other) if other and other != fact else None


def _sources(world: World) -> dict[str, Source]:
    train = [fact for fact in world.facts if not world.is_test(fact)]
    test = [fact for fact in world.facts if world.is_test(fact)]
    sources = {
        "train": Source(world, train),
        "test": Source(world, test, HELD_OUT_PARAPHRASES),
    }
    for split, source in sources.items():
        missing = sorted(set(VIEWS) - set(source.by_predicate))
        if missing or not source.multiple:
            what = ", ".join(missing) or "pairs with two facts"
            raise ValueError(f"the world has no {what} for {split}: make a larger world")
    return sources


def _example(rng: Random, source: Source, fact: Fact, relation: str) -> Example | None:
    clauses = [source.clause(rng, fact)]
    extra = source.distraction(rng, fact)
    if extra:
        clauses.append(extra)
    drawn = sentence(rng, source.world, shuffled(rng, clauses))
    asked = choose(rng, [t for t in relations_of(fact) if t[1] == relation])
    head, _, tail = asked
    # One pair, one relation: a pair with two would have two right answers. And "there" can have
    # replaced no mention of the pair, but two entities may be worded alike.
    same_pair = [t for t in drawn.triples() if (t[0], t[2]) == (head, tail)]
    if len(same_pair) > 1 or drawn.surface(head) == drawn.surface(tail):
        return None
    return Example(drawn, *asked)


def draw_sentences(
    world: World, train: int = 60, test: int = 20
) -> dict[str, dict[str, list[Example]]]:
    """Draw sentences for relation classification: split -> relation id -> examples.

    Those of `train` use training facts and paraphrases only, those of `test` are about held-out
    facts, half of them in held-out words.
    """
    seen: set[tuple[str, ...]] = set()
    drawn: dict[str, dict[str, list[Example]]] = {}
    sources = _sources(world)
    for split, count in (("train", train), ("test", test)):
        source = sources[split]
        rng = Random(f"sentences/{world.seed}/{split}")
        drawn[split] = {}
        for relation in RELATIONS:
            predicates = [name for name, views in VIEWS.items() if relation.id in views]
            facts = [fact for name in predicates for fact in source.by_predicate[name]]
            examples: list[Example] = []
            failures = 0
            while len(examples) < count:
                example = _example(rng, source, choose(rng, facts), relation.id)
                if example and example.sentence.tokens not in seen:
                    seen.add(example.sentence.tokens)
                    examples.append(example)
                    failures = 0
                    continue
                failures += 1
                if failures == _TRIES:
                    raise ValueError(
                        f"only {len(examples)} different {split} sentences found for "
                        f"{relation.id}, not {count}: ask for fewer"
                    )
            drawn[split][relation.id] = examples
    return drawn


def _triple_clauses(rng: Random, source: Source, kind: str) -> list[Clause]:
    if kind == "normal":
        single = sorted(name for name in source.by_predicate if len(VIEWS[name]) == 1)
        count = 1 if rng.random() < 0.7 else 2
        facts = [choose(rng, source.by_predicate[choose(rng, single)]) for _ in range(count)]
    elif kind == "epo":
        facts = shuffled(rng, choose(rng, source.multiple))[:3]
    else:
        facts = [source.any_fact(rng)]
        for _ in range(int(rng.random() * 4)):
            other = source.beside(rng, facts[0])
            facts += [other] if other and other not in facts else []
    clauses = [source.clause(rng, fact) for fact in facts]
    if rng.random() < 0.4:
        extra = null_clause(rng, source.world, source.entities, facts[0][1:])
        clauses += [extra] if extra else []
    return clauses


def _findable(drawn: Sentence) -> bool:
    """Whether each entity's words occur first where the entity does, and are its alone.

    Extractors are given no positions and take the first match, so a town inside the name of its
    university would be labelled in the wrong place.
    """
    owner: dict[tuple[str, ...], str] = {}
    # Readers lower-case texts.
    tokens = tuple(token.lower() for token in drawn.tokens)
    for span in drawn.spans:
        words = tokens[span.start : span.end]
        first = next(i for i in range(len(tokens)) if tokens[i : i + len(words)] == words)
        at_mention = any(s[1:] == (first, first + len(words)) for s in drawn.spans)
        if owner.setdefault(words, span.entity) != span.entity or not at_mention:
            return False
    return True


def draw_triples(world: World, sizes: Mapping[str, int]) -> dict[str, list[Sentence]]:
    """Draw sentences for triple extraction, `sizes` of each split, shares as `OVERLAP_SHARES`.

    All splits but `test` use training facts and paraphrases only; of `test` half the sentences are
    about held-out facts, and half of all its paraphrases are held out.
    """
    sources = _sources(world)
    known = Source(world, sources["train"].facts, HELD_OUT_PARAPHRASES)
    seen: set[tuple[str, ...]] = set()
    drawn: dict[str, list[Sentence]] = {}
    for split, size in sizes.items():
        rng = Random(f"triples/{world.seed}/{split}")
        normal, epo = (round(size * OVERLAP_SHARES[kind]) for kind in ("normal", "epo"))
        kinds = ["normal"] * normal + ["epo"] * epo + ["seo"] * (size - normal - epo)
        drawn[split] = []
        for kind in shuffled(rng, kinds):
            for _ in range(_TRIES):
                source = sources["train"]
                if split == "test":
                    source = sources["test"] if rng.random() < HELD_OUT_FACTS else known
                found = sentence(rng, world, shuffled(rng, _triple_clauses(rng, source, kind)))
                fits = overlap_kind(found.triples()) == kind and found.tokens not in seen
                if fits and _findable(found):
                    seen.add(found.tokens)
                    drawn[split].append(found)
                    break
            else:
                raise ValueError(f"too few different {kind} sentences for {split}: ask for fewer")
    return drawn
