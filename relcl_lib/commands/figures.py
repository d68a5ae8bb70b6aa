"""Draw the committed figures from the committed records, by functions the notebooks call too."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from relcl_lib.lab.files import repository_root
from relcl_lib.papers.registry import PAPERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from relcl_lib.lab.records import Record


def all_figures() -> dict[str, Callable[[Sequence[Record]], Figure]]:
    """File name -> function of the records, of every paper that has a `figures.py`."""
    found: dict[str, Callable[[Sequence[Record]], Figure]] = {}
    for name, paper in PAPERS.items():
        if importlib.util.find_spec(f"relcl_lib.papers.{name}.figures"):
            found |= paper.module("figures").FIGURES
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every committed figure; return 0."""
    line = argparse.ArgumentParser(prog="python -m relcl_lib figures", description=__doc__)
    line.add_argument("--out", default=str(repository_root() / "figures"), help="folder")
    out = line.parse_args(arguments).out
    import matplotlib.pyplot as plt

    from relcl_lib.lab import plots
    from relcl_lib.lab.records import read_records

    plt.switch_backend("agg")
    plots.use_house_style()
    records = read_records()
    for name, draw in all_figures().items():
        plots.save_figure(draw(records), name, out)
        print(f"{out}/{name}.png")
    return 0
