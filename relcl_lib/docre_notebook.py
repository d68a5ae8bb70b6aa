"""Parameters of ``docre_ii.ipynb``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from relcl_lib.docre_parameters import DocreParameters
from relcl_lib.notebook_folders import NotebookFolders
from relcl_lib.parameters import Parameters


class DocreNotebook(NotebookFolders, DocreParameters):
    """What ``docre_ii.ipynb`` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = DocreParameters
    profiles: ClassVar[dict[str, dict[str, Any]]] = DocreParameters.profiles

    alone_epochs: int = Field(6, ge=1, description="of the inference module on stated facts alone")
