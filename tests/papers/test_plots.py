"""What the papers' plots have in common: nothing to draw is drawn too, and runs say how far they are."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from drawn import cases, check, only_drawn  # noqa: F401

from relcl_lib.lab import plots
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
        plots.plot_groups,
        plots.plot_strategies,
        crecl.plot_history_and_current,
        crecl.plot_memory_sizes,
        docre_ii.plot_stages,
        partial(drl.plot_validation_panels, curve=list),
        fastre.plot_epochs,
        similarity_plots.plot_correlations,
    ],
)
def test_nothing_to_draw_is_an_empty_figure(draw):
    check(lambda: draw({}), {"lines": {}, "dots": [], "bars": [], "legend": []})


class Stream(list):
    """Two tasks with six and three test sentences."""

    def sizes(self):
        return [(20, 6), (10, 3)]


def run(settings, **state):
    return SimpleNamespace(seed=7, settings=SimpleNamespace(**settings), **state)


ACCURACY = torch.tensor([[0.8, 0.0], [0.5, 1.0]])
ONLINE = {"streams": [[0, 1]], "seeds": [0], "accuracy": ACCURACY[None]}
TRACK = {"track": "NI", "method": "BER", "drl_weight": 1e-3}
VALID = {"stream": [0, 1], "valid": torch.tensor([[0.25], [0.75]])}
EPOCHS = [{"loss": 1.0, "valid_F1": 10.0}, {"loss": 0.5, "valid_F1": 12.34}]
STAGES = [{"stage": 1, "loss": 1.0, "dev_F1": 5.0}, {"stage": 2, "loss": 0.5, "dev_F1": 6.0}]
STAGED = {"method": "ATLOP", "stage1_epochs": 1, "stage2_epochs": 2}


@pytest.mark.parametrize(
    "now, line, due, curve",
    [
        (
            hpcr.progress(run({"method": "PCR"}, tasks_done=1, **ONLINE)),
            "PCR: task 1/2, accuracy 80.0 (mean of 1 seeds)",
            False,
            {"PCR": [(1, 80)]},
        ),
        (
            crecl.progress(
                run({"method": "CRECL"}, tasks_done=2, stream=Stream([0, 1]), accuracy=ACCURACY)
            ),
            "CRECL, seed 7: task 2/2, historical 66.7, current 100.0",
            False,
            {"historical": [(1, 80), (2, 66.6667)], "current": [(1, 80), (2, 100)]},
        ),
        (
            drl.progress(run(TRACK, experiences_done=1, **VALID)),
            None,
            False,
            {"BER": [(1, 25)]},
        ),
        (
            drl.progress(run(TRACK, experiences_done=2, **VALID)),
            "NI BER, lambda 0.001, seed 7: 2 experiences, validation 75.0",
            False,
            {"BER": [(1, 25), (2, 75)]},
        ),
        (
            fastre.progress(
                run({"method": "A", "epochs": 8}, epochs_done=2, finished=True, history=EPOCHS)
            ),
            "A, seed 7: epoch 2/8, loss 0.500, validation F1 12.3",
            True,
            {"A": [(1, 10), (2, 12.34)]},
        ),
        (
            docre_ii.progress(run(STAGED, epochs_done=1, history=STAGES[:1])),
            "ATLOP, seed 7: stage 1, epoch 1/3, loss 1.000, dev F1 5.0",
            True,
            {"stage 1: base": [(1, 5)]},
        ),
        (
            docre_ii.progress(run(STAGED, epochs_done=2, history=STAGES)),
            "ATLOP, seed 7: stage 2, epoch 2/3, loss 0.500, dev F1 6.0",
            False,
            {"stage 1: base": [(1, 5)], "stage 2: with inference module": [(2, 6)]},
        ),
    ],
)
def test_a_run_tells_how_far_it_is(now, line, due, curve):
    axes = plots.axes_of(None, 2.0)
    now.draw(axes)
    check(lambda: axes, {"lines": curve})
    assert (now.line, now.due) == (line, due) and now.done <= now.total
