"""Ours beside theirs: print every comparison for which there are records.

`--update FILE` fills a file's blocks `<!-- table:NAME -->...<!-- /table:NAME -->` from the records;
`--check` changes nothing and fails if they are stale (those of README.md and RESULTS.md, if no file
is given). A name is `paper[/table[/dataset[/memory size or word]]][/run]`, `results/paper` (all tables
of a paper that have a record, each with an anchor), `summary`, `papers` (each with the counts of its
verdicts), `claims` (these alone) or `claims/paper`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relcl_lib.commands.blocks import blocks
from relcl_lib.commands.claims import COUNTS, claims_block, papers_block
from relcl_lib.data.text_files import not_utf8
from relcl_lib.lab import words
from relcl_lib.lab.claims import SCALES
from relcl_lib.lab.command_line import parse, place
from relcl_lib.lab.compare import compare, nearest
from relcl_lib.lab.files import atomic_write_text, existing_folder, repository_root
from relcl_lib.lab.format import (
    TableError,
    difference,
    format_markdown,
    format_text,
    legend_of,
    markdown_table,
    number,
    slug,
)
from relcl_lib.lab.metrics import LEAST_SEEDS
from relcl_lib.lab.records import Record, read_records
from relcl_lib.lab.rows import Row, parse_setting, rows_without_paper
from relcl_lib.papers.registry import PAPERS

if TYPE_CHECKING:
    import pandas as pd

OTHER = "other"
ONLY_RUN = "run"
SUMMARY = "summary"
RESULTS = "results"
PAPERS_BLOCK = "papers"
NO_RECORDS = "No run recorded yet."
#: files whose blocks are kept fresh
FILLED = ("README.md", "RESULTS.md")


def paper_rows(paper: str) -> list[Row]:
    """The rows of all tables of a paper; [] of an unknown one."""
    return PAPERS[paper].tables.rows() if paper in PAPERS else []


def comparison(name: str, records: Iterable[Record]) -> pd.DataFrame:
    """The comparison of a name: `paper[/table[/dataset[/memory size or word]]][/run]` or `summary`.

    E.g. `hpcr/table-iii/split-cifar10/200`, which includes rows without a memory, or
    `crecl/table-1/fewrel/t10`, the rows whose setting has this word. Less of the name means more
    rows. `<paper>/other` holds what was run but stands in no table. A final `/run` leaves out
    rows that were not run.

    Raises:
        TableError: the paper is unknown or no row has such a name.
    """
    if name == SUMMARY:
        return summary(records)
    paper, *wanted = name.split("/")
    only_run = wanted[-1:] == [ONLY_RUN]
    wanted = wanted[:-1] if only_run else wanted
    ours = [record for record in records if record.paper == paper]
    rows = paper_rows(paper)
    if wanted == [OTHER]:
        return compare(paper, rows_without_paper(ours, rows), ours)
    chosen = [row for row in rows if _within(row, wanted)]
    if not chosen:
        raise TableError(
            f"no comparison is named {name!r}; names look like hpcr/table-iii/split-cifar10/200"
        )
    return compare(paper, chosen, ours, only_run=only_run)


def _parts(row: Row) -> tuple[str, str, str]:
    """Table, data set and memory size ("" without) as they stand in a comparison's name."""
    return slug(row.table), slug(row.dataset), slug(parse_setting(row.setting).get("buffer", ""))


def _within(row: Row, wanted: Sequence[str]) -> bool:
    """Whether `wanted` (table, data set, memory size or word; or less) names the row."""
    *place, memory = _parts(row)
    if len(wanted) > 3 or place[: len(wanted)] != list(wanted[:2]):
        return False
    words = {slug(name) for name, value in parse_setting(row.setting).items() if value is True}
    return len(wanted) < 3 or memory in (wanted[2], "none") or wanted[2] in words


