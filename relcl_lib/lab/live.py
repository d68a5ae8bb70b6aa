"""A run's curve while it goes on: redrawn for a person who watches, lines of text otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from relcl_lib.lab.plots import WIDTH
from relcl_lib.lab.runtime import is_watched


class Progress(NamedTuple):
    """How far a run is; `progress(run)` in the plots of each paper returns one."""

    done: int  # of `total` tasks, experiences or epochs
    total: int
    line: str | None  # what is printed, if anything
    draw: Callable[[Axes], Any]  # draws the curve so far
    due: bool = False  # shown although `every` would skip it


#: seconds within a task, experience or epoch after which a line says at which step it is
QUIET = 30.0


class LiveCurve:
    """Shows a run while it goes on: `run.train(curve.update, curve.step)`.

    A picture takes longer than many a quick experience: between two, ten times as long is trained.

    Args:
        name: of the notebook; printed lines begin with it.
        progress: run -> `Progress`, of the run's paper.
        every: tasks, experiences or epochs from one line, and picture, to the next.
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
        self.rests_until = 0.0
        self.quiet_since = time.monotonic()

    def update(self, run: Any) -> None:
        """Show the state of a run that has just finished a task, experience or epoch."""
        self.quiet_since = time.monotonic()
        now = self.progress(run)
        if now.done % self.every and not now.due:
            return
        began = time.monotonic()
        if is_watched() and (began >= self.rests_until or now.done == now.total):
            self._redraw(now)
            ended = time.monotonic()
            self.rests_until = ended + 10 * (ended - began)
        if now.line is not None:  # below the picture, as all lines after it
            self.say(f"[{self.name}] {now.line}")

    def step(self, run: Any, step: int, steps: int, part: str = "") -> None:
        """Say where in a long task, experience or epoch a run is: nothing before `QUIET` seconds of it.

        Args:
            run: what is trained.
            step: steps done of the unit, or of a part of it.
            steps: how many it has.
            part: its name.
        """
        if time.monotonic() - self.quiet_since < QUIET:
            return
        self.quiet_since = time.monotonic()
        who = run.settings.method + ("" if run.side_by_side else f", seed {run.seed}")
        unit = f"{run.counter.removesuffix('s_done')} {run.done + 1}/{run.total}"
        places = filter(None, (unit, part, f"step {step} of {steps}"))
        self.say(f"[{self.name}] {who}: {', '.join(places)}")

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
