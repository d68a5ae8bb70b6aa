"""Ours beside theirs: what the papers print, joined with our result records.

Notebooks and the README show numbers only through this module. ``python -m relcl_lib.tables``
prints every comparison for which there are records, ``--update-readme README.md`` fills the blocks
``<!-- table:NAME -->...<!-- /table:NAME -->``, ``--check`` fails if they are stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relcl_lib.lab.files import atomic_write_text, repository_root
from relcl_lib.lab.format import (
    NOT_RUN,
    TableError,
    format_markdown,
    format_text,
    marker_names,
    replace_between_markers,
    slug,
)
from relcl_lib.lab.metrics import confidence_interval
from relcl_lib.lab.records import Record, RecordError, canonical_json, configuration, read_records
from relcl_lib.lab.rows import (
    PAPER_COLUMNS,
    TITLES,
    Row,
    hpcr_rows,
    paper_rows,
    parse_setting,
    read_paper_table,
    rows_without_paper,
    summary_rows,
)

__all__ = [
    "Row",
    "TableError",
    "compare",
    "comparison",
    "comparison_names",
    "format_markdown",
    "format_text",
    "hpcr_rows",
    "main",
    "paper_rows",
    "parse_setting",
    "read_paper_table",
    "replace_between_markers",
    "rows_without_paper",
    "update_readme",
]

OTHER = "other"
ONLY_RUN = "run"
SUMMARY_TABLE = "summary"
NO_RECORDS = "No run recorded yet."
COMPARE_COLUMNS = (
    *("table", "dataset", "setting", "method", "metric", "paper", "paper_pm"),
    *("ours", "ours_pm", "n", "difference", "protocol", "variant", "configuration"),
    "digits",
)


# --- the join --------------------------------------------------------------------------------


def compare(
    paper: str, rows: Iterable[Row], records: Iterable[Record], *, only_run: bool = False
) -> pd.DataFrame:
    """Put our mean over seeds beside each number of a paper.

    Records are averaged only if they differ in nothing but the seed. Where several configurations
    correspond to one row (protocols, variants, backbones, parameters), each has a line of its own,
    and ``configuration`` says what sets it apart.

    Args:
        paper: whose table file and records to use.
        rows: what to compare.
        records: any records, failed ones too; those of other papers are left out.
        only_run: leave out rows without a record.

    Returns:
        Columns ``COMPARE_COLUMNS``: paper and ours in per cent (with the row's ``paper_scale``),
        the ± of ours a 95 % half width over n seeds (NaN for n < 2), difference = ours - paper;
        NaN where there is no number. ``protocol`` is ``not run`` where there is no record, and
        ``failed`` where all of them failed; ``digits`` is how many decimals the row shows.
    """
    keys = list(PAPER_COLUMNS[:5])
    printed = read_paper_table(paper).set_index(keys)[["value", "std"]]
    entries = {
        key: tuple(values) for key, values in zip(printed.index, printed.values, strict=True)
    }
    ours = [record for record in records if record.paper == paper]
    lines = []
    for row in rows:
        identity = (row.table, row.dataset, row.setting, row.method, row.metric)
        value, pm = entries.get(identity, (np.nan, np.nan))
        theirs = (*identity[:4], row.our_metric, value * row.paper_scale, pm * row.paper_scale)
        matching = [record for record in ours if row.matches(record)]
        finished = [record for record in matching if not record.failed]
        if not finished and not (only_run and not matching):
            status = "failed" if matching else NOT_RUN
            lines.append((*theirs, np.nan, np.nan, 0, np.nan, status, "", "", row.digits))
        for label, group in _groups(finished):
            values = [record.metrics[row.our_metric] for record in group]
            mean, half = confidence_interval(values)
            outcome = (mean, half, len(values), mean - theirs[5])
            kind = (group[0].protocol, group[0].variant, label)
            lines.append((*theirs, *outcome, *kind, row.digits))
    return pd.DataFrame(lines, columns=list(COMPARE_COLUMNS))


def _groups(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """Group by configuration without the seed; the labels say what sets the groups apart."""
    groups: dict[str, list[Record]] = {}
    shapes: dict[str, dict[str, Any]] = {}
    for record in records:
        shape = configuration(record)
        del shape["seed"]
        for kind in ("parameters", "dataset"):
            shape |= {f"{kind}.{name}": value for name, value in shape.pop(kind).items()}
        key = canonical_json(shape)
        shapes[key] = shape
        groups.setdefault(key, []).append(record)
    for group in groups.values():
        seeds = [record.seed for record in group]
        if len(set(seeds)) < len(seeds):
            first = group[0]
            raise TableError(
                f"two records of {first.paper}/{first.experiment}, {first.method}, have the same "
                f"configuration and seed (seeds {sorted(seeds)}); delete one"
            )
    # Protocol and variant have columns of their own.
    names = sorted({name for shape in shapes.values() for name in shape} - {"protocol", "variant"})
    varied = [n for n in names if len({canonical_json(s.get(n)) for s in shapes.values()}) > 1]
    return [
        (
            ", ".join(f"{n.removeprefix('parameters.')}={shapes[key].get(n, '-')}" for n in varied),
            groups[key],
        )
        for key in sorted(groups)
    ]


# --- named comparisons -----------------------------------------------------------------------


def _parts(row: Row) -> tuple[str, str, str]:
    return slug(row.table), slug(row.dataset), slug(parse_setting(row.setting).get("buffer", ""))


def _words(row: Row) -> set[str]:
    return {slug(name) for name, value in parse_setting(row.setting).items() if value is True}


def comparison(name: str, records: Iterable[Record]) -> pd.DataFrame:
    """Return the comparison of a name: ``paper[/table[/dataset[/buffer size or word]]][/run]``.

    Or ``summary``: some rows of every paper.

    E.g. ``hpcr/table-iii/split-cifar10/200``, which includes rows without a memory, or
    ``crecl/table-1/fewrel/t10``, the rows whose setting has this word. Less of the name means more
    rows. ``<paper>/other`` holds what was run but stands in no table. A final ``/run`` leaves out
    rows that were not run.

    Raises:
        TableError: the paper is unknown or no row has such a name.
    """
    if name == SUMMARY_TABLE:
        return summary(records)
    paper, *wanted = name.split("/")
    only_run = wanted[-1:] == [ONLY_RUN]
    wanted = wanted[:-1] if only_run else wanted
    ours = [record for record in records if record.paper == paper]
    rows = paper_rows(paper)
    if wanted == [OTHER]:
        return compare(paper, rows_without_paper(ours, rows), ours)
    chosen = [row for row in rows if _within(_parts(row), _words(row), wanted)]
    if not chosen:
        raise TableError(
            f"no comparison is named {name!r}; names look like hpcr/table-iii/split-cifar10/200"
        )
    return compare(paper, chosen, ours, only_run=only_run)


def summary(records: Iterable[Record]) -> pd.DataFrame:
    """Return a few lines of every paper: of each row the configuration with the most seeds."""
    records, frames = list(records), []
    for paper, title in TITLES.items():
        frame = compare(paper, summary_rows(paper), records, only_run=True)
        frame["table"] = [f"{title}, {table}" for table in frame["table"]]
        frames.append(frame.assign(configuration=""))
    lines = pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)
    fewest_last = lines.sort_values("n", ascending=False, kind="stable")
    row = list(COMPARE_COLUMNS[:5])
    return fewest_last.drop_duplicates(row).sort_index().reset_index(drop=True)


def _within(parts: tuple[str, str, str], words: set[str], wanted: Sequence[str]) -> bool:
    if len(wanted) > 3 or list(parts[:2])[: len(wanted)] != list(wanted[:2]):
        return False
    return len(wanted) < 3 or parts[2] in (wanted[2], "none") or wanted[2] in words


def comparison_names(records: Iterable[Record]) -> list[str]:
    """Return the names of the narrowest comparisons for which there is a record, failed or not."""
    records = list(records)
    names: dict[str, None] = {}
    for paper in sorted({record.paper for record in records}):
        ours = [record for record in records if record.paper == paper]
        rows = paper_rows(paper)
        found = [_parts(row) for row in rows if any(row.matches(record) for record in ours)]
        with_memory = {(table, dataset) for table, dataset, buffer in found if buffer != "none"}
        for table, dataset, buffer in found:
            # Rows without a memory stand in every comparison of their table and data set.
            if buffer != "none" or (table, dataset) not in with_memory:
                names["/".join(filter(None, (paper, table, dataset, buffer)))] = None
        if rows_without_paper(ours, rows):
            names[f"{paper}/{OTHER}"] = None
    return list(names)


# --- README and command line -----------------------------------------------------------------


def update_readme(path: Path, records: Iterable[Record], *, check: bool = False) -> list[str]:
    """Fill the marker blocks of a text file from records.

    Args:
        path: the file, UTF-8.
        records: all records, failed ones too.
        check: change nothing, only look.

    Returns:
        The names of the blocks that were stale.
    """
    records = list(records)
    old = text = path.read_bytes().decode("utf-8")
    stale = []
    for name in marker_names(old):
        before = text
        frame = comparison(name, records)
        shown = format_markdown(frame) if len(frame) else NO_RECORDS
        text = replace_between_markers(text, name, shown)
        if text != before:
            stale.append(name)
    if stale and not check:
        atomic_write_text(path, text)
    return stale


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 for a stale README, 2 for an error."""
    parser = argparse.ArgumentParser(prog="python -m relcl_lib.tables", description=__doc__)
    parser.add_argument("--results", type=Path, help="folder of the records (data/results)")
    parser.add_argument("--paper", help="only this paper's records")
    parser.add_argument("--update-readme", type=Path, metavar="FILE", help="fill its table blocks")
    parser.add_argument("--check", action="store_true", help="only report stale blocks, exit 1")
    options = parser.parse_args(arguments)
    if options.paper and (options.update_readme or options.check):
        parser.error("--paper would turn the other papers' numbers in the file into 'not run'")
    readme = options.update_readme
    if options.check and readme is None:
        readme = repository_root() / "README.md"
    try:
        records = read_records(options.results, paper=options.paper, include_failed=True)
        if readme is not None:
            stale = update_readme(readme, records, check=options.check)
            print(f"{readme}: {'stale' if options.check else 'updated'}: {', '.join(stale) or '-'}")
            return 1 if options.check and stale else 0
        names = comparison_names(records)
        for name in names:
            print(f"{name}\n\n{format_text(comparison(name, records))}\n")
        if not names:
            print("no records yet: run a notebook or a sweep first")
    except (OSError, RecordError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
