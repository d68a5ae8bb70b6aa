"""Check 16 of the CRECL specification, and which records stand beside which printed numbers."""

from pathlib import Path

import pandas as pd
import pytest
from example_records import make

from relcl_lib.lab import compare as tables
from relcl_lib.lab.rows import read_paper_table
from relcl_lib.papers.crecl.cells import variants
from relcl_lib.papers.crecl.parameters import METHODS, CreclParameters
from relcl_lib.papers.crecl.rows import (
    ABLATIONS,
    MEASURED,
    SMALL,
    all_crecl_rows,
    crecl_leads,
    crecl_own_rows,
    crecl_rows,
)

QUOTED_ONLY = {"EA-EMR", "EMAR", "CML"}


def record(method="CRECL", dataset="FewRel", **parameters):
    chosen = CreclParameters.create(profile="full", method=method, **parameters).resolved()
    held = chosen.model_dump(exclude={"seeds", "device", "profile", "data_root", "encoder"})
    return make(
        paper="crecl",
        experiment=dataset.partition(",")[0].lower(),
        method=method,
        variant="paper",
        dataset={"name": dataset.lower(), "set": dataset},
        parameters=held,
        metrics={f"T{k}": 90.0 for k in range(1, 11)},
        accuracy_matrix=None,
    )


def matching(record):
    return {
        (row.table, row.dataset, row.setting) for row in all_crecl_rows() if row.matches(record)
    }


# --- check 16 ------------------------------------------------------------------------------------


def test_the_file_is_complete():
    table = read_paper_table("crecl")
    assert len(table) == 220
    assert table["table"].value_counts().to_dict() == {"Table 1": 180, "Table 2": 40}


@pytest.mark.parametrize("dataset", ["FewRel", "TACRED"])
def test_improvements_follow_from_the_other_rows(dataset):
    table = read_paper_table("crecl", "Table 1")
    wide = table[table["dataset"] == dataset].pivot(
        index="setting", columns="method", values="value"
    )
    baselines = ["EA-EMR", "EMAR", "CML", "EMAR+BERT", "RP-CRE+MA", "RP-CRE"]
    best = wide[baselines].max(axis=1)
    gain = 100 * (wide["CRECL"] - best) / best
    printed = wide["CRECL vs best baseline"]
    assert len(printed) == 10
    assert (gain - printed).abs().max() <= 0.005 + 1e-9


def test_table_2_repeats_table_1():
    two = read_paper_table("crecl", "Table 2").set_index("setting")["value"]
    one = read_paper_table("crecl", "Table 1")
    one = one[(one["dataset"] == "FewRel") & (one["method"] == "CRECL")].set_index("setting")
    expected = pd.Series({f"L=10;{task}": value for task, value in one["value"].items()})
    assert two[expected.index].tolist() == expected.tolist()


# --- rows and records --------------------------------------------------------------------------------


def test_a_default_run_stands_in_both_tables():
    found = matching(record())
    assert {(table, dataset) for table, dataset, _ in found} == {
        ("Table 1", "FewRel"),
        ("Table 2", "FewRel"),
    }
    assert {setting for table, _, setting in found if table == "Table 2"} == {
        f"L=10;T{k}" for k in range(1, 11)
    }


def test_other_memory_sizes_stay_out_of_table_1():
    found = matching(record(memory_size=5))
    assert {(table, setting.partition(";")[0]) for table, _, setting in found} == {
        ("Table 2", "L=5")
    }
    assert matching(record(memory_size=7)) == set()
    assert matching(record(temperature=0.2)) == set()
    assert matching(record(n_tasks=8)) == set()


def test_every_printed_method_is_ours_or_quoted():
    names = {row.method for row in crecl_rows("Table 1")}
    assert names - QUOTED_ONLY <= set(METHODS)
    assert names >= QUOTED_ONLY
    assert len(crecl_rows("Table 1", "TACRED")) == 80
    assert {row.our_metric for row in all_crecl_rows()} == {f"T{k}" for k in range(1, 11)}


def test_ablations_have_no_printed_number():
    for method in ("CRECL-MAG", "CRECL(C)", "JOINT"):
        assert matching(record(method)) == {(MEASURED, "FewRel", "T10")}
    assert matching(record("CRECL-MAG", memory_size=5)) == set()


