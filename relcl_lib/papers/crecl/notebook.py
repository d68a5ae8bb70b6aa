"""Parameters of ``crecl.ipynb``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from relcl_lib.lab.notebook import NotebookFolders
from relcl_lib.lab.parameters import Parameters
from relcl_lib.papers.crecl.parameters import CreclParameters


class CreclNotebook(NotebookFolders, CreclParameters):
    """What ``crecl.ipynb`` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = CreclParameters

    n_tasks: int | None = Field(None, ge=2, description="tasks; the lesson compares two of them")
