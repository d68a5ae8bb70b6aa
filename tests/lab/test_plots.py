import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from drawn import check, dots, legend, only_drawn  # noqa: F401
from example_records import failed, run
from IPython.core import pylabtools
from matplotlib.collections import PathCollection

from relcl_lib.lab import plots
from relcl_lib.lab.metrics import confidence_interval

FIVE = [50.0, 52.0, 54.0, 56.0, 58.0]
HALF = confidence_interval(np.array(FIVE))[1]


def test_few_seeds_of_a_curve_are_thin_lines_and_many_a_band():
    axes = plots.plot_accuracy_curves({"PCR": [[90, 70], [80, 60]], "X": [[1, 2]]})
    means = {"PCR": [(1, 85), (2, 65)], "X": [(1, 1), (2, 2)]}
    seeds = [[(1, 90), (2, 70)], [(1, 80), (2, 60)]]
    check(axes, lines=means, thin=seeds, legend=["PCR", "X"], xticks=["1", "2"])
    axes = plots.plot_accuracy_curves({"PCR": np.transpose([FIVE, FIVE])})
    check(axes, lines={"PCR": [(1, 54), (2, 54)]}, thin=[])
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([heights.min(), heights.max()], [54 - HALF, 54 + HALF])


def test_a_long_curve_has_no_tick_for_each_step():
    assert len(plots.plot_accuracy_curves({"PCR": np.full((1, 79), 50.0)}).get_xticks()) < 15


@pytest.mark.parametrize("seeds, shown", [([50.0], []), ([50.0, 54.0], [50.0, 54.0]), (FIVE, [])])
def test_bars_show_means_and_their_spread(seeds, shown):
    lying = plots.plot_bars({"ER": [9.0], "PCR": seeds}, reference={"PCR": 50.3, "absent": 1.0})
    mean = np.mean(seeds)
    check(lying, bars=[("ER", 9), ("PCR", mean)], texts=["9.0", f"{mean:.1f}"], legend=["paper"])
    check(lying, dots=[*((value, 1) for value in shown), (50.3, 1)])
    assert lying.texts[0].get_position()[0] > 9  # too short for its number
    standing = plots.plot_strategies({"ER": {"base": seeds}})
    check(standing, bars=[("ER", mean)], texts=[f"{mean:.0f}"], dots=[(0, v) for v in shown])
    for axes, side in ((lying, 0), (standing, 1)):
        paths = [path.vertices[:, side] for c in axes.collections for path in c.get_paths()[:1]]
        found = any(np.allclose(ends, [54 - HALF, 54 + HALF]) for ends in paths if len(ends) == 2)
        assert found == (len(seeds) == 5)


