import numpy as np
import pytest
import torch
from drawn import check, dots, only_drawn, thin, xticks  # noqa: F401

from relcl_lib.models.tagger import FastRE, TaggerConfig
from relcl_lib.papers.fastre import plots

#: dilations of Table 4 -> words that reach an output
STRUCTURES = {
    (1, 2, 4): 15,
    (1, 2, 4, 1, 1, 1): 21,
    (1, 1, 1, 1, 1, 1): 13,
    (1, 2, 4, 8, 16, 32): 127,
    (1, 2, 4, 1, 2, 4, 1, 1, 1): 35,
}


@pytest.mark.parametrize("dilations", STRUCTURES)
def test_receptive_fields_of_table_4(dilations):
    layers = plots.reached_words(dilations)
    reach = sum(dilations)
    assert layers[0] == list(range(-reach, reach + 1))
    assert len(layers[0]) == STRUCTURES[dilations]
    assert layers[-1] == [0]
    assert len(layers) == len(dilations) + 1


def test_a_wide_last_block_leaves_holes():
    assert plots.reached_words([1, 3])[0] == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    assert plots.reached_words([1, 5])[0] == [-6, -5, -4, -1, 0, 1, 4, 5, 6]


def test_every_reached_word_is_drawn_and_joined():
    axes = plots.plot_receptive_field([1, 2])
    below = [*((at, 0) for at in range(-3, 4)), *((at, 1) for at in (-2, 0, 2)), (0, 2)]
    assert dots(axes) == below
    assert set(map(tuple, thin(axes))) == {
        *(((at + tap, 0), (at, 1)) for at in (-2, 0, 2) for tap in (-1, 0, 1)),
        *(((tap, 1), (0, 2)) for tap in (-2, 0, 2)),
    }
    check(axes, yticks=["words", "1: δ=1", "2: δ=2"], title="dilations 1-2: 7 words")


def test_dots_mark_what_is_above_the_threshold():
    scores = np.full((4, 2), -3.0)
    scores[2, 1] = 0.5
    scores[0, 0] = 0.0  # not strictly above
    axes = plots.plot_scores(scores, list("abcd"), ["PER", "LOC"])
    check(axes, dots=[(2.5, 1.5)], xticks=list("abcd"), yticks=["PER", "LOC"])
    np.testing.assert_allclose(axes.collections[0].get_array().reshape(2, 4), scores.T)
    bare = plots.plot_scores(scores, list("abcd"), ["PER", "LOC"], show_words=False)
    assert xticks(bare) == []


def test_thresholds_are_a_step_and_classes_dots():
    logits = np.array([[1.0, 2.0, 0.0], [1.0, 0.5, 1.0]])
    axes = plots.plot_thresholds(logits, ["x", "y"], ["PER", "LOC"])
    check(axes, lines={"threshold": [(0, 1), (1, 1)]}, xticks=["x", "y"])
    check(axes, legend=["threshold", "PER", "LOC"])
    large = [c.get_offsets().tolist() for c in axes.collections if c.get_sizes()[0] > 14]
    assert large == [[[0, 2]], []]  # LOC is at its threshold once, not above
    assert sorted(dots(axes)) == [(0, 0), (0, 2), (1, 0.5), (1, 1)]


def test_epochs_are_counted_from_one():
    histories = {"FastRE": [{"valid_F1": 1.0}, {"valid_F1": 5.0}], "CasRel": [{"valid_F1": 2.0}]}
    drawn = {"FastRE": [(1, 1), (2, 5)], "CasRel": [(1, 2)]}
    check(plots.plot_epochs(histories), lines=drawn, legend=list(histories))


@pytest.mark.parametrize("dilations", [(1, 2, 4), (1, 2, 4, 1, 1, 1)])
def test_the_drawing_has_the_shapes_of_the_network(dilations):
    config = TaggerConfig(n_types=3, n_relations=12, hidden=16, dilations=dilations)
    network = FastRE(config, torch.randn(9, 300)).eval()
    inputs = {"words": torch.ones(2, 7, dtype=torch.long), "lengths": torch.tensor([7, 7])}
    heads = torch.zeros(5, 4, dtype=torch.long)
    with torch.no_grad():
        hidden, mask = network.encode(inputs)
        starts, _ = network.head_logits(hidden, mask)
        tails, _ = network.tail_logits(hidden, mask, heads, inputs["lengths"])
    axes = plots.plot_architecture(config, sentences=2, words=7, heads=5)
    drawn = "\n".join(text.get_text() for text in axes.texts)
    width = network.tails.first.in_channels
    for shape in (hidden.shape, starts.shape, tails.shape, (5, 7, width), heads.shape):
        assert str(tuple(shape)) in drawn
    assert f"{len(dilations)} times" in drawn


def test_a_reliability_curve_is_a_line_of_dots():
    curves = {"raw": [(0.2, 0.5, 10), (0.9, 0.8, 30)], "calibrated": [(0.6, 0.6, 40)]}
    axes = plots.plot_reliability(curves)
    check(axes, legend=["raw", "calibrated"])
    assert [tuple(map(float, xy)) for xy in axes.lines[1].get_xydata()] == [(0.2, 0.5), (0.9, 0.8)]
    few, many = axes.collections[0].get_sizes()
    assert many > few
    check(plots.plot_reliability({"raw": []}), dots=[])  # nothing was found
