"""What lambda alone does: runs of one seed that differ in nothing else, by their differences.

At lambda = 1e-8 the loss changes a run by rounding only (`tables.ROUNDING`). So what differs there
is what two runs of one seed differ by anyway, and an effect of the loss must be larger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from relcl_lib.lab.format import signed
from relcl_lib.lab.metrics import mean_and_half
from relcl_lib.lab.records import Record, canonical_json, gains, shape_of
from relcl_lib.papers.drl.tables import (
    CONTROL,
    COUNTS,
    REPORTED,
    STRATEGIES,
    stand_in_rows,
)

if TYPE_CHECKING:
    import pandas as pd

#: of the control
TRACKS = ("NI", "Multi-Task-NC")


class Difference(NamedTuple):
    """Runs at a lambda less the runs at 0, seed by seed, in points: the seeds in common."""

    track: str
    width: int
    strategy: str
    weight: float
    metric: str
    gains: tuple[float, ...]


def alike(
    records: Iterable[Record], free: Sequence[str] = ("drl_weight",)
) -> list[dict[tuple, dict[int, Record]]]:
    """Runs that differ in the parameters `free` and the seed alone: values of `free` -> seed -> run."""
    found: dict[str, dict[tuple, dict[int, Record]]] = {}
    for record in records:
        values = tuple(record.parameters[name] for name in free)
        by_value = found.setdefault(canonical_json(shape_of(record, *free)), {})
        by_value.setdefault(values, {})[record.seed] = record
    return list(found.values())


def differences(records: Iterable[Record], metrics: Sequence[str] = COUNTS) -> list[Difference]:
    """All differences that the records of the control on a stand-in have, of `metrics`."""
    chosen = [record for record in records if record.paper == "drl" and not record.failed]
    rows = stand_in_rows("control", metrics=metrics[:1])
    found = []
    for by_weight in alike(r for r in chosen if any(row.matches(r) for row in rows)):
        plain = by_weight.pop((0.0,), {})
        for (weight,), by_seed in by_weight.items():
            first = next(iter(by_seed.values()))
            place = (first.dataset["track"], first.parameters["width"], first.method)
            for metric in metrics:
                if gained := gains(by_seed.values(), plain.values(), metric):
                    found.append(Difference(*place, weight, metric, tuple(gained)))
    order = {name: place for place, name in enumerate(STRATEGIES)}
    return sorted(
        found, key=lambda d: (TRACKS.index(d.track), d.width, order[d.strategy], d.weight)
    )


def form_gains(
    records: Iterable[Record], width: int, metric: str = COUNTS[0]
) -> dict[str, list[float]]:
    """What each form and weight of the loss changes of BER on NI: runs less those at lambda = 0, in points.

    The form, its representations and lambda -> a difference per seed in common; what failed is absent.
    """
    rows = [row for name in ("lambda", "variants") for row in stand_in_rows(name, metrics=[metric])]
    ours = (r for r in records if r.paper == "drl" and not r.failed)
    ours = (r for r in ours if r.parameters.get("width") == width)
    found: dict[str, list[float]] = {}
    chosen = (r for r in ours if any(row.matches(r) for row in rows))
    for forms in alike(chosen, ("taps", "loss", "drl_weight")):
        plain = [r for (*_, weight), runs in forms.items() if not weight for r in runs.values()]
        for (taps, loss, weight), runs in sorted(forms.items(), key=lambda item: item[0]):
            if weight and (gained := gains(runs.values(), plain, metric)):
                layers = "all layers" if taps == "all" else "logits"
                found[f"{loss}, {layers}, λ = {weight:g}"] = gained
    return found


def table(records: Iterable[Record]) -> pd.DataFrame:
    """The differences with a 95 % interval (three seeds at least), a row per run and lambda."""
    import pandas as pd

    lines: dict[tuple, dict[str, str | int]] = {}
    for each in differences(records):
        place = (each.track, each.width, each.strategy, f"{each.weight:g}")
        lines.setdefault(place, {})[each.metric] = signed(*mean_and_half(each.gains))
        lines[place]["n"] = len(each.gains)
    names = ["track", "width", "strategy", "lambda"]
    index = pd.MultiIndex.from_tuples(list(lines), names=names) if lines else None
    frame = pd.DataFrame(list(lines.values()), index, columns=[*COUNTS, "n"])
    words = {name: REPORTED[name].replace("%", "points more") for name in COUNTS}
    return frame.rename(columns={**words, "n": "seeds"})


def missing(records: Iterable[Record], width: int) -> str:
    """Which comparisons of the control have no records yet, in words; "" where all have."""
    there = {(d.track, d.strategy, d.weight) for d in differences(records) if d.width == width}
    weights = [weight for weight in CONTROL if weight]
    every = len(TRACKS) * len(STRATEGIES) * len(weights)
    absent = every - len({place for place in there if place[2] in weights})
    which = "all" if absent == every else f"{absent} of {every}"
    return f"no records yet at width {width}: {which} of the comparisons" if absent else ""
