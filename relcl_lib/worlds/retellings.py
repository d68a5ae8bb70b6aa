"""Texts to pretrain on: documents and retellings of a generated world, in training paraphrases."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import NamedTuple

from relcl_lib.worlds.documents import draw_documents
from relcl_lib.worlds.rules import Fact
from relcl_lib.worlds.text import Clause, fact_clause, null_clause, sentence
from relcl_lib.worlds.world import World, choose, shuffled


class Retelling(NamedTuple):
    """What a world's retellings are drawn from: its facts by predicate and by entity."""

    world: World
    by_predicate: dict[str, list[Fact]]
    by_entity: dict[str, list[Fact]]

    @classmethod
    def of(cls, world: World) -> Retelling:
        """Sort the facts of a world."""
        by_predicate: dict[str, list[Fact]] = defaultdict(list)
        by_entity: dict[str, list[Fact]] = defaultdict(list)
        for fact in world.facts:
            by_predicate[fact.predicate].append(fact)
            for entity in fact[1:]:
                by_entity[entity].append(fact)
        return cls(world, by_predicate, by_entity)

    def draw(self, rng: Random) -> str:
        """Word one to three facts about one entity, each twice, among clauses that state nothing."""
        first = choose(rng, self.by_predicate[choose(rng, sorted(self.by_predicate))])
        others = self.by_entity[choose(rng, first[1:])]
        facts = dict.fromkeys([first, *shuffled(rng, others)[: int(rng.random() * 3)]])
        clauses = [fact_clause(rng, self.world, fact) for fact in facts for _ in range(2)]
        for _ in range(int(rng.random() * 2)):
            extra = null_clause(rng, self.world, sorted(self.by_entity), first[1:])
            clauses += [extra] if extra else []
        groups: list[list[Clause]] = [[]]
        for clause in shuffled(rng, clauses):
            if groups[-1] and (len(groups[-1]) == 2 or rng.random() < 0.5):
                groups.append([])
            groups[-1].append(clause)
        told = [sentence(rng, self.world, group).tokens for group in groups]
        return " ".join(word for tokens in told for word in tokens)


def draw_texts(world: World, documents: int, retellings: int) -> list[str]:
    """Draw texts of one world, without any held-out paraphrase.

    Args:
        world: from `make_world`; not one of a corpus that is to be tested on.
        documents: of 4 to 8 sentences.
        retellings: of 1 to 7 sentences that state each fact twice.
    """
    drawn = draw_documents(world, {"train": documents})["train"]
    texts = [" ".join(word for part in found.sentences for word in part.tokens) for found in drawn]
    source, rng = Retelling.of(world), Random(f"retellings/{world.seed}")
    return texts + [source.draw(rng) for _ in range(retellings)]
