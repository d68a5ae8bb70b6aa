"""Parameters of ``hpcr.ipynb``."""

from __future__ import annotations

from typing import ClassVar

from relcl_lib.notebook_folders import NotebookFolders
from relcl_lib.parameters import Parameters
from relcl_lib.replay_parameters import ReplayParameters


class HPCRNotebook(NotebookFolders, ReplayParameters):
    """What ``hpcr.ipynb`` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = ReplayParameters
