import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

matplotlib.use("agg")

from relcl_lib.papers.drl import similarity_plots as plots_similarity
from relcl_lib.papers.drl.similarity import Similarities


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def symmetric(n, seed=0):
    values = torch.rand(n, n, generator=torch.Generator().manual_seed(seed))
    return values + values.T - 1


def found(n=6):
    labels = torch.arange(n) % 2
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    return Similarities(symmetric(n, 1), symmetric(n, 2), symmetric(n, 3), same)


def test_a_matrix_is_sorted_by_class():
    labels = [1, 0, 1, 0]
    values = np.arange(16.0).reshape(4, 4)
    axes = plots_similarity.plot_cosine_matrix(values, labels, limit=20)
    shown = axes.collections[0].get_array().reshape(4, 4)
    order = [1, 3, 0, 2]
    np.testing.assert_allclose(shown, values[order][:, order])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1"]
    np.testing.assert_allclose(axes.get_xticks(), [1, 3])


def test_a_scatter_has_a_dot_a_pair_and_the_least_squares_line():
    similarities = found()
    axes = plots_similarity.plot_similarity_scatter(similarities, "representations")
    counts = [len(dots.get_offsets()) for dots in axes.collections]
    assert counts == [9, 6]  # of 15 pairs, 3 * 3 of different classes
    x = similarities.pairs("gradients", True).numpy()
    y = similarities.pairs("representations", True).numpy()
    slope, start = np.polyfit(x, y, 1)
    ends = axes.lines[1].get_xdata()
    np.testing.assert_allclose(axes.lines[1].get_ydata(), slope * ends + start)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    r = similarities.correlation("representations", True)
    assert texts[1] == f"one class, r = {r:.2f}"


def test_densities_have_an_area_of_one():
    axes = plots_similarity.plot_similarity_densities(
        {"without": found(40), "with": found(40)}, "gradients"
    )
    assert len(axes.lines) == 4
    for line in axes.lines:
        x, y = line.get_data()
        assert np.sum(y) * (x[1] - x[0]) == pytest.approx(1, abs=0.05)
    assert [line.get_linestyle() for line in axes.lines] == [":", ":", "-", "-"]


def test_one_network_alone_is_drawn_solid():
    axes = plots_similarity.plot_similarity_densities({"all": found()}, "features")
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-"]


def test_correlations_without_a_reference_or_a_value():
    axes = plots_similarity.plot_correlations({"a, one class": [0.2, 0.4], "b": []})
    assert axes.get_legend() is None
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.3, 0.3])
    assert len(axes.collections) == 1


def arrows(axes):
    """Return tip minus tail of each arrow."""
    found = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    return np.array([np.subtract(text.xy, text.get_position()) for text in found])


def test_pushes_keep_their_directions_and_ratios():
    points = [[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]
    pushes = [[-1.0, 0.0], [0.0, 2.0], [0.01, 0.0]]
    axes = plots_similarity.plot_pushes(points, [0, 0, 1], pushes)
    drawn = arrows(axes)
    assert len(drawn) == 2  # what is hardly pushed has no arrow
    np.testing.assert_allclose(drawn / drawn[1, 1], [[-0.5, 0], [0, 1]])
    assert np.linalg.norm(drawn[1]) == pytest.approx(0.65 * 2)


def test_no_push_at_all_is_drawn_too():
    assert len(arrows(plots_similarity.plot_pushes([[1.0, 1.0]], [0], [[0.0, 0.0]]))) == 0


def test_a_projection_shades_what_is_allowed():
    axes = plots_similarity.plot_projection([1.0, -1.0], [[0.0, 1.0]], [1.0, 0.0])
    np.testing.assert_allclose(arrows(axes), [[0, 1], [1, -1], [1, 0]])
    (region,) = axes.collections
    (path,) = region.get_paths()
    assert path.vertices[:, 1].min() == pytest.approx(0, abs=0.02)
    two = plots_similarity.plot_projection([1.0, -1.0], [[0.0, 1.0], [1.0, 0.0]], [1.0, 0.0])
    assert {"$g_1$", "$g_2$"} <= {text.get_text() for text in two.texts}
