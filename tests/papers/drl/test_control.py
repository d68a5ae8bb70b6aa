"""The control: runs of one seed at several lambda, by their differences."""

import math

import pytest
from example_records import make
from matplotlib.collections import PathCollection

from relcl_lib.lab.metrics import mean_and_half
from relcl_lib.papers.drl import control, figures
from relcl_lib.papers.drl.tables import SHARE


def record(method, weight, seed, accuracy, track="NI", width=8, curves=None, **more):
    held = {"memory_size": 100, "batch_size": 16, "drl_weight": weight, "loss": "released"}
    held |= {"taps": "logits", "network": "Reduced ResNet-18", "width": width, **more}
    return make(
        paper="drl",
        experiment=f"{track.lower()}_standin",
        method=method,
        seed=seed,
        protocol="stand-in",
        dataset={"name": "CORe50-standin(cifar10)", "track": track},
        parameters=held,
        metrics={"test_acc": accuracy, "avg_valid_acc": accuracy / 2},
        accuracy_matrix=None,
        curves=curves,
    )


def runs():
    found = [record("ER", 0.0, seed, 40.0 + seed) for seed in range(4)]
    found += [record("ER", 2e-4, seed, 42.0 + 2 * seed) for seed in (0, 1, 2, 7)]
    found += [record("ER", 1e-8, 0, 39.0)]
    found += [record("BER", 0.0, 0, 50.0, "Multi-Task-NC"), record("BER", 0.01, 1, 60.0)]
    found += [record("ER", 0.0, 0, 70.0, width=20), record("ER", 2e-4, 0, 71.0, width=20)]
    # Another setting pairs with none of them.
    found += [record("ER", 1e-3, 0, 99.0, memory_size=300), record("ER", 1e-3, 0, 98.0, epochs=2)]
    # So does another rate, though all of its runs are there.
    found += [
        record("ER", weight, seed, seed * 1e4 * weight, learning_rate=0.03)
        for weight in (0.0, 2e-4)
        for seed in range(5)
    ]
    return [
        *found,
        record("ER", 1e-2, 0, 0.0).model_copy(update={"metrics": {}, "note": "failed: x"}),
    ]


def test_only_seeds_in_common_of_runs_that_differ_in_nothing_else_are_paired():
    found = control.differences(runs(), metrics=("test_acc",))
    assert [(d.track, d.width, d.strategy, d.weight, d.gains) for d in found] == [
        ("NI", 8, "ER", 1e-8, (-1.0,)),
        ("NI", 8, "ER", 2e-4, (2.0, 3.0, 4.0)),
        ("NI", 20, "ER", 2e-4, (1.0,)),
    ]


def test_each_form_is_paired_with_no_loss_by_seed_and_width():
    cells = {0: [("released", "logits", 0.0, 30.0)], 2: [], 5: [("dev", "all", 1e-3, 90.0)]}
    cells[0] += [("dev", "all", 1e-3, 20.0), ("released", "logits", 1e-5, 33.0)]
    cells[2] += [("released", "logits", 0.0, 40.0), ("dev", "all", 1e-3, 24.0)]
    found = [
        record("BER", weight, seed, accuracy, loss=loss, taps=taps)
        for seed, runs_of_seed in cells.items()
        for loss, taps, weight, accuracy in runs_of_seed
    ]
    found.append(record("BER", 1e-3, 0, 1.0, width=20, loss="later", taps="logits"))
    assert control.form_gains(found, 8, metric="test_acc") == {
        "dev, all layers, λ = 0.001": [-10.0, -16.0],
        "released, logits, λ = 1e-05": [3.0],
    }
    assert control.form_gains(found, 20) == {}


def test_the_table_has_an_interval_from_three_seeds_on():
    frame = control.table(runs())
    assert frame.loc[("NI", 8, "ER", "0.0002"), "test accuracy (points more)"] == "+3.0 ± 2.5"
    average = "average validation accuracy (points more)"
    assert frame.loc[("NI", 8, "ER", "0.0002"), average] == "+1.5 ± 1.2"
    assert frame.loc[("NI", 8, "ER", "1e-08")].tolist() == ["-0.5", "-1.0", 1]
    assert control.table([]).empty
    mean, half = mean_and_half(control.differences(runs())[0].gains)
    assert (mean, math.isnan(half)) == (-0.5, True)


def test_what_is_missing_is_counted():
    assert control.missing([], 8) == "no records yet at width 8: all of the comparisons"
    assert control.missing(runs(), 8) == "no records yet at width 8: 22 of 24 of the comparisons"
    every = [
        record(strategy, weight, 0, 50.0, track)
        for track in control.TRACKS
        for strategy in ("Shuffle", "ER", "BER")
        for weight in (0.0, 1e-8, 2e-4, 1e-3, 1e-2)
    ]
    assert control.missing(every, 8) == ""


def test_the_figure_has_each_seed_and_the_mean_in_its_place():
    axes = figures.control(runs()).axes
    assert [axis.get_title() for axis in axes] == ["NI", "Multi-Task-NC", "", ""]
    validation, test = axes[0], axes[2]
    for axis, scale in ((validation, 0.5), (test, 1.0)):
        seeds = [c for c in axis.collections if isinstance(c, PathCollection)]
        dots = [tuple(point) for found in seeds for point in found.get_offsets().tolist()]
        assert {round(y, 6) for _, y in dots} == {scale * y for y in (-1.0, 2.0, 3.0, 4.0)}
        assert {round(x) for x, _ in dots} == {0, 1}  # 1e-8, then 2e-4
    assert validation.get_ylim() == axes[1].get_ylim()  # each row has a scale


def test_shares_are_means_over_seeds_of_one_configuration():
    found = [
        record("ER", 2e-4, seed, 50.0, curves={"validation": [1.0, 2.0], SHARE: [share, 0.5]})
        for seed, share in ((0, 0.4), (1, 0.8))
    ]
    found += [record("ER", 1e-8, 0, 50.0, curves={"validation": [1.0, 2.0], SHARE: [1e-9, 1e-9]})]
    figure = figures.shares(found)
    ni, nc = figure.axes
    said = "CIFAR-10 in CORe50's sessions, ER, width 8, from the committed records"
    assert figure.get_suptitle() == said
    (line,) = ni.lines
    assert line.get_ydata() == pytest.approx([0.6, 0.5])
    assert "n=2" in line.get_label()
    assert "no records yet" in nc.texts[0].get_text()
