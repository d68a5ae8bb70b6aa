"""How far a run of online replay is, for `LiveCurve`."""

from __future__ import annotations

from typing import Any

from relcl_lib.lab.live import Progress
from relcl_lib.lab.metrics import average_accuracy
from relcl_lib.lab.plots import plot_accuracy_curves


def progress(run: Any) -> Progress:
    """How far a `ReplayRun` is: accuracy on the classes seen, after each task."""
    done, tasks, method = run.tasks_done, len(run.streams[0]), run.settings.method
    curve = 100 * average_accuracy(run.accuracy)[:, :done]  # (S, done)
    mean = f"accuracy {curve[:, -1].mean():.1f} (mean of {len(run.seeds)} seeds)"
    line = f"{method}: task {done}/{tasks}, {mean}"
    return Progress(done, tasks, line, lambda axes: plot_accuracy_curves({method: curve}, axes))
