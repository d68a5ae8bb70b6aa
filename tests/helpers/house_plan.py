"""The imports of `relcl_lib`, read from its source, and the plan of the house drawn from them.

    python tests/helpers/house_plan.py [figures/house.png]

A room is a folder of `relcl_lib`; an arrow is an import, wherever in a file it stands.
"""

from __future__ import annotations

import argparse
import ast
import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
HOUSE = "relcl_lib"
#: from the ground up; rooms of one level do not import each other
LEVELS = (
    ("losses", "lab"),
    ("data",),
    ("continual", "text"),
    ("models",),
    ("papers",),
    ("commands",),
)
#: what a researcher imports
LIBRARY = ("losses", "models", "continual", "text")


class Arrow(NamedTuple):
    """One import; `lazy` where it stands in a function."""

    source: str
    target: str
    lazy: bool


@cache
def modules() -> dict[str, Path]:
    """Module name -> file, of all modules of the library."""
    files = sorted((ROOT / HOUSE).rglob("*.py"))
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)
    return {name.removesuffix(".__init__"): f for name, f in zip(names, files, strict=True)}


def room(module: str) -> str:
    """The folder a module stands in; the name itself for what lies beside the folders."""
    return [*module.split("."), ""][1]


def lines(name: str) -> int:
    """Lines of all modules of a room."""
    files = (file for module, file in modules().items() if room(module) == name)
    return sum(len(file.read_text("utf-8").splitlines()) for file in files)


@cache
def arrows() -> frozenset[Arrow]:
    """Every import of every module, of the library's modules and of other packages."""
    return frozenset(arrow for name, file in modules().items() for arrow in _imports(name, file))


def _imports(name: str, file: Path) -> Iterator[Arrow]:
    def walk(node: ast.AST, lazy: bool) -> Iterator[Arrow]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Arrow(name, alias.name, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    yield Arrow(name, full if full in modules() else str(child.module), lazy)
            yield from walk(child, lazy or isinstance(child, ast.FunctionDef | ast.Lambda))

    return walk(ast.parse(file.read_text("utf-8")), False)


# --- the picture ---------------------------------------------------------------------------------


class Box(NamedTuple):
    """Where a room is drawn."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2


#: `lab` and `losses` are ground as well, but stand beside the others, so that no arrow to them
#: crosses a room
BOXES = {
    "lab": Box(0.0, 0.0, 2.3, 9.2),
    "losses": Box(12.7, 2.1, 15.0, 7.7),
    "worlds": Box(12.7, 0.0, 15.0, 1.4),
    "data": Box(3.0, 0.0, 12.0, 1.4),
    "text": Box(3.8, 2.1, 7.2, 3.6),
    "continual": Box(7.8, 2.1, 11.2, 4.1),
    "models": Box(4.9, 4.45, 10.0, 6.0),
    "papers": Box(3.0, 6.5, 11.2, 7.7),
    "commands": Box(3.0, 8.3, 12.0, 9.2),
}
#: where an arrow starts and ends, so that it crosses no room; one that is new joins the middles
LANES = {
    ("commands", "lab"): ((3.0, 8.7), (2.3, 8.7)),
    ("commands", "data"): ((11.4, 8.3), (11.4, 1.4)),
    ("commands", "papers"): ((8.0, 8.3), (8.0, 7.7)),
    ("papers", "lab"): ((3.0, 7.0), (2.3, 7.0)),
    ("papers", "losses"): ((11.2, 7.4), (12.7, 7.4)),
    ("papers", "models"): ((7.4, 6.5), (7.4, 6.0)),
    ("papers", "continual"): ((10.2, 6.5), (10.2, 4.1)),
    ("papers", "text"): ((4.7, 6.5), (4.7, 3.6)),
    ("papers", "data"): ((3.6, 6.5), (3.6, 1.4)),
    ("models", "lab"): ((4.9, 5.25), (2.3, 5.25)),
    ("models", "losses"): ((10.0, 5.75), (12.7, 5.75)),
    ("models", "text"): ((6.1, 4.45), (6.1, 3.6)),
    ("models", "data"): ((7.6, 4.45), (7.6, 1.4)),
    ("continual", "lab"): ((7.8, 3.8), (2.3, 3.8)),
    ("continual", "losses"): ((11.2, 3.3), (12.7, 3.3)),
    ("continual", "data"): ((9.5, 2.1), (9.5, 1.4)),
    ("text", "lab"): ((3.8, 2.8), (2.3, 2.8)),
    ("text", "data"): ((5.5, 2.1), (5.5, 1.4)),
    ("data", "lab"): ((3.0, 0.7), (2.3, 0.7)),
    ("data", "worlds"): ((12.0, 1.2), (12.7, 1.2)),
}
COLOURS = dict.fromkeys(LIBRARY, "#d8e8d2") | {
    "lab": "#e4e4e4",
    "data": "#fbe7c6",
    "worlds": "#fdf6e8",
    "papers": "#cfe0f1",
    "commands": "#e9dff2",
}
INK, FORBIDDEN = "#444444", "#c0392b"


def counts() -> Counter[tuple[str, str]]:
    """How many imports lead from one room to another, of those that the picture shows."""
    inside = [arrow for arrow in arrows() if arrow.target.startswith(HOUSE)]
    pairs = Counter((room(arrow.source), room(arrow.target)) for arrow in inside)
    drawn = {pair for pair in pairs if {*pair} <= {*BOXES} and pair[0] not in ("worlds", pair[1])}
    return Counter({pair: pairs[pair] for pair in drawn})


def shown() -> dict[str, Any]:
    """What the picture says: what stands in the rooms, their lines, and imports between two."""
    inside = sorted({".".join(name.split(".")[1:3]) for name in modules()})
    arrows_between = {" ".join(pair): count for pair, count in sorted(counts().items())}
    held = {"lines": {name: lines(name) for name in BOXES}, "imports": arrows_between}
    return {"inside": inside, **held}


def draw() -> Figure:
    """Draw the rooms by level, what stands in each, and how many imports lead from one to another."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 7.3), dpi=110, layout="none")  # whatever is set elsewhere
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.3, 15.3), ylim=(-0.7, 9.95))
    axes.axis("off")
    for name, box in BOXES.items():
        _draw_room(axes, name, box)
    _draw_papers(axes, BOXES["papers"])
    for (source, target), count in sorted(counts().items(), key=lambda item: (-item[1], item[0])):
        _draw_arrow(axes, source, target, count)
    library = sum(map(lines, LIBRARY))
    title = "a number is how many imports lead from one room to another (red: against the plan)"
    axes.text(7.5, 9.55, f"The house: {title}", fontsize=11.5, ha="center", color=INK)
    text = (
        f"green: the library that a researcher imports, {library / 1000:.1f}k lines.  No paper imports "
        "another.  worlds is used only where more documents are asked for than are committed."
    )
    axes.text(7.5, -0.45, text, fontsize=8.5, ha="center", color=INK)
    return figure