def summary(records: Iterable[Record]) -> pd.DataFrame:
    """A few lines of every paper: of each row the configuration nearest to the paper's."""
    import pandas as pd  # late, as in `compare`: the help needs none

    records, frames = list(records), []
    for name, paper in PAPERS.items():
        named = {
            (row.table, row.dataset, row.setting, row.method, row.our_metric): row
            for row in paper_rows(name)
        }
        # What stands after the fields of a row narrows the choice of its records.
        rows = [replace(named[row[:5]], **dict(row[5:])) for row in paper.tables.SUMMARY]
        frame = nearest(compare(name, rows, records, only_run=True))
        frame["table"] = [f"{paper.title}, {table}" for table in frame["table"]]
        told = {parameter for row in rows for parameter in row.told}
        kept = [_only(told, configuration) for configuration in frame["configuration"]]
        frames.append(frame.assign(configuration=kept, anchor=f"{name}-"))
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def _only(told: Container[str], configuration: str) -> str:
    parts = words.settings(configuration, ", ")
    return ", ".join(part for part in parts if part.partition("=")[0] in told)


def summary_block(records: Iterable[Record]) -> str:
    """The summary as a table: its rows have no metric in common, so each line names its own."""
    lines = summary(records)
    header = ("Table", "Data", "Method", "Metric", "Paper", "Ours", "Difference", "n", "Protocol")
    cells = []
    for line in lines.to_dict("records"):
        parts = [part for part in words.settings(line["setting"]) if "=" in part]
        parts += words.settings(line["configuration"], ", ")
        about = ", ".join(map(words.phrase, parts))
        anchor = line["anchor"] + slug(line["table"].partition(", ")[2])
        digits = line["digits"]
        cells.append(
            (
                f"[{line['table']}](RESULTS.md#{anchor})",
                words.name(line["dataset"]) + (f", {about}" if about else ""),
                words.name(line["method"]),
                words.column(line["metric"]),
                number(line["paper"], line["paper_pm"], digits),
                number(line["ours"], line["ours_pm"], digits),
                difference(line),
                str(line["n"]),
                line["protocol"],
            )
        )
    return markdown_table(header, cells, right=("Paper", "Ours", "Difference", "n"))


def results_block(paper: str, records: Iterable[Record]) -> str:
    """All tables of a paper that have a record, under a heading with an anchor each."""
    if paper not in PAPERS:
        known = ", ".join(f"{RESULTS}/{name}" for name in PAPERS)
        raise TableError(f"no block is named {RESULTS}/{paper}; there are: {known}")
    frame = compare(paper, paper_rows(paper), records, only_run=True)
    texts = []
    for table, lines in frame.groupby("table", sort=False):
        about = words.table(paper, table)
        heading = f"### {PAPERS[paper].title}, {table}" + (f" ({about})" if about else "")
        anchor = f'<a id="{paper}-{slug(table)}"></a>'
        texts += [anchor, heading, format_markdown(lines, legend=False)]
        texts += filter(None, [misses(lines, PAPERS[paper].tables)])
    return "\n\n".join([*texts, legend_of(frame) or NO_RECORDS])


def misses(lines: pd.DataFrame, tables: Any) -> str:
    """Which numbers of the paper's protocol lie further from its own than `tables.FAR`, by the reason.

    `tables.MISSES` say what is known, by table, method and metric. Else too few seeds or chance may be
    why, which is computed, or it is an open question. `tables.HINTS` add what may be behind a number.
    "" where a paper sets no `FAR`.
    """
    far = getattr(tables, "FAR", math.inf)
    known, hints = getattr(tables, "MISSES", {}), getattr(tables, "HINTS", {})
    found: dict[str, dict[str, list[str]]] = {}  # reason -> metric -> numbers
    for line in lines[lines["protocol"] == SCALES[0]].to_dict("records"):
        if not abs(line["difference"]) > far:
            continue
        key = line["table"], line["method"], line["metric"]
        why = known.get(key, "open why")
        if why == "open why" and line["n"] < LEAST_SEEDS:
            why = "too few seeds to tell"
        elif why == "open why" and abs(line["difference"]) < line["ours_pm"]:
            why = "the paper's number lies within our interval"
        metric = words.without_unit(words.metric(line["metric"]))
        parts = [part for part in words.settings(line["setting"]) if not part.endswith("=none")]
        about = ", ".join([words.name(line["method"]), *map(words.phrase, parts)])
        told = "; ".join(filter(None, [difference(line), hints.get(key)]))
        found.setdefault(why, {}).setdefault(metric, []).append(f"{about} ({told})")
    metrics = {metric for numbers in found.values() for metric in numbers}
    shared = f" in {metrics.pop()}" if len(metrics) == 1 else ""
    bullets = []
    for why, by_metric in found.items():
        texts = [
            ("" if shared else f"*{metric}:* ") + "; ".join(numbers)
            for metric, numbers in by_metric.items()
        ]
        bullets.append(f"- **{why}:** {'<br>'.join(texts)}")
    title = f"Protocol *paper*, more than {far:g} points from the paper{shared}, and why"
    inside = "\n".join(bullets)
    return f"<details><summary>{title}</summary>\n\n{inside}\n\n</details>" if found else ""


