"""What the papers' plots share: nothing to draw is an empty figure, and a run says how far it is."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from drawn import check, only_drawn  # noqa: F401

from relcl_lib.lab import plots, words
from relcl_lib.papers.crecl import plots as crecl
from relcl_lib.papers.docre_ii import plots as docre_ii
from relcl_lib.papers.drl import plots as drl
from relcl_lib.papers.drl import similarity_plots
from relcl_lib.papers.fastre import plots as fastre
from relcl_lib.papers.hpcr import plots as hpcr


@pytest.mark.parametrize(
    "draw",
    [
        plots.plot_accuracy_curves,
        plots.plot_bars,
        plots.plot_differences,
        plots.plot_groups,
        plots.plot_strategies,
        crecl.plot_history_and_current,
        partial(plots.plot_against, xlabel="x"),
        docre_ii.plot_stages,
        partial(drl.plot_validation_panels, curve=list),
        fastre.plot_epochs,
        similarity_plots.plot_correlations,
    ],
)
def test_nothing_to_draw_is_an_empty_figure(draw):
    for axes in draw({}).figure.axes:
        check(axes, lines={}, dots=[], bars=[], legend=[])


def says(now, line, due=False, **curve):
    axes = plots.axes_of(None, 2.0)
    now.draw(axes)
    check(axes, lines=curve)
    assert (now.line, now.due) == (line, due) and now.done <= now.total


def run(settings, **state):
    return SimpleNamespace(seed=7, settings=SimpleNamespace(**settings), **state)


ACCURACY = torch.tensor([[0.8, 0.0], [0.5, 1.0]])


class Stream(list):
    """Two tasks with six and three test sentences."""

    def sizes(self):
        return [(20, 6), (10, 3)]


#: read before a test may read only what figures need
HC_OFF = words.name("PCR+HC+HT")


@pytest.mark.parametrize(
    "method, hc, replayed, name",
    [
        ("PCR", "off", 64, "PCR"),
        ("PCR+HC+HT", "auto", 10, HC_OFF),
        ("PCR+HC+HT", "auto", 64, "PCR+HC+HT"),
    ],
)
def test_progress_of_online_replay(method, hc, replayed, name):
    settings = {"method": method, "hc": hc, "stream_batch": 10, "memory_batch": replayed}
    state = {"streams": [[0, 1]], "seeds": [0], "accuracy": ACCURACY[None], "tasks_done": 1}
    line = f"{name}: task 1/2, accuracy 80.0 (mean of 1 seeds)"
    says(hpcr.progress(run(settings, **state)), line, **{name: [(1, 80)]})


def test_progress_of_relation_tasks():
    state = {"stream": Stream([0, 1]), "accuracy": ACCURACY, "tasks_done": 2}
    line = "CRECL, seed 7: task 2/2, historical 66.7, current 100.0"
    curves = {"historical": [(1, 80), (2, 66.6667)], "current": [(1, 80), (2, 100)]}
    says(crecl.progress(run({"method": "CRECL"}, **state)), line, **curves)


def test_progress_of_experiences_is_told_at_the_end():
    settings = {"track": "NI", "method": "BER", "drl_weight": 1e-3}
    state = {"stream": [0, 1], "valid": torch.tensor([[0.25], [0.75]])}
    says(drl.progress(run(settings, experiences_done=1, **state)), None, BER=[(1, 25)])
    line = "NI BER, lambda 0.001, seed 7: 2 experiences, validation 75.0"
    says(drl.progress(run(settings, experiences_done=2, **state)), line, BER=[(1, 25), (2, 75)])


def test_progress_of_epochs():
    history = [{"loss": 1.0, "valid_F1": 10.0}, {"loss": 0.5, "valid_F1": 12.34}]
    state = {"epochs_done": 2, "finished": True, "history": history}
    line = "FastRE, seed 7: epoch 2/8, loss 0.500, validation F1 12.3"
    now = fastre.progress(run({"method": "FastRE", "epochs": 8}, **state))
    says(now, line, True, FastRE=[(1, 10), (2, 12.34)])


def test_progress_of_stages_whose_ends_are_due():
    history = [{"stage": 1, "loss": 1, "dev_F1": 5}, {"stage": 2, "loss": 0.5, "dev_F1": 6}]
    settings = {"method": "ATLOP", "stage1_epochs": 1, "stage2_epochs": 2}
    line, base = "ATLOP, seed 7: stage 1, epoch 1/3, loss 1.000, dev F1 5.0", "stage 1: base"
    now = docre_ii.progress(run(settings, epochs_done=1, history=history[:1]))
    says(now, line, True, **{base: [(1, 5)]})
    line = "ATLOP, seed 7: stage 2, epoch 2/3, loss 0.500, dev F1 6.0"
    now = docre_ii.progress(run(settings, epochs_done=2, history=history))
    says(now, line, **{base: [(1, 5)], "stage 2: with inference module": [(2, 6)]})
