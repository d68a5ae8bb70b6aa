import numpy as np
import pytest
import torch
from drawn import arrows, check, dots, legend, lines, only_drawn, texts  # noqa: F401

from relcl_lib.papers.drl import similarity_plots as plots
from relcl_lib.papers.drl.similarity import Similarities


def similarities(n=6):
    """Of samples of two classes in turn."""

    def symmetric(seed):
        values = torch.rand(n, n, generator=torch.Generator().manual_seed(seed))
        return values + values.T - 1

    labels = torch.arange(n) % 2
    return Similarities(symmetric(1), symmetric(2), symmetric(3), labels[None] == labels[:, None])


def test_a_matrix_is_sorted_by_class():
    values = np.arange(16.0).reshape(4, 4)
    axes = plots.plot_cosine_matrix(values, [1, 0, 1, 0], limit=20)
    shown = axes.collections[0].get_array().reshape(4, 4)
    order = [1, 3, 0, 2]
    np.testing.assert_allclose(shown, values[order][:, order])
    check(axes, xticks=["0", "1"])
    assert axes.get_xticks().tolist() == [1, 3]


def test_a_scatter_has_a_dot_per_pair_and_the_least_squares_line():
    found = similarities()
    axes = plots.plot_similarity_scatter(found, "representations")
    assert len(dots(axes)) == 15
    for (name, ends), same in zip(lines(axes).items(), (False, True), strict=True):
        x = found.pairs("gradients", same).numpy()
        y = found.pairs("representations", same).numpy()
        slope, start = np.polyfit(x, y, 1)
        np.testing.assert_allclose(
            ends, [[v, slope * v + start] for v in (x.min(), x.max())], atol=1e-4
        )
        pairs = "one class" if same else "different classes"
        assert name == f"{pairs}, r = {found.correlation('representations', same):.2f}"


@pytest.mark.parametrize(
    "names, styles", [(("without", "with"), [":", ":", "-", "-"]), (("all",), ["-", "-"])]
)
def test_densities_have_an_area_of_one_and_the_last_is_solid(names, styles):
    axes = plots.plot_similarity_densities({n: similarities(40) for n in names}, "gradients")
    assert list(lines(axes)) == [
        f"{name}, {pairs}" for name in names for pairs in ("different classes", "one class")
    ]
    for points in lines(axes).values():
        x, y = np.transpose(points)
        assert np.sum(y) * (x[1] - x[0]) == pytest.approx(1, abs=0.05)
    assert [line.get_linestyle() for line in axes.lines] == styles


def test_mean_cosines_have_a_line_per_kind_of_pairs_and_a_dot_per_seed():
    found = {"0": [similarities(), similarities(8)], "0.1": [similarities(4)]}
    axes = plots.plot_mean_cosines(found, "features")
    for same, name in plots.PAIR_NAMES.items():
        means = [
            np.mean([float(s.pairs("features", same).mean()) for s in f]) for f in found.values()
        ]
        np.testing.assert_allclose([y for _, y in lines(axes)[name]], means, atol=1e-4)
    assert len(dots(axes)) == 6
    check(axes, xticks=["0", "0.1"])
    assert axes.get_ylabel() == "mean cosine of pixels"


def test_correlations_have_a_row_each_with_seeds_mean_and_the_papers():
    values = {"a, one class": [0.2, 0.4], "b": []}
    axes = plots.plot_correlations(values, reference={"b": -0.5})
    check(
        axes,
        yticks=list(values),
        legend=["one seed", "mean", "paper"],
        dots=[(0.2, 0), (0.4, 0), (-0.5, 1)],
    )
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.3, 0.3])
    assert legend(plots.plot_correlations(values)) == ["one seed", "mean"]
    assert legend(plots.plot_correlations({"b": []})) == []


def test_pushes_keep_their_directions_and_ratios():
    points, pushes = [[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], [[-1.0, 0.0], [0.0, 2.0], [0.01, 0.0]]
    axes = plots.plot_pushes(points, [0, 0, 1], pushes)
    assert dots(axes) == [tuple(point) for point in points]
    # The longest is 0.65 of the longest vector; what is hardly pushed has no arrow.
    np.testing.assert_allclose(arrows(axes), [[(1, 0), (0.35, 0)], [(0, 2), (0, 3.3)]])
    assert texts(axes) == ["longest arrow: 2"]


@pytest.mark.parametrize(
    "references, names", [([[0.0, 1.0]], ["g_{ref}"]), (np.eye(2), ["g_1", "g_2"])]
)
def test_a_projection_shades_what_is_allowed(references, names):
    axes = plots.plot_projection([1.0, -1.0], references, [1.0, 0.0], names=names)
    tips = [tip for _, tip in arrows(axes)]
    np.testing.assert_allclose(tips, [*references, [1, -1], [1, 0]])
    assert texts(axes) == [*(f"${name}$" for name in names), "$g_t$", r"$\tilde{g}$"]
    allowed = axes.collections[0].get_paths()[0].vertices
    assert allowed[:, 1].min() == pytest.approx(0, abs=0.02)
