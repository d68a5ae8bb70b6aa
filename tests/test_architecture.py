"""The plan of the house holds: which room imports which, no circles, a thin library."""

import json
from collections import defaultdict

import pytest
from house_plan import (
    BOXES,
    HOUSE,
    LEVELS,
    LIBRARY,
    ROOT,
    arrows,
    lines,
    main,
    modules,
    room,
    shown,
)
from PIL import Image

LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
#: what the library may grow to; it is what a researcher imports and reads
MOST_LINES = 7000
ELSEWHERE = {f"{HOUSE}.lab.records", "pandas", "matplotlib", "seaborn"}

ARROWS = arrows()
INSIDE = {arrow for arrow in ARROWS if arrow.target.split(".")[0] == HOUSE}


def paper(module):
    """The folder of `papers` a module stands in, else nothing."""
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["papers"] and parts[2] != "registry" else ""


def breach(arrow):
    """Whether an import goes up, across or into another paper."""
    source, target = room(arrow.source), room(arrow.target)
    if target == "worlds":
        return source != "worlds" and not (source == "data" and arrow.lazy)
    if source == "papers" and target == "papers":
        mine, other = paper(arrow.source), paper(arrow.target)
        return bool(mine) and mine != other
    if target in (source, ""):
        return False
    # The generator may use what its texts are made for; the front door beside the rooms, all.
    level = LEVEL["models"] if source == "worlds" else LEVEL.get(source, len(LEVELS) + 1)
    return LEVEL.get(target, len(LEVELS)) >= level


def circles():
    """Every module that imports itself through others."""
    after = defaultdict(set)
    for arrow in INSIDE:
        if room(arrow.target) != "worlds" or room(arrow.source) == "worlds":
            after[arrow.source].add(arrow.target)

    def reached(module):
        found, new = set(), {module}
        while new := {target for name in new for target in after[name]} - found:
            found |= new
        return found

    return {name for name in modules() if name in reached(name)}


def loaded(module):
    """What importing a module imports, at once or through others."""
    found, new = set(), {module}
    while new:
        found |= new
        new = {a.target for a in ARROWS if a.source in new and not a.lazy} - found
    return found


def breaches():
    """All breaches of the plan, a line each."""
    found = {f"{a.source} -> {a.target}" for a in INSIDE if breach(a)}
    found |= {f"circle through {name}" for name in circles()}
    for name in modules():
        if room(name) in LIBRARY:
            roots = {target for target in loaded(name) if target in ELSEWHERE}
            roots |= {target.split(".")[0] for target in loaded(name)} & ELSEWHERE
            found |= {f"{name} loads {target}" for target in roots}
    return found


BREACHES = breaches()


def test_no_import_goes_up_or_around():
    assert sorted(BREACHES) == []


def test_the_package_itself_imports_nothing():
    assert [arrow for arrow in ARROWS if arrow.source == HOUSE] == []


def test_library_stays_thin():
    assert sum(map(lines, LIBRARY)) <= MOST_LINES


def test_every_room_has_a_level():
    folders = {room(name) for name, file in modules().items() if file.name == "__init__.py"}
    assert folders - {"", "worlds"} == set(LEVEL)


def test_the_plan_is_drawn(tmp_path, capsys):
    assert set(BOXES) == {*LEVEL, "worlds"}
    pictures = [tmp_path / name for name in ("first.png", "again.png")]
    for picture in pictures:
        main([str(picture)])
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_the_committed_plan_is_that_of_today():
    """Its rooms, files and arrows; its numbers, which every commit changes, to a tenth or three."""
    drawn, today = json.loads(Image.open(ROOT / "figures" / "house.png").text["shown"]), shown()
    told = "PYTHONPATH=. .venv/bin/python tests/helpers/house_plan.py draws it anew"
    assert drawn["inside"] == today["inside"], told
    for kind in ("lines", "imports"):
        assert drawn[kind] == {
            k: pytest.approx(v, rel=0.1, abs=3) for k, v in today[kind].items()
        }, told
