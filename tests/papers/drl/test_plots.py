import numpy as np
import pytest
import torch
from drawn import check, legend, only_drawn, texts, xticks  # noqa: F401
from drl_data import make_run, tiny_data

from relcl_lib.continual.tracks import domain_stream
from relcl_lib.papers.drl import plots


@pytest.mark.parametrize("taps, shown", [("all", 3), ("logits", 1)])
def test_the_drawing_of_a_step_has_the_shapes_of_the_run(taps, shown):
    run = make_run(track="NI", method="BER", taps=taps)
    run.network.train()
    said = texts(plots.plot_architecture(run, past=2))
    assert run.network.training
    image = tuple(run.images.shape[1:])
    assert {f"B current images\n{(4, *image)}", f"batch of N = 3 B\n{(12, *image)}"} <= set(said)
    assert f"B of each past experience\n{(8, *image)}" in said
    assert f"logits\n{(12, run.data.n_classes)}" in said
    assert sum("(12, 100)" in text for text in said) == shown - 1
    each = run.memory.per_experience
    assert f"memory: m = {each} images of each\nof the 2 past experiences" in said


def test_an_image_of_each_class_and_session_test_sessions_in_red():
    figure = plots.plot_sessions(tiny_data(), (0, 2))
    assert len(figure.axes) == 2 * 11
    red = {a.get_title() for a in figure.axes if a.title.get_color() == "tab:red"}
    assert red == {"3", "7", "10"}
    assert [axes.get_ylabel() for axes in figure.axes[::11]] == ["class 0", "class 2"]


@pytest.mark.parametrize("track, columns", [("NI", 8), ("Multi-Task-NC", 5), ("NIC", 40)])
def test_a_stream_shows_the_classes_of_each_experience(track, columns):
    data = tiny_data()
    stream = domain_stream(track, data)
    axes = plots.plot_stream(stream, data)
    picture = axes.images[0].get_array()
    assert picture.shape == (5, columns, 3)
    for task in stream:
        drawn = (picture[:, task.index] < 1).any(-1).nonzero()[0].tolist()
        assert drawn == sorted(task.classes)
    shades = len(np.unique(picture.reshape(-1, 3), axis=0))
    assert shades == 2 if track == "Multi-Task-NC" else shades >= 8  # all sessions: grey
    assert legend(axes) == ["1", "2", "4", "5", "6", "8", "9", "11"]
    shown = range(1, columns + 1) if columns < 20 else [1, 10, 20, 30, 40]  # counted from 1
    assert xticks(axes) == [str(number) for number in shown]
    assert axes.get_xticks().tolist() == [number - 1 for number in shown]


def test_images_are_counted_by_experience_and_class():
    data = tiny_data()
    stream = domain_stream("NI", data)
    positions = torch.cat([stream[0].train_indices[:3], stream[6].train_indices[[0, 0, -1]]])
    found = plots.count_images(stream, data.labels, positions)
    expected = np.zeros((8, 5), dtype=int)
    for position in positions.tolist():
        (owner,) = (task.index for task in stream if position in task.train_indices.tolist())
        expected[owner, data.labels[position]] += 1
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == 6


def test_counts_of_nothing_are_left_empty():
    axes = plots.plot_counts([[3, 0], [0, 12]])
    assert texts(axes) == ["3", "12"]
    check(axes, xticks=["0", "1"], yticks=["1", "2"])
    assert axes.collections[0].get_clim() == (0, 12)


def test_counts_that_are_compared_share_their_colours():
    for counts in ([[1]], [[5]], [[0]]):
        assert plots.plot_counts(counts, most=7).collections[0].get_clim() == (0, 7)


def test_a_panel_per_strategy_with_both_curves():
    both = {"without the loss": [[50, 60], [70, 80]], "with the loss": [[1, 2]]}
    records = {"ER": both, "GEM": {"without the loss": [[3, 4]]}, "BER": both}
    figure = plots.plot_validation_panels(records, curve=list)
    drawn = {"without the loss": [(1, 60), (2, 70)], "with the loss": [(1, 1), (2, 2)]}
    for axes, name in zip(figure.axes, ("ER", "BER"), strict=True):
        check(axes, title=name, lines=drawn)
    assert [axes.get_ylabel() for axes in figure.axes] == ["validation accuracy (%)", ""]
    assert legend(figure) == list(drawn)