@pytest.mark.parametrize("draw", [plots.plot_bars, plots.plot_groups])
def test_a_bar_has_its_methods_colour(draw):
    cell = [50.0] if draw is plots.plot_bars else {"n": 50.0}
    first = "DocRE-II, N_I=1" if draw is plots.plot_bars else "DocRE-II"
    axes = draw({"a name": cell, first: cell, "w/o ECA": cell})
    colours = [plots.to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert colours[1:] == [plots.METHOD_COLOURS[name] for name in ("DocRE-II", "w/o ECA")]


def test_a_group_may_lack_a_bar():
    axes = plots.plot_groups({"partial": {"n": 60, "EPO": 50}, "exact": {"EPO": 40}})
    check(axes, bars=[("n", 60), ("EPO", 50), ("EPO", 40)], legend=["partial", "exact"])
    check(axes, texts=["60", "50", "40"])
    values = {"ER": {"without": [50.0], "with": [70.0]}, "GEM": {"with": [40.0]}}
    axes = plots.plot_strategies(values)
    check(axes, bars=[("ER", 50), ("ER", 70), ("GEM", 40)], legend=["without", "with"])
    alone = axes.patches[-1]
    assert alone.get_x() + alone.get_width() / 2 == pytest.approx(1)  # in the middle


def test_lines_start_where_they_are_told_to():
    axes = plots.plot_lines({"a": {3: 1, 5: 2}, "b": {}}, xlabel="x", ylabel="y")
    check(axes, lines={"a": [(3, 1), (5, 2)], "b": []}, legend=["a", "b"])
    assert not axes.collections
    axes = plots.plot_lines({"a": {0: [1, 2, 3, 2, 2], 1: [4, 6]}}, xlabel="x", ylabel="y")
    check(axes, lines={"a": [(0, 2), (1, 5)]})
    first, *others = axes.collections[0].get_segments()  # two runs say little: no bar
    assert first[:, 1] == pytest.approx([2 - 0.878, 2 + 0.878], abs=1e-3)
    assert not any(len(segment) for segment in others)


def test_a_matrix_hides_what_lies_above_the_diagonal():
    matrix, names = [[90.0, 0.0], [50.0, 80.0]], ["a", "b"]
    check(plots.plot_matrix(matrix), texts=["90", "50", "80"], xticks=["1", "2"])
    axes = plots.plot_matrix(matrix, lower=False, labels=names)
    check(axes, texts=["90", "0", "50", "80"], xticks=names, yticks=names)


@pytest.mark.parametrize("below", [True, False])
def test_panels_share_one_legend_and_the_label_of_a_shared_axis(below):
    figure, (left, right) = plt.subplots(1, 2, sharey=True)
    plots.plot_strategies({"ER": {"a": [50.0]}}, left)
    plots.plot_strategies({"ER": {"a": [40.0], "b": [50.0]}}, right)
    plots.share_legend([left, right], below=below)
    assert legend(figure if below else right) == ["a", "b"]
    assert legend(left) == [] and left.get_ylabel() and not right.get_ylabel()


def test_panels_with_nothing_to_explain_keep_their_labels():
    figure, (left, right) = plt.subplots(1, 2)
    right.set_ylabel("of its own")
    plots.share_legend([left, right], below=True)
    assert not figure.legends and right.get_ylabel() == "of its own"


def test_joint_embedding_keeps_classes_and_their_proxies_together():
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(3, 8) * 5
    labels = torch.arange(3).repeat_interleave(30)
    points = centres[labels] + torch.rand(90, 8, generator=generator)
    flat, stars = plots.embed_together(points, centres, perplexity=10)
    means = np.stack([flat[labels == c].mean(0) for c in range(3)])
    for c, star in enumerate(stars):
        assert np.linalg.norm(means - star, axis=1).argmin() == c
    axes = plots.plot_embedding(flat, labels, stars, names=["a", "b", "c"])
    assert legend(axes) == ["a", "b", "c"] and len(dots(axes)) == 93


def test_curves_come_from_matrices_and_failed_runs_have_none():
    records = [run(0), run(1), failed(method="ER")]
    curves = plots.curves_of(records)
    assert list(curves) == ["HPCR"] and len(curves["HPCR"]) == 2
    np.testing.assert_allclose(curves["HPCR"][0], [80.0, 65.25])
    assert plots.curves_of(records, ["PCR", "HPCR"], lambda r: [r.seed]) == {"HPCR": [[0], [1]]}


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("one", "two"):
        plots.save_figure(plots.plot_bars({"ER": [40.0]}).figure, name, tmp_path)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    plots.save_figure(plt.figure(), "nowhere", None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_a_drawing_of_a_model_has_every_box_and_straight_arrows_where_boxes_face_each_other():
    boxes = {
        "a": plots.Box(0, 2, 2, "above"),
        "b": plots.Box(1, 0, 2, "below"),
        "c": plots.Box(5, 0, 1, "beside"),
        "d": plots.Box(8, 3, 1, "aslant"),
    }
    axes = plots.plot_flow(boxes, [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")])
    assert [text.get_text() for text in axes.texts if text.get_text()] == [
        "above",
        "below",
        "beside",
        "aslant",
    ]
    arrows = [(text.xyann, text.xy) for text in axes.texts if not text.get_text()]
    straight = [((1.5, 2), (1.5, 1)), ((3, 0.5), (5, 0.5)), ((5, 0.5), (3, 0.5))]
    assert arrows == [*straight, ((6, 1), (8, 3))]
    assert axes.get_xlim() == (-0.2, 9.2)


def test_paired_differences_show_each_seed_and_say_when_an_interval_holds_0():
    axes = plots.plot_differences({"sure": FIVE, "not": [-1.0, 0.0, 1.0], "two": [2.0, 4.0]})
    assert [text.get_text() for text in axes.texts] == [
        f"+54.0 ± {HALF:.1f}, n=5",
        "+0.0 ± 2.5, n=3",
        "+3.0, n=2",
    ]
    seeds = [found for found in axes.collections if isinstance(found, PathCollection)]
    assert [len(found.get_offsets()) for found in seeds] == [5, 3, 2]
    colours = [line.get_color() for line in axes.lines if line.get_marker() == "o"]
    assert colours[0] != colours[1] == colours[2]


@pytest.mark.parametrize("scale, text", [(1, "+2.0 ± 2.5"), (0.01, "+0.020 ± 0.025")])
def test_paired_differences_show_two_digits_of_the_half_width(scale, text):
    axes = plots.plot_differences({"any": [1.0 * scale, 2.0 * scale, 3.0 * scale]})
    assert [found.get_text() for found in axes.texts] == [f"{text}, n=3"]


def test_a_mean_that_rounds_to_zero_has_no_minus():
    axes = plots.plot_differences({"wide": [-10.4, 0.0, 10.1]})
    assert [found.get_text() for found in axes.texts] == ["+0 ± 25, n=3"]


def test_equal_paired_differences_have_an_interval_of_no_width():
    axes = plots.plot_differences({"equal": [0.5, 0.5, 0.5]})
    assert [found.get_text() for found in axes.texts] == ["+0.5 ± 0.0, n=3"]


def test_a_notebook_shows_two_pixels_per_point_and_nothing_of_an_empty_figure():
    figure, axes = plt.subplots(figsize=(2, 1), dpi=80)
    axes.plot([1, 2])
    picture, size = plots.sharp_png(figure)
    assert 140 < size["width"] < 180
    assert picture.startswith(b"\x89PNG")
    # Width and height of a PNG are the two numbers after its first chunk's name.
    width = int.from_bytes(picture[16:20], "big")
    assert width // 2 == size["width"]
    assert plots.sharp_png(plt.figure()) is None


def test_in_a_notebook_the_picture_saved_is_the_one_shown_drawn_once(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "_notebook", lambda: "a shell")
    print_figure = pylabtools.print_figure
    monkeypatch.setattr(
        pylabtools, "print_figure", lambda *a, **k: drawn.append(1) or print_figure(*a, **k)
    )
    axes = plots.plot_bars({"ER": [40.0]})

    def saved():
        plots.save_figure(axes.figure, "bars", tmp_path)
        shown, _ = plots.sharp_png(axes.figure)
        assert (tmp_path / "bars.png").read_bytes() == shown
        return shown

    pictures = [saved()]
    assert len(drawn) == 1
    # whatever changes of it, and at whatever depth, it is drawn again
    changes = [
        lambda: axes.patches[0].set_color("red"),
        lambda: axes.set_xlabel("something else"),
        lambda: axes.text(0.1, 0.1, "a note"),
        lambda: axes.tick_params(labelsize=14),
        lambda: axes.figure.suptitle("a title"),
        lambda: axes.figure.set_size_inches(3, 3),
    ]
    for count, change in enumerate(changes, start=2):
        change()
        pictures.append(saved())
        assert len(drawn) == count
    assert len({*pictures}) == len(pictures)


def test_a_line_goes_through_the_means_of_the_seeds():
    axes = plots.plot_against(
        {"P": {0.5: [10, 20], 0.1: [4, 6]}, "G": {0.1: [1]}},
        xlabel="temperature",
        mark=("usual", 0.09),
    )
    # The two names stand 0.012 of the axis beside one another.
    low, high, g = 0.0976, 0.4976, 0.1024
    drawn = {"P": [(low, 5), (high, 15)], "G": [(g, 1)], "usual": [(0.09, 0), (0.09, 1)]}
    check(axes, lines=drawn, legend=["P", "G", "one seed", "usual"])
    expected = [(low, 4), (low, 6), (high, 10), (high, 20), (g, 1)]
    assert np.array(dots(axes)) == pytest.approx(np.array(expected))


def test_each_x_of_a_logarithmic_axis_is_labelled():
    values = {"P": {1 / 16: [1], 0.3: [2]}, "G": {1 / 8: [1]}}
    axes = plots.plot_against(values, xlabel="temperature", log=True)
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.0625", "0.125", "0.3"]
    assert not len(axes.get_xticks(minor=True))
