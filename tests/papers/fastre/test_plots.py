import types

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

matplotlib.use("agg")

from relcl_lib.papers.fastre import plots as plots_tagger


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# --- receptive fields ----------------------------------------------------------------------------

STRUCTURES = {
    (1, 2, 4): 15,
    (1, 2, 4, 1, 1, 1): 21,
    (1, 1, 1, 1, 1, 1): 13,
    (1, 2, 4, 8, 16, 32): 127,
    (1, 2, 4, 1, 2, 4, 1, 1, 1): 35,
}


@pytest.mark.parametrize("dilations", STRUCTURES)
def test_receptive_fields_of_table_4(dilations):
    layers = plots_tagger.reached_tokens(dilations)
    reach = sum(dilations)
    assert layers[0] == list(range(-reach, reach + 1))
    assert len(layers[0]) == STRUCTURES[dilations]
    assert layers[-1] == [0]
    assert len(layers) == len(dilations) + 1


def test_a_wide_last_block_leaves_holes():
    assert plots_tagger.reached_tokens([1, 3])[0] == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    assert plots_tagger.reached_tokens([1, 5])[0] == [-6, -5, -4, -1, 0, 1, 4, 5, 6]


def test_every_reached_token_is_drawn_and_joined():
    axes = plots_tagger.plot_receptive_field([1, 2])
    drawn = [len(found.get_offsets()) for found in axes.collections]
    assert drawn == [7, 3, 1]
    assert len(axes.lines) == 3 * 3 + 3  # three taps for each token above
    assert axes.get_title() == "dilations 1-2: 7 tokens"


# --- scores --------------------------------------------------------------------------------------


def test_dots_mark_what_is_above_the_threshold():
    scores = np.full((4, 2), -3.0)
    scores[2, 1] = 0.5
    scores[0, 0] = 0.0  # not strictly above
    axes = plots_tagger.plot_scores(scores, list("abcd"), ["PER", "LOC"])
    dots = axes.collections[-1].get_offsets()
    np.testing.assert_allclose(dots, [[2.5, 1.5]])
    assert [text.get_text() for text in axes.get_xticklabels()] == list("abcd")
    assert [text.get_text() for text in axes.get_yticklabels()] == ["PER", "LOC"]


def test_thresholds_are_a_step_and_classes_dots():
    logits = np.array([[1.0, 2.0, 0.0], [1.0, 0.5, 1.0]])
    axes = plots_tagger.plot_thresholds(logits, ["x", "y"], ["PER", "LOC"])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1.0, 1.0])
    below, above = axes.collections[0].get_offsets(), axes.collections[1].get_offsets()
    np.testing.assert_allclose(below, [[1, 0.5]])
    np.testing.assert_allclose(above, [[0, 2.0]])
    assert len(axes.collections[3].get_offsets()) == 0  # LOC is at its threshold once, not above


# --- numbers -------------------------------------------------------------------------------------


def history(*scores):
    return [{"loss": 1.0, "valid_F1": score, "seconds": 1.0} for score in scores]


def test_epochs_are_counted_from_one():
    axes = plots_tagger.plot_epochs({"FastRE": history(1.0, 5.0), "CasRel": history(2.0)})
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 1.0], [2, 5.0]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["FastRE", "CasRel"]


def state(done, finished=False):
    return types.SimpleNamespace(
        epochs_done=done,
        finished=finished,
        seed=3,
        history=history(10.0, 12.34),
        settings=types.SimpleNamespace(method="FastRE", epochs=8),
    )


def test_live_curve_says_one_line_an_epoch_and_draws_only_for_a_person(monkeypatch):
    said = []
    monkeypatch.setenv("RELCL_HEADLESS", "1")
    plots_tagger.EpochCurve("fastre", said.append).update(state(2))
    assert said == ["[fastre] FastRE, seed 3: epoch 2/8, loss 1.000, validation F1 12.3"]
    assert not plt.get_fignums()


def test_live_curve_may_skip_epochs_but_not_the_last(monkeypatch):
    said = []
    monkeypatch.setenv("RELCL_HEADLESS", "1")
    curve = plots_tagger.EpochCurve("fastre", said.append, every=4)
    for done in (1, 2, 3, 4, 5):
        curve.update(state(done))
    curve.update(state(6, finished=True))
    assert [line.split("epoch ")[1].split("/")[0] for line in said] == ["4", "6"]
