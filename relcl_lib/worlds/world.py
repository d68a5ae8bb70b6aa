"""The generated world: people, places, organisations and books, and what is true of them.

All randomness is `random.Random(text).random()`: Python guarantees that sequence across versions,
and not that of `choice` or `shuffle`, and the corpus must be the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TypeVar

from relcl_lib.worlds import phrases
from relcl_lib.worlds.grammar import TYPES
from relcl_lib.worlds.rules import Fact, canonical, closure

T = TypeVar("T")

CITIES_EACH = 4
RESERVED_SHARE = 0.15
_FIRST_NAMES = {"m": phrases.MEN.split(), "f": phrases.WOMEN.split()}
_ONSETS = [*"bdfghklmnprstv", "br", "dr", "gr", "kr", "st", "tr"]
_CODAS = [*"lnrsmdkv", "ld", "nd"]
_FORMS = {
    "country": ("ia", "land", "stan", "ovia", "mark"),
    "city": ("ton", "burg", "ford", "haven", "dale", "by"),
    "surname": ("son", "vik", "ero", "ski", "elli", "mann"),
    "company": ("ex", "ora", "tec", "ium"),
}
_TRADES = ("Industries", "Motors", "Press", "Systems", "Foods")


@dataclass(frozen=True)
class Entity:
    """One entity: id (`Q12`), kind, names (the full one first, then aliases), gender, split.

    Names are not unique. `held_out` entities occur in no training split; neither do their names,
    but for first names, trades and the words of book titles.
    """

    id: str
    kind: str
    names: tuple[str, ...]
    gender: str
    held_out: bool

    @property
    def type(self) -> str:
        """The coarse type: PER, LOC, ORG or OTH."""
        return TYPES[self.kind]


@dataclass(frozen=True)
class World:
    """Entities by id, the facts drawn, all that follows from them, and those kept for the test."""

    seed: int
    entities: dict[str, Entity]
    base: tuple[Fact, ...]
    facts: tuple[Fact, ...]
    reserved: frozenset[Fact]

    @cached_property
    def pairs(self) -> frozenset[frozenset[str]]:
        """The unordered pairs of entities between which some fact holds."""
        return frozenset(frozenset((fact.a, fact.b)) for fact in self.facts)

    def is_test(self, fact: Fact) -> bool:
        """Whether a fact is kept from the training splits of sentences and triples."""
        return fact in self.reserved or self.unseen(fact)

    def unseen(self, fact: Fact) -> bool:
        """Whether one of a fact's entities is held out."""
        return self.entities[fact.a].held_out or self.entities[fact.b].held_out


def choose(rng: Random, items: Sequence[T]) -> T:
    """Draw one item, each as likely."""
    return items[int(rng.random() * len(items))]


def shuffled(rng: Random, items: Iterable[T]) -> list[T]:
    """The items in a random order."""
    return [item for _, _, item in sorted((rng.random(), i, x) for i, x in enumerate(items))]