def _draw_room(axes: Axes, name: str, box: Box) -> None:
    _draw_box(axes, box, COLOURS[name], dashed=name == "worlds")
    names = (module.split(".")[2] for module in modules() if module.startswith(f"{HOUSE}.{name}."))
    inside = sorted(set(names))
    width = box.right - box.left
    text = textwrap.fill(", ".join(inside), int(width * 10.5), break_on_hyphens=False)
    if name in ("lab", "losses"):
        text = "\n".join(inside)
    elif name == "worlds":
        text = "the generator of the\nsmall text world"
    elif name == "papers":
        text = ""
    middle, style = box.middle[0], {"ha": "center", "va": "top"}
    title = f"{name}   {lines(name) / 1000:.1f}k lines"
    axes.text(middle, box.top - 0.13, title, fontsize=10.5, weight="bold", **style)
    axes.text(middle, box.top - 0.48, text, fontsize=8, linespacing=1.35, color=INK, **style)


def _draw_papers(axes: Axes, box: Box) -> None:
    """Draw the papers as rooms without a door between them."""
    names = sorted({module.split(".")[2] for module in modules() if _is_of_a_paper(module)})
    width = (box.right - box.left - 0.2) / len(names)
    for at, name in enumerate(names):
        left = box.left + 0.1 + at * width
        cell = Box(left + 0.08, box.bottom + 0.14, left + width - 0.08, box.top - 0.5)
        _draw_box(axes, cell, "#e7f0f8")
        axes.text(*cell.middle, name, ha="center", va="center", fontsize=9.5)


def _is_of_a_paper(module: str) -> bool:
    return module.startswith(f"{HOUSE}.papers.") and module.count(".") > 2


def _draw_box(axes: Axes, box: Box, colour: str, *, dashed: bool = False) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch(
            (box.left, box.bottom),
            box.right - box.left,
            box.top - box.bottom,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=colour,
            edgecolor=INK,
            linewidth=1,
            linestyle="--" if dashed else "-",
        )
    )


def _draw_arrow(axes: Axes, source: str, target: str, count: int) -> None:
    level = {name: at for at, names in enumerate(LEVELS) for name in names}
    fine = target == "worlds" or level[target] < level[source]
    colour = INK if fine else FORBIDDEN
    start, end = LANES.get((source, target), (BOXES[source].middle, BOXES[target].middle))
    style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 13}
    style |= {"lw": 0.8 + count**0.5 / 4, "linestyle": "--" if target == "worlds" else "-"}
    axes.annotate("", end, start, arrowprops={"color": colour, **style})
    length = abs(end[0] - start[0]) + abs(end[1] - start[1])
    share = min(0.45, 0.45 / length)
    place = [one + share * (other - one) for one, other in zip(start, end, strict=True)]
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    style = {"ha": "center", "va": "center", "fontsize": 8.5}
    axes.text(*place, str(count), color=colour, bbox=box, **style)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture, with what it says in its metadata; the same imports give the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    picture = ROOT / "figures" / "house.png"
    parser.add_argument("path", nargs="?", type=Path, default=picture, help="figures/house.png")
    path = parser.parse_args(arguments).path
    draw().savefig(path, metadata={"Software": None, "shown": json.dumps(shown())})
    print(path)


if __name__ == "__main__":
    main()
