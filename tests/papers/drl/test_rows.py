"""Which records stand in DRL's tables: CORe50's only, with the setting that is printed."""

import pytest
from example_records import make

from relcl_lib.lab.compare import compare, comparison, comparison_names
from relcl_lib.lab.rows import read_paper_table
from relcl_lib.papers.drl.cells import TABLES
from relcl_lib.papers.drl.parameters import DrlParameters
from relcl_lib.papers.drl.rows import (
    FIGURE2_METRICS,
    MEASURED,
    MEASURED_FIGURE2,
    METRICS,
    all_drl_rows,
    drl_figure2_rows,
    drl_rows,
    drl_stand_in_rows,
)

SCORES = {"avg_valid_acc": 80.0, "test_acc": 89.0, "ram_mb": 900.0, "time_min": 12.0}


def record(track="NI", name="core50", network="ResNeSt50", **given):
    chosen = DrlParameters.create(given, track=track, profile="full").resolved()
    parameters = chosen.model_dump(exclude={"seeds", "method", "variant", "dataset", "track"})
    return make(
        paper="drl",
        experiment=f"{track.lower().replace('-', '_')}_core50",
        method=chosen.method,
        variant=chosen.variant,
        dataset={"name": name, "track": track},
        parameters={**parameters, "network": network},
        metrics=SCORES,
        accuracy_matrix=None,
    )


def matching(record):
    return [row for row in all_drl_rows() if row.matches(record)]


@pytest.mark.parametrize(
    "track, table, value",
    [("NI", "Table 1", 0.89), ("Multi-Task-NC", "Table 2", 0.97), ("NIC", "Table 3", 0.89)],
)
def test_what_was_submitted_is_the_last_row_of_its_table(track, table, value):
    rows = matching(record(track, backbone="timm/resnest50d.in1k"))
    assert {row.table for row in rows} == {table}
    assert len({row.setting for row in rows}) == 1
    assert {row.metric for row in rows} == set(SCORES)
    last = read_paper_table("drl", table).iloc[-1]
    assert rows[0].setting == last.setting
    (accuracy,) = [row for row in rows if row.metric == "test_acc"]
    assert accuracy.paper_scale == 100
    entries = read_paper_table("drl", table)
    chosen = entries[(entries.setting == last.setting) & (entries.metric == "test_acc")]
    assert chosen[chosen.method == "ResNeSt50"]["value"].item() == value


def test_a_resnet_stands_in_its_own_row():
    given = {"method": "Shuffle", "memory_size": 100, "batch_size": 32, "drl_weight": 0.0}
    rows = matching(record(network="ResNet50", **given))
    assert {row.setting for row in rows} == {"mem=100;bs=32;er=Shuffle;lambda=0"}
    assert not matching(record(network="Reduced ResNet-18", **given))


def test_stand_ins_and_other_settings_stay_out():
    assert not matching(record(name="CORe50-standin(cifar10)", backbone="timm/x"))
    for change in ({"order": 1}, {"epochs": 2}, {"limit": 10}, {"drl_weight": 0.5}):
        assert not matching(record(backbone="timm/x", **change))


def stand_in(cell, **changes):
    given = {**cell, **changes}
    track = given.pop("track", "NI")
    name = f"CORe50-standin({given['dataset']})"
    return record(track, name, "Reduced ResNet-18", **given)


@pytest.mark.parametrize("table", MEASURED)
def test_what_the_sweep_runs_on_a_stand_in_has_rows_without_a_printed_number(table):
    cells = TABLES[table]("cifar10", ())
    rows = drl_stand_in_rows(table)
    assert len({(row.setting, row.method, row.metric) for row in rows}) == len(rows)
    assert len(rows) == 2 * len(cells)
    for cell in cells:
        found = [row for row in rows if row.matches(stand_in(cell))]
        assert {row.metric for row in found} == {"avg_valid_acc", "test_acc"}
        assert len(found) == 2
        assert not [row for row in rows if row.matches(stand_in(cell, epochs=2))]
    shown = compare("drl", rows, [stand_in(cells[0])], only_run=True)
    assert shown["paper"].isna().all() and len(shown) == 2


