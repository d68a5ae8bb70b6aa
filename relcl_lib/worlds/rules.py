"""Facts of the generated world, the rules that derive further ones, and their proofs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from relcl_lib.worlds.grammar import SYMMETRIC, VIEWS


class Fact(NamedTuple):
    """`predicate(a, b)` over entity ids; a symmetric predicate has its arguments sorted."""

    predicate: str
    a: str
    b: str


class Rule(NamedTuple):
    """Premises and a conclusion over variables, e.g. `birth x c, country c k => citizenship x k`.

    Different variables stand for different entities.
    """

    premises: tuple[Fact, ...]
    conclusion: Fact


class Derivation(NamedTuple):
    """A rule applied once: the facts it needs and the fact it yields."""

    premises: tuple[Fact, ...]
    conclusion: Fact


def _rule(line: str) -> Rule:
    left, right = line.split("=>")
    premises = tuple(Fact(*part.split()) for part in left.split(","))
    return Rule(premises, Fact(*right.split()))


RULES = tuple(
    _rule(line)
    for line in """
capital k c => country c k
birth x c, country c k => citizenship x k
employer x o, seat o c => work_place x c
founder o x, seat o c => work_place x c
father x f, mother x m => spouse f m
father x f, spouse f m => mother x m
mother x m, spouse f m => father x f
sibling x y, father y f => father x f
sibling x y, mother y m => mother x m
father x f, father y f => sibling x y
mother x m, mother y m => sibling x y
sequel v w, author w x => author v x
sequel v w, author v x => author w x
author w x, citizenship x k => origin w k
spouse x y, residence x c => residence y c
""".strip().splitlines()
)


def canonical(predicate: str, a: str, b: str) -> Fact:
    """Make the one form a fact has, whichever order a symmetric predicate's arguments came in."""
    if predicate in SYMMETRIC and b < a:
        a, b = b, a
    return Fact(predicate, a, b)


def relations_of(fact: Fact) -> list[tuple[str, str, str]]:
    """The triples (head id, relation id, tail id) that a fact amounts to: one or two."""
    views = VIEWS[fact.predicate]
    triples = [(fact.a, views[0], fact.b)]
    if len(views) == 2:
        triples.append((fact.b, views[1], fact.a))
    return triples


class _Index:
    """Facts by predicate and by predicate with one argument known."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.all: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.by: dict[tuple[str, int, str], list[tuple[str, str]]] = defaultdict(list)
        for fact in sorted(set(facts)):
            pairs = [(fact.a, fact.b)]
            if fact.predicate in SYMMETRIC:
                pairs.append((fact.b, fact.a))
            for pair in pairs:
                self.all[fact.predicate].append(pair)
                self.by[fact.predicate, 0, pair[0]].append(pair)
                self.by[fact.predicate, 1, pair[1]].append(pair)

    def find(self, goal: Fact, bound: dict[str, str]) -> list[tuple[str, str]]:
        if goal.a in bound:
            found = self.by.get((goal.predicate, 0, bound[goal.a]), [])
        elif goal.b in bound:
            found = self.by.get((goal.predicate, 1, bound[goal.b]), [])
        else:
            found = self.all.get(goal.predicate, [])
        return found


def _bindings(
    index: _Index, premises: tuple[Fact, ...], bound: dict[str, str]
) -> Iterator[dict[str, str]]:
    if not premises:
        yield bound
        return
    goal = premises[0]
    for a, b in index.find(goal, bound):
        extended = dict(bound)
        if extended.setdefault(goal.a, a) != a or extended.setdefault(goal.b, b) != b:
            continue
        if len(set(extended.values())) == len(extended):
            yield from _bindings(index, premises[1:], extended)


def derivations(facts: Iterable[Fact]) -> list[Derivation]:
    """List every application of every rule to `facts`, each once, in an order that is fixed."""
    index = _Index(facts)
    found: dict[Derivation, None] = {}
    for rule in RULES:
        for bound in _bindings(index, rule.premises, {}):
            premises = sorted(canonical(p.predicate, bound[p.a], bound[p.b]) for p in rule.premises)
            end = rule.conclusion
            conclusion = canonical(end.predicate, bound[end.a], bound[end.b])
            found[Derivation(tuple(premises), conclusion)] = None
    return list(found)


def closure(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """All facts that follow from `facts`, these among them, sorted."""
    known = set(facts)
    while True:
        new = {derivation.conclusion for derivation in derivations(known)} - known
        if not new:
            return tuple(sorted(known))
        known |= new


def proofs(stated: Iterable[Fact]) -> dict[Fact, tuple[Fact, ...]]:
    """Give every fact that follows from `stated` the stated facts it rests on, sorted.

    A stated fact rests on itself. For another the smallest set that some chain of rules offers is
    taken, and of equally small ones the first in order: the number of its members is the number
    of hops.
    """
    given = set(stated)
    best: dict[Fact, tuple[Fact, ...]] = {fact: (fact,) for fact in sorted(given)}
    steps = derivations(closure(given))
    changed = True
    while changed:
        changed = False
        for premises, conclusion in steps:
            if conclusion in given or not all(premise in best for premise in premises):
                continue
            support = tuple(sorted({fact for premise in premises for fact in best[premise]}))
            known = best.get(conclusion)
            if known is None or (len(support), support) < (len(known), known):
                best[conclusion] = support
                changed = True
    return best
