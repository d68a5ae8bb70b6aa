"""Parameters of ``docre_ii.ipynb``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from relcl_lib.lab.notebook import NotebookFolders
from relcl_lib.lab.parameters import Parameters
from relcl_lib.papers.docre_ii.parameters import DocreParameters


class DocreNotebook(NotebookFolders, DocreParameters):
    """What ``docre_ii.ipynb`` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = DocreParameters
    profiles: ClassVar[dict[str, dict[str, Any]]] = DocreParameters.profiles

    alone_epochs: int = Field(6, ge=1, description="of the inference module on stated facts alone")