def test_rows_of_the_main_tables_keep_other_forms_of_the_loss_out():
    cell = TABLES["table1"]("cifar10", ())[-4]
    assert (cell["method"], cell["drl_weight"]) == ("BER", 2e-4)
    assert matching(stand_in(cell))
    for change in ({"loss": "later"}, {"taps": "all"}):
        assert not matching(stand_in(cell, **change))


def test_every_number_has_a_row():
    rows = [row for row in all_drl_rows() if not row.table.startswith("Measured")]
    entries = read_paper_table("drl")
    keys = {(row.table, row.dataset, row.setting, row.method, row.metric) for row in rows}
    assert len(keys) == len(rows) == len(entries)
    assert keys == set(
        entries[["table", "dataset", "setting", "method", "metric"]].itertuples(
            index=False, name=None
        )
    )
    assert {metric for metric, _ in METRICS.values()} <= set(SCORES)


def test_figure_1():
    kinds = ("features", "representations")
    scores = {f"r_{kind}_{pairs}": 0.5 for kind in kinds for pairs in ("same", "different")}
    found = make(
        paper="drl",
        experiment="figure1",
        method="MLP 2x100",
        dataset={"name": "mnist", "set": "MNIST-{7,9}"},
        parameters={"classifier": "closest"},
        metrics={**scores, "test_acc": 96.0},
        accuracy_matrix=None,
    )
    rows = matching(found)
    assert len(rows) == 5 == len({row.our_metric for row in rows})
    assert all(row.paper_scale == 1 for row in rows)
    assert len(drl_rows("Figure 1")) == 10


def figure_2(weight, seed=0, experiment="figure2", name="mnist", **changes):
    given = {"dataset": "mnist", "track": "Disjoint", "drl_weight": weight, **changes}
    chosen = DrlParameters.create(given, profile="full").resolved()
    parameters = chosen.model_dump(exclude={"seeds", "method", "variant", "dataset", "track"})
    return make(
        paper="drl",
        experiment=experiment,
        method=chosen.method,
        dataset={"name": name, "track": "Disjoint"},
        parameters={**parameters, "network": "MLP 2x100", "samples": 150},
        seed=seed,
        metrics=dict.fromkeys(FIGURE2_METRICS, 100 * weight + seed),
        accuracy_matrix=None,
    )


def test_figure_2_shows_both_weights_without_a_printed_number():
    records = [figure_2(weight, seed) for weight in (0.0, 1e-3) for seed in (0, 1, 2)]
    assert comparison_names(records) == ["drl/measured-figure-2/mnist-disjoint"]
    frame = comparison("drl/measured-figure-2/run", records)
    assert len(frame) == 2 * len(FIGURE2_METRICS) == len(drl_figure2_rows())
    assert set(frame["metric"]) == set(FIGURE2_METRICS)
    assert frame["paper"].isna().all() and (frame["n"] == 3).all()
    for setting, mean in (("lambda=0", 1.0), ("lambda=0.001", 1.1)):
        found = frame[frame["setting"] == setting]
        assert found["ours"].tolist() == pytest.approx([mean] * len(FIGURE2_METRICS))
        assert found["ours_pm"].gt(0).all()


def test_other_runs_stay_out_of_figure_2():
    assert {row.table for row in matching(figure_2(1e-3))} == {MEASURED_FIGURE2}
    assert not matching(figure_2(0.5))
    assert not matching(figure_2(1e-3, name="CORe50-standin(digits)"))
    assert not matching(figure_2(1e-3, experiment="disjoint_mnist"))
    for change in ({"limit": 500}, {"loss": "later"}, {"taps": "logits"}, {"epochs": 2}):
        assert not matching(figure_2(1e-3, **change))
