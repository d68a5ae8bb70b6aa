"""Parameters of ``crecl.ipynb``."""

from __future__ import annotations

from typing import Any

from relcl_lib.crecl_parameters import CreclParameters
from relcl_lib.notebook_folders import NotebookFolders


class CreclNotebook(NotebookFolders, CreclParameters):
    """What ``crecl.ipynb`` takes: a run's parameters, and where the notebook writes."""

    def run(self, method: str, **changes: Any) -> CreclParameters:
        """Return the parameters of one run: this notebook's, with ``method`` and ``changes``."""
        values = self.model_dump(include=set(CreclParameters.model_fields), exclude_none=True)
        return CreclParameters.create({**values, "method": method, **changes})
