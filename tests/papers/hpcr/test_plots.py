"""What a reader sees in the figures of HPCR's analyses."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import check, dots, legend, lines, only_drawn, texts, thin  # noqa: F401
from gratings import make_run

from relcl_lib.papers.hpcr.plots import (
    explain_spread,
    plot_architecture,
    plot_competition,
    plot_novel_and_historical,
    plot_on_circle,
    plot_proxy_gradients,
    plot_temperatures,
)


def test_nothing_to_draw_is_an_empty_figure():
    for figure in (
        plot_novel_and_historical({}),
        plot_proxy_gradients({}, 1).figure,
    ):
        for axes in figure.axes:
            check(axes, dots=[], bars=[], legend=[])
            assert not any(lines(axes).values())
        plt.close(figure)


def test_bars_of_the_proxies_are_means_with_the_new_ones_last():
    values = {"PCD": np.array([[1.0, -3], [3, -5]]), "SCD": np.array([[0.5, -1.5]])}
    axes = plot_proxy_gradients(values, new=1)
    drawn = sorted((bar.get_x(), bar.get_height()) for bar in axes.patches)
    assert [height for _, height in drawn] == pytest.approx([2, 0.5, -4, -1.5])
    assert [line[0][0] for line in thin(axes)] == [0, 1.5]  # 0, and where the new classes begin
    check(axes, legend=["PCD, n=2", "SCD, n=1"])


def test_a_legend_says_what_shows_the_spread():
    for counts, names in (
        ([1], ["line"]),
        ([1, 3], ["line", "one seed"]),
        ([3, 5], ["line", "one seed", "95 % interval"]),
    ):
        for bars in (False, True):
            axes = plt.subplots()[1]
            axes.plot([1, 2], label="line")
            explain_spread(axes, counts, bars=bars)
            check(axes, legend=names)
    matrices = {"PCR": np.full((2, 3, 3), 50.0), "HPCR": np.full((5, 3, 3), 60.0)}
    figure = plot_novel_and_historical(matrices)
    assert legend(figure.axes[1]) == ["PCR", "HPCR", "one seed", "95 % interval"]


def test_no_colour_of_the_temperatures_means_two_things():
    line = {0.03: [1.0, 2.0], 0.09: [3.0, 4.0], 0.3: [5.0, 6.0]}
    figure = plot_temperatures(dict.fromkeys(("all", "old", "new"), line), {"G": line, "P": line})
    curves = [line for axes in figure.axes for line in axes.lines if line.get_label() != "0.09"]
    assert len({line.get_color() for line in curves}) == len(curves) == 5


def test_the_architecture_has_the_shapes_of_the_run():
    run = make_run(seeds=[0, 1], method="HPCR", stream_batch=5, memory_batch=3)
    said = dict(text.split("\n") for text in texts(plot_architecture(run)) if "\n" in text)
    dim = run.network.body.feature_size((16, 16))
    assert said["images that arrive"] == "(2, 5, 3, 16, 16)"
    assert said["clean and random views"] == "$x$ (2, 10, 3, 16, 16)"
    assert said["views of those drawn"] == "$x$ (2, 6, 3, 16, 16)"
    assert said["$z^*$ of those drawn"] == f"(2, 3, {dim})"
    assert said["$o^*$ of those drawn"] == "(2, 3, 6)"
    assert (
        said["memory: image, label, logits $o^*$ and features $z^*$"]
        == "20 slots for each of 2 seeds"
    )
    lines = [text for text in texts(plot_architecture(run)) if "\n" not in text]
    for expected in (
        f"features $z$ (2, 10, {dim})",
        f"features $z$ (2, 6, {dim})",
        f"cosine classifier, proxies $w$ (2, 6, {dim})",
        "logits $o$ (2, 10, 6)",
        "logits $o$ (2, 6, 6)",
        "$L_C$ (Eq. 9, 18): 16 rows against their classes, $k$ (2, 6)",
        "reduced ResNet-18, one pass per group",
    ):
        assert expected in lines
    joint = make_run(method="HPCR", variant="paper", views=1)
    lines = texts(plot_architecture(joint))
    assert "reduced ResNet-18, both groups in one pass" in lines
    assert "clean views\n$x$ (1, 10, 3, 16, 16)" in lines


def test_competitors_of_pcr_are_the_classes_in_the_batch():
    contrast, pcr = plot_competition().axes[1:]
    assert len(pcr.lines) == len(contrast.lines) == 3  # its own class and two competitors
    assert len(dots(pcr)) == 6  # five proxies and the anchor


def test_points_and_proxies_stand_at_their_angles():
    axes = plot_on_circle({0: 0, 90: 1}, {180: 2})
    assert dots(axes) == [(1, 0), (0, 1), (-1, 0)]
    check(
        axes,
        texts=["0°", "90°", "180°"],
        legend=["point", "proxy", "class 0", "class 1", "class 2"],
    )
