"""The words of the generated corpus: entity kinds, relations, and the readers of its phrases.

One predicate may be two relations, one for each direction (`capital` is P36 read one way and
P1376 read the other), so that the same words mean different relations and the order decides.
"""

from __future__ import annotations

from typing import NamedTuple

from relcl_lib.worlds import phrases

TYPES = {
    "person": "PER",
    "city": "LOC",
    "country": "LOC",
    "company": "ORG",
    "university": "ORG",
    "book": "OTH",
}


class Relation(NamedTuple):
    """A relation: Wikidata's id, its name, a path in the style of NYT, and the two types."""

    id: str
    name: str
    path: str
    head: str
    tail: str


RELATIONS = tuple(
    Relation(*line.split(";"))
    for line in """
P22;father;/people/person/father;PER;PER
P25;mother;/people/person/mother;PER;PER
P40;child;/people/person/children;PER;PER
P26;spouse;/people/person/spouse;PER;PER
P3373;sibling;/people/person/sibling;PER;PER
P19;place of birth;/people/person/place_of_birth;PER;LOC
P20;place of death;/people/deceased_person/place_of_death;PER;LOC
P551;residence;/people/person/place_lived;PER;LOC
P27;country of citizenship;/people/person/nationality;PER;LOC
P937;work location;/people/person/place_worked;PER;LOC
P108;employer;/business/person/company;PER;ORG
P69;educated at;/people/person/education;PER;ORG
P112;founded by;/business/company/founders;ORG;PER
P159;headquarters location;/business/company/headquarters;ORG;LOC
P749;parent organization;/business/company/parent;ORG;ORG
P355;subsidiary;/business/company/subsidiary;ORG;ORG
P17;country;/location/city/country;LOC;LOC
P36;capital;/location/country/capital;LOC;LOC
P1376;capital of;/location/city/capital_of;LOC;LOC
P50;author;/book/book/author;OTH;PER
P800;notable work;/book/author/works_written;PER;OTH
P155;follows;/book/book/follows;OTH;OTH
P156;followed by;/book/book/followed_by;OTH;OTH
P495;country of origin;/book/book/country_of_origin;OTH;LOC
""".strip().splitlines()
)

# predicate: the relation of (a, b), then the relation of (b, a) where there is one.
VIEWS: dict[str, tuple[str, ...]] = {
    "father": ("P22", "P40"),
    "mother": ("P25", "P40"),
    "spouse": ("P26", "P26"),
    "sibling": ("P3373", "P3373"),
    "birth": ("P19",),
    "death": ("P20",),
    "residence": ("P551",),
    "citizenship": ("P27",),
    "work_place": ("P937",),
    "employer": ("P108",),
    "education": ("P69",),
    "founder": ("P112",),
    "seat": ("P159",),
    "parent_org": ("P749", "P355"),
    "country": ("P17",),
    "capital": ("P36", "P1376"),
    "author": ("P50", "P800"),
    "sequel": ("P155", "P156"),
    "origin": ("P495",),
}
SYMMETRIC = ("spouse", "sibling")


class Pattern(NamedTuple):
    """One paraphrase: its name (`birth/3`), its words, and whether only the test may use it."""

    key: str
    words: tuple[str, ...]
    held_out: bool


def _read_table(table: str) -> dict[str, tuple[Pattern, ...]]:
    patterns: dict[str, list[Pattern]] = {}
    names: list[str] = []
    for line in table.strip().splitlines():
        words = tuple(line.split())
        if words[0] == "=":
            names = list(words[1:])
            continue
        held_out = words[0] == "~"
        for name in names:
            known = patterns.setdefault(name, [])
            known.append(Pattern(f"{name}/{len(known)}", words[held_out:], held_out))
    return {name: tuple(known) for name, known in patterns.items()}


PATTERNS = _read_table(phrases.FACTS)
AMBIGUOUS = _read_table(phrases.AMBIGUOUS)
NULL = _read_table(phrases.NULL)
