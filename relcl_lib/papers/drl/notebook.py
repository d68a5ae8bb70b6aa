"""Parameters of ``drl.ipynb``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from relcl_lib.lab.notebook import Notebook, Profiles, with_quick
from relcl_lib.lab.parameters import Parameters
from relcl_lib.papers.drl.parameters import DrlParameters
from relcl_lib.papers.drl.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd

    from relcl_lib.lab.records import Record

#: track -> its table of the sweep
TRACK_TABLES = {"NI": "table1", "Multi-Task-NC": "table2", "NIC": "table3"}


#: what the paper's tables report -> decimals shown
REPORTED = {"test_acc": 1, "avg_valid_acc": 1, "ram_mb": 0, "time_min": 3}


def summary(records: Mapping[str, Mapping[str, Sequence[Record]]]) -> pd.DataFrame:
    """Return what the paper's tables report of each strategy, the mean of n seeds.

    Args:
        records: strategy -> with or without the loss -> records, one a seed.
    """
    import pandas as pd

    rows = {
        (name, series): {
            **pd.DataFrame([record.metrics for record in each]).mean()[list(REPORTED)],
            "n": len(each),
        }
        for name, found in records.items()
        for series, each in found.items()
    }
    return pd.DataFrame(rows).T.round(REPORTED).astype({"n": int})


class DrlNotebook(Notebook, DrlParameters):
    """What ``drl.ipynb`` takes: a run's parameters, and where the notebook writes.

    The small network of its quick profile has short representations, so the loss needs a larger
    weight than the tables' to do anything.
    """

    runs: ClassVar[type[Parameters]] = DrlParameters
    profiles: ClassVar[Profiles] = with_quick(DrlParameters, drl_weight=1e-2, seeds=[0, 1, 2])

    def table_run(self, track: str, method: str, *, loss: bool, **changes: Any) -> DrlParameters:
        """Return the run of a cell that the sweep has of a track's table.

        What the notebook was given (a memory size, say) goes before the cell's settings; its
        ``drl_weight`` is that of the cells with the loss.

        Args:
            track: a key of ``TRACK_TABLES``.
            method: a row.
            loss: with the discriminative loss or without.
            **changes: further parameters; ``er`` chooses between cells.
        """
        cells = [
            cell
            for cell in TABLES[TRACK_TABLES[track]].runs(self.dataset)
            if cell["method"] == method
            and (cell["drl_weight"] > 0) == loss
            and cell.get("er") == changes.get("er", cell.get("er"))
        ]
        given = self.model_dump(include=set(cells[0]), exclude_none=True)
        weight = (self.drl_weight or cells[0]["drl_weight"]) if loss else 0.0
        own = {"track": track, "method": method, "drl_weight": weight}
        return self.run(**{**cells[0], **given, **own, **changes})
