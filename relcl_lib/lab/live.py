"""A run's curve while it goes on: redrawn for a person who watches, lines of text otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from relcl_lib.lab.plots import WIDTH
from relcl_lib.lab.runtime import is_watched


class Progress(NamedTuple):
    """How far a run is, as `progress` of its paper's `plots` tells it."""

    done: int  # of `total` tasks, experiences or epochs
    total: int
    line: str | None  # to print; None prints nothing
    draw: Callable[[Axes], Any]  # draws the curve so far
    due: bool = False  # shown however many steps a line stands for


class LiveCurve:
    """A run's curve so far. Pass `LiveCurve(name, progress).update` to what the run calls its steps.

    Args:
        name: of the notebook, which its lines begin with.
        progress: run -> `Progress`, of the run's paper.
        every: steps per line and picture.
        say: prints a line.
    """

    def __init__(
        self,
        name: str,
        progress: Callable[[Any], Progress],
        every: int = 1,
        say: Callable[[str], None] = print,
    ) -> None:
        self.name, self.progress, self.every, self.say = name, progress, every, say
        self.handle: Any = None

    def update(self, run: Any) -> None:
        """Show a run between two of its steps."""
        now = self.progress(run)
        if now.done % self.every and not now.due:
            return
        if now.line is not None:
            self.say(f"[{self.name}] {now.line}")
        if is_watched():
            self._redraw(now)

    def _redraw(self, now: Progress) -> None:
        from IPython.display import display

        figure, axes = plt.subplots(figsize=(WIDTH, 2.2))
        now.draw(axes)
        axes.set_xlim(0.8, now.total + 0.2)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        plt.close(figure)
