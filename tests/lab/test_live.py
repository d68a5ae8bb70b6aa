import types

import IPython.display
from drawn import lines, only_drawn  # noqa: F401

from relcl_lib.lab import live
from relcl_lib.lab.live import LiveCurve, Progress


def progress(run):
    values = range(run.done)
    line = None if run.done == 3 else f"step {run.done}"
    return Progress(run.done, 8, line, lambda axes: axes.plot(values, label="a"), run.done == 5)


def shown(every, steps=(1, 2, 3, 4, 5, 8)):
    """What a run of such steps has LiveCurve say."""
    said = []
    curve = LiveCurve("drl", progress, every, said.append)
    for done in steps:
        curve.update(types.SimpleNamespace(done=done))
    return said


def test_a_line_per_step_or_fewer_and_what_is_due(monkeypatch):
    monkeypatch.setattr(live, "is_watched", lambda: False)
    monkeypatch.setattr(IPython.display, "display", None)  # nobody sees a figure
    assert shown(1) == [f"[drl] step {done}" for done in (1, 2, 4, 5, 8)]
    assert shown(4) == [f"[drl] step {done}" for done in (4, 5, 8)]


def test_a_person_sees_one_figure_that_is_redrawn(monkeypatch):
    figures, redrawn = [], []
    handle = types.SimpleNamespace(update=redrawn.append)
    monkeypatch.setattr(live, "is_watched", lambda: True)
    show = lambda figure, display_id: figures.append(figure) or handle  # noqa: E731
    monkeypatch.setattr(IPython.display, "display", show)
    shown(1, (1, 2, 3))
    assert len(figures) == 1 and len(redrawn) == 2
    (axes,) = redrawn[-1].axes
    assert lines(axes) == {"a": [(0, 0), (1, 1), (2, 2)]}
    assert axes.get_xlim() == (0.8, 8.2)  # room for what is to come