def test_the_small_stream_has_rows_of_its_own():
    found = matching(record("CRECL", SMALL, n_tasks=4))
    assert found == {(MEASURED, SMALL, "T4")}
    assert matching(record("RP-CRE", SMALL, n_tasks=4, memory_size=5)) == set()


def test_a_comparison_can_be_narrowed_to_a_task():
    records = [record(), record("JOINT")]
    frame = tables.comparison("crecl/table-1/fewrel/t10/run", records)
    assert frame[["method", "setting"]].to_numpy().tolist() == [["CRECL", "T10"]]
    whole = tables.comparison("crecl/table-1/fewrel/t10", records)
    assert set(whole["setting"]) == {"T10"} and len(whole) == 8
    own = tables.comparison("crecl/measured/fewrel/run", records)
    assert own["method"].tolist() == ["JOINT"]
    with pytest.raises(tables.TableError, match="t11"):
        tables.comparison("crecl/table-1/fewrel/t11", records)


def test_the_table_file_lies_where_it_should():
    root = Path(__file__).resolve().parents[3]
    assert (root / "data" / "paper_tables" / "crecl.csv").is_file()


def test_what_the_paper_does_not_print_has_rows_with_a_dash():
    rows = crecl_own_rows(("CRECL", *ABLATIONS, "JOINT"), ("T10", "current_T10"))
    assert len(rows) == 2 * 8
    frame = tables.compare("crecl", rows, [record(name) for name in ABLATIONS])
    assert frame["paper"].isna().all()
    found = frame[frame["setting"] == "T10"].set_index("method")["ours"]
    assert (found[list(ABLATIONS)] == 90).all()
    assert found[["CRECL", "JOINT"]].isna().all()


def test_other_settings_have_lines_of_their_own_where_nothing_is_held():
    records = [record(), record(memory_size=5), record(temperature=0.5)]
    for held, count in ((True, 1), (False, 3)):
        frame = tables.compare("crecl", crecl_own_rows(("CRECL",), ("T1",), held=held), records)
        assert len(frame) == count
        assert (frame["protocol"] == "paper").all()


@pytest.mark.parametrize("change", variants("fewrel", ())[1:], ids=str)
def test_a_row_of_the_method_as_written_leaves_its_variants_out(change):
    kept = {name: value for name, value in change.items() if name not in ("dataset", "method")}
    changed = record(**kept).model_copy(update={"variant": change.get("variant", "paper")})
    for rows in (crecl_rows("Table 1", variant="paper"), crecl_own_rows(("CRECL",), ("T1",))):
        assert any(row.matches(record()) for row in rows)
        assert not any(row.matches(changed) for row in rows)
    everything = crecl_own_rows(("CRECL",), ("T1",), held=False, variant=None)
    assert all(row.matches(changed) for row in everything)


def test_leads_are_within_a_seed():
    def with_score(method, seed, score, **changes):
        made = record(method, **changes)
        metrics = {"T1": score, "T2": score / 2, "current_T1": 0.0}
        return made.model_copy(update={"seed": seed, "metrics": metrics})

    records = [
        with_score("CRECL", 1, 90.0),
        with_score("RP-CRE", 1, 86.0),
        with_score("CRECL", 2, 70.0),
        with_score("RP-CRE", 2, 80.0),
        with_score("CRECL", 3, 99.0),  # its partner failed
        with_score("RP-CRE", 3, 0.0).model_copy(update={"metrics": {}, "note": "failed: killed"}),
        with_score("RP-CRE", 4, 99.0),  # alone
        with_score("CRECL", 4, 50.0, memory_size=5),  # not Table 1's
        with_score("JOINT", 1, 91.0),
    ]
    assert crecl_leads(records) == {1: {"T1": 4.0, "T2": 2.0}, 2: {"T1": -10.0, "T2": -5.0}}
    assert crecl_leads(records, over="JOINT") == {1: {"T1": -1.0, "T2": -0.5}}
    assert crecl_leads(records, over="CRECL", method="JOINT") == {1: {"T1": 1.0, "T2": 0.5}}
    assert crecl_leads(records, dataset="TACRED") == {}
