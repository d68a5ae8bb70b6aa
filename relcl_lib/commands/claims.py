"""What the papers claim, and the verdict that our records give: supported, contradicted, or open.

A verdict is computed from paired differences over common seeds, see `relcl_lib.lab.claims`; beside
it stand its scale, the numbers, and where it is open the command that would test it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from relcl_lib.lab.claims import (
    COUNTED,
    Verdict,
    counted,
    counts,
    evidence,
    markdown,
    total,
    total_of,
    verdicts_of,
)
from relcl_lib.lab.command_line import parse
from relcl_lib.lab.files import existing_folder
from relcl_lib.lab.format import TableError, markdown_table
from relcl_lib.lab.records import Record, read_records
from relcl_lib.papers.registry import PAPERS

#: the block of README.md, and what the blocks of RESULTS.md begin with
COUNTS = "claims"


def claims_block(name: str, records: Iterable[Record]) -> str:
    """The text of the block `claims` (counts of all papers) or `claims/<paper>` (every verdict).

    Raises:
        TableError: there is no such block.
    """
    if name == COUNTS:
        return counts({PAPERS[paper].title: each for paper, each in _judged(records).items()})
    paper = name.removeprefix(f"{COUNTS}/")
    if paper not in PAPERS:
        known = ", ".join([COUNTS, *(f"{COUNTS}/{paper}" for paper in PAPERS)])
        raise TableError(f"no block is named {name!r}; there are: {known}")
    return markdown(_judged(records)[paper], page=paper)


def papers_block(records: Iterable[Record]) -> str:
    """README's table of the papers: what each is about, its lesson, and what became of its claims."""
    header = ("Paper", "Task", "Lesson", *COUNTED[1:4], "Open")
    of_papers, rows = counted(_judged(records)), []
    for (name, paper), row in zip(PAPERS.items(), of_papers, strict=True):
        lesson = f"[{name}](notebooks/{name}.ipynb), {paper.seconds} s"
        cited = f"[{paper.title}]({paper.link}), {paper.about}"
        claims = f"[{row[1]}](RESULTS.md#claims-{name})"
        rows.append((cited, paper.task, lesson, claims, *row[2:4], total_of(row[4:])))
    sums = total(of_papers)
    rows.append(("all", "", "", *sums[1:4], total_of(sums[4:])))
    return markdown_table(header, rows)


def _judged(records: Iterable[Record]) -> dict[str, list[Verdict]]:
    records = list(records)
    return {paper: verdicts_of(paper, records) for paper in PAPERS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the verdicts."""
    line = argparse.ArgumentParser(prog="python -m relcl_lib claims", description=__doc__)
    line.add_argument("paper", nargs="?", choices=sorted(PAPERS), help="only this paper's")
    line.add_argument(
        "--results", type=existing_folder, help="folder of the records (data/results)"
    )
    options = parse(line, arguments)
    papers = [options.paper] if options.paper else list(PAPERS)
    records = read_records(options.results, paper=options.paper)
    found = {PAPERS[paper].title: verdicts_of(paper, records) for paper in papers}
    for title, verdicts in found.items():
        print(f"{title}\n")
        for verdict in verdicts:
            where = f" ({verdict.where})" if verdict.scale else ""
            print(f"{verdict.verdict}{where}: {verdict.claim.text} [{verdict.claim.place}]")
            print("".join(f"    {text}\n" for text in evidence(verdict)))
    print(counts(found))
    return 0
