"""Ours beside theirs: what a paper prints, joined with our result records."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from relcl_lib.lab.claims import SCALES
from relcl_lib.lab.format import FAILED, NOT_RUN, TableError
from relcl_lib.lab.metrics import LEAST_SEEDS, mean_and_half
from relcl_lib.lab.records import (
    Record,
    canonical_json,
    content_in_words,
    shape_of,
    trained_on,
)
from relcl_lib.lab.rows import Entry, Row, entries

if TYPE_CHECKING:
    import pandas as pd

COMPARE_COLUMNS = (
    *Entry._fields[:5],
    "paper",
    "paper_pm",
    "ours",
    "ours_pm",
    "n",
    "difference",
    "protocol",
    "variant",
    "configuration",
    "digits",
)


def compare(
    paper: str, rows: Iterable[Row], records: Iterable[Record], *, only_run: bool = False
) -> pd.DataFrame:
    """Put our mean over seeds beside each number of a paper, a line per row and configuration.

    Records are averaged only if they differ in nothing but the seed, and were computed in one number
    format. Where several configurations correspond to one row (protocols, variants, backbones,
    parameters), each has a line of its own, and `configuration` says what sets it apart, in the other
    rows of its table and data set too. Of runs that stand in no table it says all that differs.

    Args:
        paper: whose table file and records to use.
        rows: what to compare.
        records: any records, failed ones too; those of other papers are left out.
        only_run: leave out rows without a record.

    Returns:
        Columns `COMPARE_COLUMNS`: paper and ours in per cent (with the row's `paper_scale`),
        the ± of ours a 95 % half width over n seeds (NaN for n < 3), difference = ours - paper;
        NaN where there is no number. `protocol` is `not run` where there is no record, and `failed`
        of a configuration whose runs failed; `digits` is how many decimals the row shows.
    """
    printed = {entry[:5]: entry for entry in entries(paper)}
    ours = [record for record in records if record.paper == paper]
    found, varied = [], defaultdict(set)
    for row in rows:
        matching = [record for record in ours if row.matches(record)]
        groups = _groups([record for record in matching if not record.failed])
        lost = _groups([record for record in matching if record.failed])
        found.append((row, groups, lost))
        apart = _varied(groups) or (_varied([*groups, *lost]) if lost else set())
        varied[row.table, row.dataset] |= apart | {f"parameters.{n}" for n in row.told}
    for table, dataset in varied:
        if not table:  # settings of one's own, which no setting of a table says
            own = [
                g
                for row, groups, _ in found
                if (row.table, row.dataset) == ("", dataset)
                for g in groups
            ]
            varied[table, dataset] |= _varied(own) - {"method"}
    lines = []
    for row, groups, lost in found:
        named = Entry(row.table, row.dataset, row.setting, row.method, row.metric)
        number = printed.get(named[:5], named)
        scaled = (number.value * row.paper_scale, number.std * row.paper_scale)
        theirs = (*named[:3], row.shown or row.method, row.our_metric, *scaled)
        if not groups and not lost and not only_run:
            lines.append((*theirs, math.nan, math.nan, 0, math.nan, NOT_RUN, "", "", row.digits))
        for group in groups:
            values = [record.metrics[row.our_metric] for record in group.records]
            mean, half = mean_and_half(values)
            outcome = (mean, half, len(values), mean - scaled[0])
            label = _label(group, varied[row.table, row.dataset], groups)
            kind = (group.records[0].protocol, group.records[0].variant, label)
            lines.append((*theirs, *outcome, *kind, row.digits))
        for group in lost:  # a failure stands beside what did not fail
            label = (
                _label(group, varied[row.table, row.dataset], [*groups, *lost]) if groups else ""
            )
            kind = (FAILED, group.records[0].variant if groups else "", label)
            lines.append((*theirs, math.nan, math.nan, 0, math.nan, *kind, row.digits))
    import pandas as pd  # late: the help of a command needs none

    return pd.DataFrame(lines, columns=list(COMPARE_COLUMNS))


def nearest(frame: pd.DataFrame) -> pd.DataFrame:
    """Of the configurations of each number the one whose protocol is nearest to the paper's.

    It has at least three seeds; where none has, it is the one with the most. Of two alike it is the
    first, which trained on more data.
    """
    scales = [*SCALES, FAILED, NOT_RUN]

    def rank(place: int) -> tuple[bool, int, int, int]:
        seeds, far = int(frame["n"].loc[place]), scales.index(frame["protocol"].loc[place])
        few = seeds < LEAST_SEEDS
        return few, 0 if few else far, -seeds, far

    order = sorted(frame.index, key=rank)
    return frame.loc[order].drop_duplicates(list(COMPARE_COLUMNS[:5])).sort_index()


class _Group(NamedTuple):
    """Records that differ in the seed alone, and all else that makes them what they are, by name."""

    shape: dict[str, Any]
    records: list[Record]


def _groups(records: Sequence[Record]) -> list[_Group]:
    """Group by configuration without the seed; what trained on more data comes first."""
    groups: dict[str, _Group] = {}
    for record in records:
        shape = shape_of(record)
        key = canonical_json(shape | {"protocol": record.protocol})
        for name in ("seed", "number_format", "inputs"):
            del shape[name]
        shape["parameters"] |= _inputs(record)
        for kind in ("parameters", "dataset"):
            shape |= {f"{kind}.{name}": value for name, value in shape.pop(kind).items()}
        groups.setdefault(key, _Group(shape, [])).records.append(record)
    for _, group in groups.values():
        seeds = [record.seed for record in group]
        if len(set(seeds)) < len(seeds):
            first = group[0]
            raise TableError(
                f"two records of {first.paper}/{first.experiment}, {first.method}, have the same "
                f"configuration and seed (seeds {sorted(seeds)}); delete one"
            )
    first = {key: (-trained_on(group.records[0]), key) for key, group in groups.items()}
    return [groups[key] for key in sorted(groups, key=first.__getitem__)]


def _varied(groups: Sequence[_Group]) -> set[str]:
    """What sets groups apart; the variant has a column of its own."""
    names = {name for shape, _ in groups for name in shape} - {"variant"}
    return {n for n in names if len({canonical_json(shape.get(n)) for shape, _ in groups}) > 1}


def _label(group: _Group, names: Iterable[str], others: Sequence[_Group]) -> str:
    shape, records = group
    about = {n.removeprefix("parameters."): shape[n] for n in sorted(names) if n in shape}
    about |= {n: _shown(value, n, [each.shape for each in others]) for n, value in about.items()}
    if about.pop("dataset.fingerprint", None):
        about["data"] = content_in_words(records[0])
    return ", ".join(f"{name}={value}" for name, value in about.items())


def _inputs(record: Record) -> dict[str, Any]:
    """What was read, by its name and its digest, and the number format that `auto` came to."""
    names = dict.fromkeys(record.inputs, record.backbone) | record.parameters
    shown = {role: (str(names[role]), digest) for role, digest in record.inputs.items()}
    return shown | ({"precision": record.number_format} if "precision" in names else {})


def _shown(value: Any, name: str, shapes: Iterable[Mapping[str, Any]]) -> Any:
    """An input by its name, and by its digest where another one has the same name."""
    if not isinstance(value, tuple):
        return value
    others = {other for s in shapes if isinstance(other := s.get(f"parameters.{name}"), tuple)}
    alike = sum(other[0] == value[0] for other in others) > 1
    return f"{value[0]} ({value[1][:6]})" if alike else value[0]
