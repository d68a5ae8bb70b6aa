"""What every notebook takes beside the parameters of its runs: where it writes, and threads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from relcl_lib.lab.files import repository_root
from relcl_lib.lab.parameters import Parameters

if TYPE_CHECKING:
    import torch

#: Quick runs stay out of the committed records and figures. They keep no checkpoints: they are over
#: in seconds, and always show the present code.
QUICK = {"results": "runs/results", "figures": "figures/quick", "work_dir": None}
OTHER = {"results": "data/results", "figures": "figures", "work_dir": "runs/checkpoints"}

Profiles = dict[str, dict[str, Any]]


def with_quick(runs: type[Parameters], **changes: Any) -> Profiles:
    """The profiles of a run's parameters, with another `quick` one for the notebook."""
    return {**runs.profiles, "quick": {**runs.profiles["quick"], **changes}}


class Notebook(Parameters):
    """First base of a notebook's parameters; the second is the class of its runs' parameters.

    Attributes:
        runs: that class.
    """

    runs: ClassVar[type[Parameters]]

    results: str | None = Field(None, description="folder of the records")
    figures: str | None = Field(None, description="folder of the figures")
    work_dir: str | None = Field(None, description="folder of the checkpoints")
    threads: int | None = Field(None, ge=1, description="of torch on a CPU; None: one if quick")

    def run(self, method: str | None = None, **changes: Any) -> Any:
        """The parameters of one run: this notebook's, with `method` and `changes`."""
        values = self.model_dump(include=set(self.runs.model_fields), exclude_none=True)
        chosen = {} if method is None else {"method": method}
        return self.runs.create({**values, **chosen, **changes})

    def folder(self, kind: str) -> Path | None:
        """Where `results`, `figures` or `work_dir` lie; None: nothing is written."""
        chosen = getattr(self, kind) or (QUICK if self.profile == "quick" else OTHER)[kind]
        return None if chosen is None else repository_root() / chosen

    def start(self) -> torch.device:
        """Resolve the device; on a CPU set torch's number of threads for this process.

        A quick run takes one: on tensors this small a second gains nothing, and two that wait for
        each other beside other work can stand still.
        """
        import torch

        from relcl_lib.lab.runtime import resolve_device

        device = resolve_device(self.device)
        threads = self.threads or (1 if self.profile == "quick" else None)
        if device.type == "cpu" and threads:
            torch.set_num_threads(threads)
        return device
