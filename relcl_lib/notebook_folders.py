"""Where a notebook writes its records, figures and checkpoints."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from relcl_lib.files import repository_root
from relcl_lib.parameters import Parameters

#: Quick runs stay out of the committed records and figures. They keep no checkpoints: they are over
#: in seconds, and always show the present code.
QUICK = {"results": "runs/results", "figures": "figures/quick", "work_dir": None}
OTHER = {"results": "data/results", "figures": "figures", "work_dir": "runs/checkpoints"}


class NotebookFolders(Parameters):
    """The folders that a notebook takes as parameters, beside those of its runs."""

    results: str | None = Field(None, description="folder of the records")
    figures: str | None = Field(None, description="folder of the figures")
    work_dir: str | None = Field(None, description="folder of the checkpoints")

    def folder(self, kind: str) -> Path | None:
        """Return where ``results``, ``figures`` or ``work_dir`` lie; None: nothing is written."""
        chosen = getattr(self, kind) or (QUICK if self.profile == "quick" else OTHER)[kind]
        return None if chosen is None else repository_root() / chosen