def comparison_names(records: Iterable[Record]) -> list[str]:
    """The names of the narrowest comparisons for which there is a record, failed or not."""
    records = list(records)
    names: dict[str, None] = {}
    for paper in sorted({record.paper for record in records}):
        ours = [record for record in records if record.paper == paper]
        rows = paper_rows(paper)
        found = [_parts(row) for row in rows if any(map(row.matches, ours))]
        with_memory = {(table, dataset) for table, dataset, memory in found if memory != "none"}
        for table, dataset, memory in found:
            # Rows without a memory stand in every comparison of their table and data set.
            if memory != "none" or (table, dataset) not in with_memory:
                names["/".join(filter(None, (paper, table, dataset, memory)))] = None
        if rows_without_paper(ours, rows):
            names[f"{paper}/{OTHER}"] = None
    return list(names)


def update(path: Path, records: Iterable[Record], *, check: bool = False) -> list[str]:
    """Fill the marker blocks of a text file (UTF-8), with `check` only look.

    Returns:
        The names of the blocks that were stale.
    """
    records = list(records)
    content = path.read_bytes()
    try:
        old = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(path, content[:64]) from error
    pieces, stale, after = [], {}, 0
    for name, start, end in blocks(old):
        kind, _, paper = name.partition("/")
        if kind == COUNTS:
            shown = claims_block(name, records)
        elif kind == RESULTS:
            shown = results_block(paper, records)
        elif name == PAPERS_BLOCK:
            shown = papers_block(records)
        elif name == SUMMARY:
            shown = summary_block(records)
        else:
            frame = comparison(name, records)
            shown = format_markdown(frame) if len(frame) else NO_RECORDS
        filled = f"\n{shown.strip()}\n"
        if old[start:end] != filled:
            stale[name] = None
        pieces += [old[after:start], filled]
        after = end
    if stale and not check:
        atomic_write_text(path, "".join([*pieces, old[after:]]))
    return list(stale)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, or 1 for a stale file."""
    parser = argparse.ArgumentParser(prog="python -m relcl_lib tables", description=__doc__)
    parser.add_argument(
        "--results", type=existing_folder, help="folder of the records (data/results)"
    )
    parser.add_argument("--paper", choices=sorted(PAPERS), help="only this paper's records")
    parser.add_argument(
        "--update", "--update-readme", type=place, nargs="+", metavar="FILE", help="fill its blocks"
    )
    parser.add_argument("--check", action="store_true", help="only report stale blocks, exit 1")
    options = parse(parser, arguments)
    if options.paper and (options.update or options.check):
        parser.error("--paper would turn the other papers' numbers in the file into 'not run'")
    files = options.update or []
    if options.check and not files:
        files = [repository_root() / name for name in FILLED]
    records = read_records(options.results, paper=options.paper, include_failed=True)
    if files:
        return _fill(files, records, options.check)
    names = comparison_names(records)
    for name in names:
        print(f"{name}\n\n{format_text(comparison(name, records))}\n")
    if not names:
        print("no records yet: run a notebook or a sweep first")
    return 0


def _fill(files: Iterable[Path], records: Sequence[Record], check: bool) -> int:
    found = 0
    for path in files:
        stale = update(path, records, check=check)
        told = f"{'stale' if check else 'updated'}: {', '.join(stale)}" if stale else "up to date"
        print(f"{path}: {told}")
        found += len(stale)
    return int(check and found > 0)
