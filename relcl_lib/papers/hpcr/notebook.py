"""Parameters of ``hpcr.ipynb``."""

from __future__ import annotations

from typing import ClassVar

from relcl_lib.lab.notebook import NotebookFolders
from relcl_lib.lab.parameters import Parameters
from relcl_lib.papers.hpcr.parameters import ReplayParameters


class HPCRNotebook(NotebookFolders, ReplayParameters):
    """What ``hpcr.ipynb`` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = ReplayParameters
