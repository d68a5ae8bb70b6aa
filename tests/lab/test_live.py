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
    monkeypatch.setattr(live.time, "monotonic", lambda: 0.0)  # drawing takes no time
    handle = types.SimpleNamespace(update=redrawn.append)
    monkeypatch.setattr(live, "is_watched", lambda: True)
    show = lambda figure, display_id: figures.append(figure) or handle  # noqa: E731
    monkeypatch.setattr(IPython.display, "display", show)
    shown(1, (1, 2, 3))
    assert len(figures) == 1 and len(redrawn) == 2
    (axes,) = redrawn[-1].axes
    assert lines(axes) == {"a": [(0, 0), (1, 1), (2, 2)]}
    assert axes.get_xlim() == (0.8, 8.2)  # room for what is to come


def test_lines_stand_below_the_figure(monkeypatch):
    """A figure is redrawn where it first stood, so it comes before the first line."""
    order = []
    monkeypatch.setattr(live, "is_watched", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda *_, **__: order.append("figure"))
    LiveCurve("drl", progress, say=order.append).update(types.SimpleNamespace(done=1))
    assert order == ["figure", "[drl] step 1"]


def test_a_long_task_says_where_it_is_and_a_short_one_nothing(monkeypatch):
    clock, said = [100.0], []
    monkeypatch.setattr(live, "is_watched", lambda: False)
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    curve = LiveCurve("hpcr", progress, say=said.append)
    run = types.SimpleNamespace(done=1, total=5, counter="tasks_done", seed=7, side_by_side=True)
    run.settings = types.SimpleNamespace(method="PCR")

    def steps(seconds, count, **changes):
        """The lines of a unit of `count` steps, so many seconds each."""
        said.clear()
        for step in range(1, count + 1):
            clock[0] += seconds
            curve.step(types.SimpleNamespace(**vars(run) | changes), step, count)
        lines = list(said)
        curve.update(run)
        return lines

    assert steps(0.2, 100) == steps(0.2, 100) == []  # 20 seconds each: `update` tells of them
    assert steps(1, 70) == [f"[hpcr] PCR: task 2/5, step {step} of 70" for step in (30, 60)]
    lines = steps(40, 1, side_by_side=False, counter="epochs_done")
    assert lines == ["[hpcr] PCR, seed 7: epoch 2/5, step 1 of 1"]
    clock[0] += 40
    curve.step(run, 2, 3, "CL1")
    assert said[-1] == "[hpcr] PCR: task 2/5, CL1, step 2 of 3"


def test_drawing_takes_a_small_part_of_the_time(monkeypatch):
    """A second to draw, two to train: the first step, the one after ten more seconds, the last."""
    clock, drawn = [0.0], []

    def draw(figure, display_id=True):
        clock[0] += 1
        drawn.append(figure)
        return types.SimpleNamespace(update=draw)

    monkeypatch.setattr(live, "is_watched", lambda: True)
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(IPython.display, "display", draw)
    curve = LiveCurve("drl", progress, say=lambda line: None)
    for done in range(1, 9):
        clock[0] += 2
        curve.update(types.SimpleNamespace(done=done))
    assert [len(figure.axes[0].lines[0].get_xdata()) for figure in drawn] == [1, 6, 8]