class _Builder:
    def __init__(self, seed: int, size: int) -> None:
        self.rng = Random(f"world/{seed}")
        self.size = size
        self.entities: dict[str, Entity] = {}
        self.facts: dict[Fact, None] = {}
        self.stems: set[str] = set()

    def stem(self) -> str:
        while True:
            parts = [choose(self.rng, _ONSETS)]
            parts += [choose(self.rng, "aeiou"), choose(self.rng, _CODAS)]
            if self.rng.random() < 0.35:
                parts += [choose(self.rng, "aeiou"), choose(self.rng, "lnrsmv")]
            stem = "".join(parts).capitalize()
            # A stem inside another would let one name be part of the other's word.
            if not any(stem.startswith(old) or old.startswith(stem) for old in self.stems):
                self.stems.add(stem)
                return stem

    def name(self, form: str) -> str:
        return self.stem() + choose(self.rng, _FORMS[form])

    def add(self, kind: str, *names: str, gender: str = "", held_out: bool = False) -> str:
        key = f"Q{len(self.entities) + 1}"
        unique = tuple(dict.fromkeys(names))
        self.entities[key] = Entity(key, kind, unique, gender, held_out)
        return key

    def state(self, predicate: str, a: str, b: str) -> None:
        self.facts[canonical(predicate, a, b)] = None

    def of(self, kinds: Sequence[str], held_out: bool | None = None) -> list[str]:
        return [
            key
            for key, entity in self.entities.items()
            if entity.kind in kinds and held_out in (None, entity.held_out)
        ]

    def places(self) -> None:
        """Countries and their cities; a few cities share a name with one elsewhere."""
        for i in range(max(6, self.size * 3 // 8)):
            held_out = i % 6 == 5
            country = self.add("country", self.name("country"), held_out=held_out)
            for j in range(CITIES_EACH):
                older = [self.entities[key].names[0] for key in self.of(["city"], held_out)]
                twin = j == 3 and i % 5 == 4 and older
                name = choose(self.rng, older) if twin else self.name("city")
                city = self.add("city", name, held_out=held_out)
                self.state("country", city, country)
                if j == 0:
                    self.state("capital", country, city)
        for city in shuffled(self.rng, self.of(["city"]))[: max(4, self.size * 3 // 10)]:
            place = self.entities[city]
            names = (f"University of {place.names[0]}", f"{place.names[0]} University")
            university = self.add("university", *names, held_out=place.held_out)
            self.state("seat", university, city)

    def person(self, surname: str, gender: str, held_out: bool) -> str:
        first = choose(self.rng, _FIRST_NAMES[gender])
        names = (f"{first} {surname}", surname, f"{first[0]}. {surname}")
        return self.add("person", *names, gender=gender, held_out=held_out)

    def families(self) -> None:
        """Couples and children; unrelated families may share their name, and so namesakes."""
        surnames: dict[bool, list[str]] = {False: [], True: []}
        for i in range(self.size):
            held_out = i % 5 == 4
            known = surnames[held_out]
            surname = choose(self.rng, known) if i % 7 == 6 and known else self.name("surname")
            known.append(surname)
            own = self.name("surname") if self.rng.random() < 0.3 else surname
            father = self.person(surname, "m", held_out)
            mother = self.person(own, "f", held_out)
            self.state("spouse", father, mother)
            members = [father, mother]
            for _ in range(int(self.rng.random() * 4)):
                child = self.person(surname, choose(self.rng, "mf"), held_out)
                self.state("father", child, father)
                self.state("mother", child, mother)
                for sibling in members[2:]:
                    self.state("sibling", child, sibling)
                members.append(child)
            self.lives(members)

    def lives(self, members: list[str]) -> None:
        """Where a family's members were born, live and died: often in one place, so pairs recur."""
        cities = self.of(["city"])
        homes = [choose(self.rng, cities) for _ in range(3)]
        shared = choose(self.rng, homes)
        for i, person in enumerate(members):
            born = choose(self.rng, homes)
            home = shared if i < 2 else choose(self.rng, [born, *homes])
            self.state("birth", person, born)
            self.state("residence", person, home)
            if self.rng.random() < 0.45:
                self.state("death", person, choose(self.rng, [born, home, *homes]))

    def companies(self) -> None:
        """Companies, many named after their founder or town, some owned by an older one."""
        for i in range(self.size):
            held_out = i % 6 == 5
            founder = choose(self.rng, self.of(["person"], held_out))
            city = choose(self.rng, self.of(["city"], held_out))
            stem = self.name("company")
            if self.rng.random() < 0.5:
                stem = self.entities[founder].names[1]
            elif self.rng.random() < 0.3:
                stem = self.entities[city].names[0]
            owners = self.of(["company"])
            name = f"{stem} {choose(self.rng, _TRADES)}"
            company = self.add("company", name, stem, held_out=held_out)
            self.state("founder", company, founder)
            self.state("seat", company, city)
            if owners and self.rng.random() < 0.75:
                self.state("parent_org", company, choose(self.rng, owners))

    def careers(self) -> None:
        """Studies, jobs and books of all people."""
        adjectives, nouns = phrases.ADJECTIVES.split(), phrases.NOUNS.split()
        titles = shuffled(self.rng, [f"The {a} {n}" for a in adjectives for n in nouns])
        for person in self.of(["person"]):
            held_out = self.entities[person].held_out
            school = choose(self.rng, self.of(["university"]))
            if self.rng.random() < 0.6:
                self.state("education", person, school)
            if self.rng.random() < 0.7:
                job = choose(self.rng, self.of(["company"]))
                self.state("employer", person, school if self.rng.random() < 0.3 else job)
            if self.rng.random() < 0.3:
                earlier = None
                for _ in range(1 + int(self.rng.random() * 3)):
                    title = titles.pop() if titles else f"The {self.stem()} Letter"
                    names = [title, title.removeprefix("The ")]
                    if self.rng.random() < 0.1:
                        names = [
                            self.entities[choose(self.rng, self.of(["city"], held_out))].names[0]
                        ]
                    book = self.add("book", *names, held_out=held_out)
                    self.state("author", book, person)
                    if earlier:
                        self.state("sequel", book, earlier)
                    earlier = book


def make_world(seed: int, size: int = 160) -> World:
    """Draw a world; by default about 1,400 entities and 4,300 facts, 5,900 with what follows.

    About a fifth of the entities is held out, and 15 % of the facts are reserved: neither is in a
    training sentence (training documents avoid the entities alone). Functional predicates (one
    birthplace, one father, one capital...) stay so under the rules. `size` is the number of
    families, at least 10, and of companies; the rest is in proportion.
    """
    if size < 10:
        raise ValueError(f"a world of size {size} lacks facts for some relations: take 10 or more")
    builder = _Builder(seed, size)
    builder.places()
    builder.families()
    builder.companies()
    builder.careers()
    base = tuple(sorted(builder.facts))
    facts = closure(base)
    reserved = frozenset(fact for fact in facts if builder.rng.random() < RESERVED_SHARE)
    return World(seed, builder.entities, base, facts, reserved)
