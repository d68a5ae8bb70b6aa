"""The imports of `relcl_lib`, read from its source.

A room is a folder of `relcl_lib`; an arrow is an import, wherever in a file it stands. A module's own
package is no arrow, nor is the standard library.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Module name -> file, of all modules of the library."""
    files = sorted((root / HOUSE).rglob("*.py"))
    return {
        ".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): f
        for f in files
    }


def room(module: str) -> str:
    """The folder a module stands in; the name itself for what lies beside the folders."""
    return [*module.split("."), ""][1]


def lines(name: str) -> int:
    """Lines of all modules of a room."""
    return sum(
        len(f.read_text("utf-8").splitlines()) for m, f in modules().items() if room(m) == name
    )


def arrows() -> set[Arrow]:
    """Every import of every module, of the library's modules and of other packages."""
    known = modules()
    return {arrow for name, file in known.items() for arrow in _imports(name, file, known)}


def _imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[Arrow]:
    def walk(node: ast.AST, lazy: bool) -> Iterator[Arrow]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Arrow(name, alias.name, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    yield Arrow(name, full if full in known else child.module, lazy)
            yield from walk(child, lazy or isinstance(child, ast.FunctionDef | ast.Lambda))

    return walk(ast.parse(file.read_text("utf-8")), False)
