"""Parameters of ``crecl.ipynb``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from relcl_lib.crecl_parameters import CreclParameters
from relcl_lib.notebook_folders import NotebookFolders
from relcl_lib.parameters import Parameters


class CreclNotebook(NotebookFolders, CreclParameters):
    """What ``crecl.ipynb`` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = CreclParameters

    n_tasks: int | None = Field(None, ge=2, description="tasks; the lesson compares two of them")
