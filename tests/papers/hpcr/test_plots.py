"""What a reader sees in the figures of HPCR's analyses."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import check, dots, lines, only_drawn, thin  # noqa: F401

from relcl_lib.papers.hpcr.plots import (
    plot_against,
    plot_novel_and_historical,
    plot_proxy_gradients,
)


def test_nothing_to_draw_is_an_empty_figure():
    for figure in (
        plot_novel_and_historical({}),
        plot_against({}, xlabel="x").figure,
        plot_against({"PCR": {}}, xlabel="x").figure,
        plot_proxy_gradients({}, 1).figure,
    ):
        for axes in figure.axes:
            check(axes, dots=[], bars=[], legend=[])
            assert not any(lines(axes).values())
        plt.close(figure)


def test_a_line_goes_through_the_means_of_the_seeds():
    axes = plot_against(
        {"P": {0.5: [10, 20], 0.1: [4, 6]}, "G": {0.1: [1]}}, xlabel="temperature", mark=0.09
    )
    check(axes, lines={"P": [(0.1, 5), (0.5, 15)], "G": [(0.1, 1)]}, legend=["P", "G"])
    assert dots(axes) == [(0.1, 4), (0.1, 6), (0.5, 10), (0.5, 20), (0.1, 1)]
    assert thin(axes) == [[(0.09, 0), (0.09, 1)]]


def test_each_x_of_a_logarithmic_axis_is_labelled():
    values = {"P": {0.03: [1], 0.3: [2]}, "G": {0.09: [1]}}
    axes = plot_against(values, xlabel="temperature", log=True)
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.03", "0.09", "0.3"]
    assert not len(axes.get_xticks(minor=True))


def test_bars_of_the_proxies_are_means_with_the_new_ones_last():
    values = {"PCD": np.array([[1.0, -3], [3, -5]]), "SCD": np.array([[0.5, -1.5]])}
    axes = plot_proxy_gradients(values, new=1)
    drawn = sorted((bar.get_x(), bar.get_height()) for bar in axes.patches)
    assert [height for _, height in drawn] == pytest.approx([2, 0.5, -4, -1.5])
    assert [line[0][0] for line in thin(axes)] == [0, 1.5]  # 0, and where the new classes begin
    check(axes, legend=["PCD", "SCD"])
