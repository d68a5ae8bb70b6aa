"""What the papers claim, and the verdict that our records give: supported, contradicted, or open.

A verdict is computed from paired differences over common seeds, see `relcl_lib.lab.claims`; beside
it stand its scale, the numbers, and where it is open the command that would test it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from relcl_lib.lab.claims import (
    counts,
    evidence,
    judge,
    markdown,
    read_claims,
    verdicts_of,
)
from relcl_lib.lab.files import existing_folder
from relcl_lib.lab.format import TableError
from relcl_lib.lab.records import Record
from relcl_lib.papers.registry import PAPERS

#: the block of README.md, and what the blocks of RESULTS.md begin with
COUNTS = "claims"


def claims_block(name: str, records: Iterable[Record], links: str = ".") -> str:
    """The text of the block `claims` (counts of all papers) or `claims/<paper>` (every verdict).

    Raises:
        TableError: there is no such block.
    """
    papers = list(PAPERS) if name == COUNTS else [name.removeprefix(f"{COUNTS}/")]
    if not set(papers) <= set(PAPERS):
        known = ", ".join([COUNTS, *(f"{COUNTS}/{paper}" for paper in PAPERS)])
        raise TableError(f"no block is named {name!r}; there are: {known}")
    records = list(records)
    found = {
        paper: judge(read_claims(paper), [r for r in records if r.paper == paper])
        for paper in papers
    }
    if name == COUNTS:
        return counts({PAPERS[paper].title: verdicts for paper, verdicts in found.items()})
    return markdown(found[papers[0]], links=links, anchors=papers[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the verdicts."""
    line = argparse.ArgumentParser(prog="python -m relcl_lib claims", description=__doc__)
    line.add_argument("paper", nargs="?", choices=sorted(PAPERS), help="only this paper's")
    line.add_argument(
        "--results", type=existing_folder, help="folder of the records (data/results)"
    )
    options = line.parse_args(arguments)
    papers = [options.paper] if options.paper else list(PAPERS)
    found = {PAPERS[paper].title: verdicts_of(paper, options.results) for paper in papers}
    for title, verdicts in found.items():
        print(f"{title}\n")
        for verdict in verdicts:
            where = f" ({verdict.where})" if verdict.scale else ""
            print(f"{verdict.verdict}{where}: {verdict.claim.text} [{verdict.claim.place}]")
            print("".join(f"    {text}\n" for text in evidence(verdict)))
    print(counts(found))
    return 0
