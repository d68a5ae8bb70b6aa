"""Parameters of ``fastre.ipynb``."""

from __future__ import annotations

from typing import Any, ClassVar

from relcl_lib.lab.notebook import NotebookFolders
from relcl_lib.lab.parameters import Parameters
from relcl_lib.papers.fastre.parameters import FastreParameters


class FastreNotebook(NotebookFolders, FastreParameters):
    """What ``fastre.ipynb`` takes: a run's parameters, and where the notebook writes.

    Its quick profile trains a dozen networks, so they have half the paper's width and few epochs.
    """

    runs: ClassVar[type[Parameters]] = FastreParameters
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        **FastreParameters.profiles,
        "quick": {
            **FastreParameters.profiles["quick"],
            "hidden": 64,
            "type_size": 32,
            "epochs": 6,
            "learning_rate": 8e-3,
            "seeds": [0],
        },
    }

    def run(self, method: str, **changes: Any) -> FastreParameters:
        """Return the parameters of one run: this notebook's, with ``method`` and ``changes``.

        The encoder goes to CasRel only, which the other methods have nothing to do with.
        """
        if method != "CasRel":
            changes = {"encoder": None, **changes}
        return super().run(method, **changes)
