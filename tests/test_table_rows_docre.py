from example_records import make

from relcl_lib.docre_parameters import METHODS, DocreParameters
from relcl_lib.table_rows_docre import ABLATIONS, all_docre_rows, docre_rows

METRICS = ("F1", "IgnF1", "Intra-F1", "Inter-F1", "Infer-F1", "Infer-P", "Infer-R")


def record(method="DocRE-II", dataset="DocRED", **parameters):
    settings = DocreParameters(method=method).resolved()
    held = settings.model_dump(include={"inference_layers", "iterations"})
    metrics = {
        f"{name}{base}{dev}": 50.0
        for name in METRICS
        for base in ("", "_base")
        for dev in ("", "_dev")
    }
    metrics |= {f"{name}_all{base}_dev": 50.0 for name in METRICS for base in ("", "_base")}
    metrics |= {f"F1_K{k}{dev}": 50.0 for k in range(5) for dev in ("", "_dev")}
    metrics |= {"weight_features": 0.03, "weight_relations": 0.02}
    return make(
        paper="docre_ii",
        experiment=dataset.lower(),
        method=method,
        variant="paper",
        dataset={"name": dataset.lower(), "set": dataset},
        parameters={**held, "encoder_type": "bert", **parameters},
        metrics=metrics,
        accuracy_matrix=None,
    )


def matching(found):
    return [row for row in all_docre_rows() if row.matches(found)]


def tables(found):
    return {row.table for row in matching(found)}


def test_the_main_run_stands_in_every_table_of_its_data_set():
    assert tables(record()) == {"Table 1", "Table 2", "Table 4", "Table 6", "Figure 5"}
    assert tables(record(dataset="CDR")) == {"Table 3", "Table 8"}
    assert tables(record(encoder_type="roberta")) == {"Table 5"}
    assert tables(record(dataset="Re-DocRED")) == set()


def test_other_depths_stand_in_the_grid_only():
    rows = matching(record(inference_layers=3))
    assert {row.table for row in rows} == {"Table 2"}
    assert {row.our_metric for row in rows} == {f"F1_K{k}_dev" for k in range(1, 5)}
    assert tables(record(iterations=2)) == {"Table 2"}


def test_the_base_is_found_in_the_run_that_trained_it():
    rows = [row for row in matching(record()) if row.method.startswith("ATLOP")]
    assert {row.our_metric for row in rows} >= {"F1_base", "F1_base_dev", "IgnF1_base_dev"}
    without = [row for row in matching(record()) if row.method == "w/o Inference module"]
    assert {row.our_metric for row in without} >= {"Infer-F1_base_dev", "Infer-F1_all_base_dev"}
    alone = {row.method for row in matching(record("ATLOP (base)"))}
    assert all(name.startswith(("ATLOP", "w/o Inference")) for name in alone)


def test_splits_are_told_apart():
    for row in docre_rows("Table 1"):
        if row.method == "Ours-BERT":
            assert row.our_metric.endswith("_dev") == (row.setting == "dev")


def test_every_ablation_has_its_row():
    assert set(ABLATIONS) < set(METHODS)
    for method in ABLATIONS:
        assert any(row.method == method for row in matching(record(method)))


def test_rows_of_table_6_come_in_both_readings():
    rows = [r for r in docre_rows("Table 6") if r.method == "Ours-BERT" and r.metric == "Infer-F1"]
    assert [row.our_metric for row in rows] == ["Infer-F1_dev", "Infer-F1_all_dev"]
