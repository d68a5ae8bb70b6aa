import pytest
from example_records import make

from relcl_lib.lab.compare import comparison
from relcl_lib.papers.docre_ii.cells import TABLES
from relcl_lib.papers.docre_ii.parameters import METHODS, DocreParameters
from relcl_lib.papers.docre_ii.rows import (
    ABLATIONS,
    MEASURED_CELLS,
    all_docre_rows,
    docre_measured_rows,
    docre_rows,
)

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
        parameters={**held, "encoder_type": "bert", "base": "atlop", **parameters},
        metrics=metrics,
        accuracy_matrix=None,
    )


def matching(found):
    return [row for row in all_docre_rows() if row.matches(found)]


def tables(found):
    return {row.table for row in matching(found)}


def test_the_main_run_stands_in_every_table_of_its_data_set():
    assert tables(record()) == {"Table 1", "Table 2", "Table 4", "Table 6", "Figure 5"}
    assert tables(record(dataset="CDR")) == {"Table 3", "Table 8", "Measured"}
    assert tables(record(encoder_type="roberta")) == {"Table 5"}
    assert tables(record(dataset="Re-DocRED")) == {"Measured"}


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


# --- beyond the paper ----------------------------------------------------------------------------


def measured(what, place=0, seed=0, **changes):
    """A record as the sweep's cell makes it, with every metric."""
    table, dataset, name = MEASURED_CELLS[what]
    cell = TABLES[table](dataset, ())[place]
    settings = DocreParameters.create({**cell, "profile": "full"}).resolved()
    values = settings.model_dump(exclude={"encoder", "dataset", "method", "seeds"})
    metrics = ("F1", "AP", "precision", "recall_stated", "recall_inferred")
    return make(
        paper="docre_ii",
        experiment=dataset,
        method=cell["method"],
        variant="paper",
        seed=seed,
        dataset={"name": dataset, "set": name},
        protocol="stand-in",
        parameters={**values, "encoder_type": "bert", **changes},
        metrics={f"{m}{base}": 40.0 + seed for m in metrics for base in ("", "_base")},
        accuracy_matrix=None,
    )


@pytest.mark.parametrize("what", MEASURED_CELLS)
def test_every_cell_has_rows_of_its_own(what):
    table, dataset, _ = MEASURED_CELLS[what]
    rows = docre_measured_rows(what)
    for place, cell in enumerate(TABLES[table](dataset, ())):
        found = [row for row in rows if row.matches(measured(what, place))]
        assert {row.method for row in found} == {cell["method"]}
        generated = {"precision", "recall_stated", "recall_inferred"}
        expected = {"F1", "F1_base"} if dataset != "synthetic" else {"F1", "F1_base"} | generated
        expected |= {"recall_inferred_base"} if what == "synthetic" else set()
        expected |= {"AP", "AP_base"} if what != "alone" else set()
        without = {"F1_base", "AP_base"} if cell["method"] == "w/o pre-training" else set()
        assert {row.metric for row in found} == expected - without
        assert len(found) == len(expected - without)


def test_the_bases_are_never_counted_together():
    for what in MEASURED_CELLS:
        other = "atlop" if what == "alone" else "stated_facts"
        assert matching(measured(what))
        assert not matching(measured(what, base=other))
    for dataset in ("DocRED", "CDR", "Re-DocRED"):
        assert not matching(record(dataset=dataset, base="stated_facts"))
        assert not matching(record(dataset=dataset, base="pooled"))
    assert all(
        row.where_parameters["base"] in ("atlop", "stated_facts") for row in all_docre_rows()
    )


def test_other_runs_on_generated_documents_stay_out():
    assert not matching(measured("synthetic", generated=0))
    assert not matching(measured("alone", generated=4000))
    assert not matching(measured("alone", stage2_epochs=6))
    assert not matching(measured("synthetic", inference_layers=1))


def test_measured_rows_show_a_dash_for_the_paper():
    records = [measured("alone", place, seed) for place in (0, 1) for seed in (0, 1)]
    frame = comparison("docre_ii/measured-inference-alone/synthetic/run", records)
    assert frame["paper"].isna().all()
    assert set(frame["setting"]) == {"N_I=1", "N_I=2"}
    assert set(frame["n"]) == {2} and set(frame["ours"]) == {40.5}
    assert len(frame) == 2 * 5
    for name in ("cdr", "re-docred", "synthetic"):
        assert comparison(f"docre_ii/measured/{name}/run", []).empty
