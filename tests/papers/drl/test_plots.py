import types

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from drl_data import tiny_data
from example_records import make

matplotlib.use("agg")

from relcl_lib.continual.tracks import domain_stream
from relcl_lib.papers.drl import plots as plots_tracks


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_an_image_of_each_class_and_session_test_sessions_in_red():
    figure = plots_tracks.plot_sessions(tiny_data(), (0, 2))
    assert len(figure.axes) == 2 * 11
    red = {a.get_title() for a in figure.axes if a.title.get_color() == "tab:red"}
    assert red == {"3", "7", "10"}


@pytest.mark.parametrize("track, columns", [("NI", 8), ("Multi-Task-NC", 5), ("NIC", 40)])
def test_a_stream_shows_the_classes_of_each_experience(track, columns):
    data = tiny_data()
    stream = domain_stream(track, data)
    picture = plots_tracks.plot_stream(stream, data).images[0].get_array()
    assert picture.shape == (5, columns, 3)
    for task in stream:
        drawn = (picture[:, task.index] < 1).any(-1).nonzero()[0].tolist()
        assert drawn == sorted(task.classes)
    if track == "Multi-Task-NC":  # all sessions: grey
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 2
    else:
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) >= 8


def test_images_are_counted_by_experience_and_class():
    data = tiny_data()
    stream = domain_stream("NI", data)
    positions = torch.cat([stream[0].train_indices[:3], stream[6].train_indices[[0, 0, -1]]])
    found = plots_tracks.count_images(stream, data.labels, positions)
    expected = np.zeros((8, 5), dtype=int)
    for position in positions.tolist():
        (owner,) = (task.index for task in stream if position in task.train_indices.tolist())
        expected[owner, data.labels[position]] += 1
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == 6


def test_counts_of_nothing_are_left_empty():
    axes = plots_tracks.plot_counts([[3, 0], [0, 12]])
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["3", "12"]


def test_curves_are_means_and_seeds():
    curves = {"without the loss": [[50.0, 60.0], [70.0, 80.0]], "with the loss": [[90.0, 95.0]]}
    axes = plots_tracks.plot_validation(curves)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [60, 70])
    assert len(axes.lines) == 1 + 2 + 1
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == list(curves)


def test_a_panel_a_strategy_with_both_curves():
    def records(*curves):
        notes = [f"validation by experience: {a:.2f} {b:.2f}; more" for a, b in curves]
        return [make(note=note) for note in notes]

    found = {
        "ER": {"without the loss": records((50, 60), (70, 80)), "with the loss": records((1, 2))},
        "GEM": {"without the loss": records((3, 4))},
    }
    (axes,) = plots_tracks.plot_validation_panels(found).axes
    assert axes.get_title() == "ER"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [60, 70])
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), [1, 2])


def test_bars_stand_in_pairs_and_a_single_one_in_the_middle():
    values = {
        "ER": {"without the loss": [50.0, 60.0], "with the loss": [70.0]},
        "GEM": {"without the loss": [40.0]},
    }
    axes = plots_tracks.plot_strategies(values)
    heights = sorted(bar.get_height() for bar in axes.patches)
    assert heights == [40, 55, 70]
    middles = {bar.get_height(): bar.get_x() + bar.get_width() / 2 for bar in axes.patches}
    assert middles[55] < 0 < middles[70] and middles[40] == pytest.approx(1)
    dots = [c.get_offsets()[:, 1].tolist() for c in axes.collections]
    assert dots == [[50.0, 60.0]]
    assert len(axes.get_legend().get_texts()) == 2


def test_five_seeds_have_an_interval():
    axes = plots_tracks.plot_strategies({"ER": {"without the loss": [50.0, 52, 54, 56, 58]}})
    assert any(type(found).__name__ == "ErrorbarContainer" for found in axes.containers)


def test_panels_share_one_legend_in_the_order_of_the_colours():
    figure, axes = plt.subplots(1, 2)
    plots_tracks.plot_strategies({}, axes[0])
    both = {name: [50.0] for name in reversed(plots_tracks.LOSS_COLOURS)}
    plots_tracks.plot_strategies({"ER": both}, axes[1])
    plots_tracks.share_legend(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(plots_tracks.LOSS_COLOURS)
    assert axes[1].get_legend() is None and axes[1].get_ylabel() == ""


def test_nothing_to_draw_is_an_empty_panel():
    axes = plots_tracks.plot_strategies({})
    assert not axes.patches and axes.get_legend() is None


def test_a_run_says_one_line_at_its_end(monkeypatch):
    state = types.SimpleNamespace(
        experiences_done=1,
        stream=[0, 1],
        valid=torch.tensor([[0.25], [0.75]]),
        seed=3,
        settings=types.SimpleNamespace(track="NI", method="BER", drl_weight=1e-3),
    )
    said = []
    monkeypatch.setenv("RELCL_HEADLESS", "1")
    curve = plots_tracks.ExperienceCurve("drl", said.append)
    curve.update(state)
    assert said == []
    state.experiences_done = 2
    curve.update(state)
    assert said == ["[drl] NI BER, lambda 0.001, seed 3: 2 experiences, validation 75.0"]
    assert not plt.get_fignums()
