from example_records import make

from relcl_lib.lab.compare import compare
from relcl_lib.lab.rows import paper_rows
from relcl_lib.papers.fastre.parameters import METHODS, FastreParameters
from relcl_lib.papers.fastre.rows import ABLATIONS, MEASURED, fastre_data_rows, fastre_rows


def record(method="FastRE", dataset="NYT10", **parameters):
    changes = {"encoder": "bert"} if method == "CasRel" else {}
    settings = FastreParameters(method=method, **changes).resolved()
    held = settings.model_dump(include={"dilations", "gate", "residual", "threshold"})
    return make(
        paper="fastre",
        experiment=dataset.lower(),
        method=method,
        dataset={"name": dataset.lower(), "set": dataset},
        parameters={**held, "type_map": settings.type_map, **parameters},
        metrics={"precision": 70.0, "recall": 60.0, "F1": 64.6, "params_K": 1096.39},
        accuracy_matrix=None,
    )


def matching(record):
    return {
        (row.table, row.setting, row.metric)
        for row in paper_rows("fastre")
        if row.table != MEASURED and row.matches(record)
    }


def test_a_run_of_the_default_network_stands_in_every_table_that_has_it():
    tables = {table for table, *_ in matching(record())}
    assert tables == {"Table 2", "Table 3", "Table 4", "Table 5"}
    assert not any(metric in ("infer_s", "train_min") for *_, metric in matching(record()))
    (row,) = [
        r for r in fastre_rows("Table 2", "NYT10") if r.matches(record()) and r.metric == "f1"
    ]
    assert row.our_metric == "F1"


def test_other_structures_stay_out_of_the_main_tables():
    for dilations in ([1, 2, 4], [1, 2, 4, 8, 16, 32], [1] * 6):
        found = matching(record(dilations=dilations))
        assert {table for table, *_ in found} == {"Table 4"}
        assert len({setting for _, setting, _ in found}) == 1
    found = matching(record("-Dilated Convolution"))
    assert {table for table, *_ in found} == {"Table 4", "Table 5"}


def test_ablations_and_baselines():
    assert set(ABLATIONS) <= set(METHODS)
    for method in ABLATIONS:
        assert "Table 5" in {table for table, *_ in matching(record(method))}
    assert {table for table, *_ in matching(record("CasRel"))} == {"Table 2", "Table 3"}
    assert matching(record(dataset="WebNLG")) == set()
    measured = [row for row in paper_rows("fastre") if row.matches(record(dataset="WebNLG"))]
    assert {(row.table, row.method) for row in measured} == {(MEASURED, "FastRE")}
    assert len(fastre_rows("Table 5", "NYT24")) == 6


def scored(dataset, seed, **changes):
    found = record(dataset=dataset).model_copy(update={"seed": seed, **changes})
    exact = {"precision_exact": 65.0, "recall_exact": 55.0, "F1_exact": 59.6 + seed}
    return found.model_copy(update={"metrics": found.metrics | exact})


def test_a_data_set_of_table_2_stands_beside_it_and_the_exact_match_beside_a_dash():
    records = [scored("NYT10", 0, protocol="reduced"), scored("NYT10", 1, protocol="reduced")]
    frame = compare("fastre", fastre_data_rows("NYT10"), [*records, scored("NYT24", 0)])
    assert frame["table"].tolist() == ["Table 2"] * 3 + ["Measured"] * 3
    assert frame["paper"].tolist()[:3] == [78.0, 70.1, 73.8]
    assert frame["paper"].isna().tolist()[3:] == [True] * 3
    assert frame["metric"].tolist()[3:] == ["precision_exact", "recall_exact", "F1_exact"]
    assert frame["ours"].tolist() == [70.0, 60.0, 64.6, 65.0, 55.0, 60.1]
    assert set(frame["n"]) == {2}
    assert set(frame["protocol"]) == {"reduced"}


def test_a_data_set_the_paper_does_not_report_has_dashes_only():
    frame = compare("fastre", fastre_data_rows("WebNLG"), [scored("WebNLG", 0)])
    assert frame["paper"].isna().all()
    assert frame["setting"].tolist() == ["partial match"] * 3 + ["exact match"] * 3
    assert frame["ours"].tolist()[2::3] == [64.6, 59.6]


def test_ablations_stay_out_of_a_data_sets_rows_and_baselines_can_be_asked_for():
    rows = fastre_data_rows("NYT10", ("FastRE", "CasRel"))
    assert {row.method for row in rows if row.matches(record("CasRel"))} == {"CasRel"}
    assert not any(row.matches(record("-Gated Unit")) for row in rows)
    assert not any(row.matches(record(dilations=[1, 2, 4])) for row in rows)
