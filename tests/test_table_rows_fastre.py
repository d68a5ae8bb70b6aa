from example_records import make

from relcl_lib.fastre_parameters import METHODS, FastreParameters
from relcl_lib.table_rows import paper_rows
from relcl_lib.table_rows_fastre import ABLATIONS, fastre_rows


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
        (row.table, row.setting, row.metric) for row in paper_rows("fastre") if row.matches(record)
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
    assert len(fastre_rows("Table 5", "NYT24")) == 6
