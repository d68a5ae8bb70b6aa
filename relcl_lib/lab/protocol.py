"""What a number may be called, by one rule for all papers: `paper`, `reduced` or `stand-in`.

`paper` is a number only where data and weights are the paper's, by digest or by published counts, and
every setting has the value that the paper has for it in some cell of its tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relcl_lib.lab.parameters import Parameters

#: settings that shape no number, or that a record has elsewhere
HIDDEN = {"profile", "data_root", "device", "seeds"}
#: settings that say where and how a run computes; what `auto` comes to, its record notes
ANYWHERE = {*HIDDEN, "precision"}


def departures(
    given: Parameters,
    printed: Iterable[Mapping[str, Any]],
    kept: Collection[str] = (),
    free: Mapping[str, Collection[Any]] | None = None,
) -> list[str]:
    """Settings in which a run departs from the nearest cell of the paper's tables; [] for none.

    Args:
        given: the run's parameters.
        printed: what each cell sets, its method among it.
        kept: settings that choose among what the paper has itself (a variant), or that are judged
            by what they name (an encoder): a cell takes the run's.
        free: setting -> the values that the paper has for it in any cell; () for whatever value.
    """
    chosen, free = given.resolved().model_dump(), dict(free or {})
    own = {name: value for name in kept if (value := getattr(given, name)) is not None}
    nearest = ["method"]
    for distance, cell in enumerate(c for c in printed if c["method"] == chosen["method"]):
        usual = type(given)(**{**cell, **own}).resolved().model_dump()
        apart = [
            name
            for name, value in chosen.items()
            if value != usual[name]
            and name not in ANYWHERE
            and not (name in free and (not free[name] or value in free[name]))
        ]
        if not distance or len(apart) < len(nearest):
            nearest = apart
    return nearest


def settings_in_print(tables: Any, dataset: str) -> list[Mapping[str, Any]]:
    """What the cells of a paper's own tables set on a data set; a cell without memory has any."""
    found = []
    for table in tables.TABLES.values():
        if not table.ours and table.dataset in ("", dataset):
            own = tuple(replace(cell, memory=True) for cell in table.cells if not cell.ours)
            found += replace(table, cells=own).runs(dataset, tables.DATASETS.get(dataset, ()))
    return found


def protocol(given: Parameters, data: str, tables: Any, *, weights: bool = True) -> str:
    """What the numbers of a run may be called.

    Args:
        given: the run's parameters.
        data: what the data are: `paper`, `reduced` or `stand-in`.
        tables: the paper's module of tables, with `KEPT` and `FREE` (see `departures`).
        weights: whether the pretrained weights are the paper's, by digest or published sizes; True
            where there are none.
    """
    if data == "stand-in":
        return data
    if data != "paper" or not weights:
        return "reduced"
    apart = departures(given, settings_in_print(tables, given.dataset), tables.KEPT, tables.FREE)
    return "reduced" if apart else "paper"
