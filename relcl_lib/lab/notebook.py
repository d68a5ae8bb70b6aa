"""What every notebook takes beside the parameters of its runs: where it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from relcl_lib.lab.files import repository_root
from relcl_lib.lab.parameters import Parameters

#: Quick runs stay out of the committed records and figures. They keep no checkpoints: they are over
#: in seconds, and always show the present code.
QUICK = {"results": "runs/results", "figures": "figures/quick", "work_dir": None}
OTHER = {"results": "data/results", "figures": "figures", "work_dir": "runs/checkpoints"}


class NotebookFolders(Parameters):
    """The folders that a notebook takes as parameters, beside those of its runs.

    Attributes:
        runs: class of the parameters of one run; a notebook's own inherits from both.
    """

    runs: ClassVar[type[Parameters]]

    results: str | None = Field(None, description="folder of the records")
    figures: str | None = Field(None, description="folder of the figures")
    work_dir: str | None = Field(None, description="folder of the checkpoints")

    def run(self, method: str | None = None, **changes: Any) -> Any:
        """Return the parameters of one run: this notebook's, with ``method`` and ``changes``."""
        values = self.model_dump(include=set(self.runs.model_fields), exclude_none=True)
        chosen = {} if method is None else {"method": method}
        return self.runs.create({**values, **chosen, **changes})

    def folder(self, kind: str) -> Path | None:
        """Return where ``results``, ``figures`` or ``work_dir`` lie; None: nothing is written."""
        chosen = getattr(self, kind) or (QUICK if self.profile == "quick" else OTHER)[kind]
        return None if chosen is None else repository_root() / chosen
