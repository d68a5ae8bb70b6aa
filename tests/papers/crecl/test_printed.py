"""CRECL's printed tables: every number of the paper, and variants with their paired difference."""

import pytest
from example_records import make
from markdown_tables import read_table

from relcl_lib.lab.records import read_records, results_root
from relcl_lib.lab.rows import entries
from relcl_lib.papers.crecl import printed, tables


@pytest.fixture(scope="module")
def records():
    return read_records(results_root(), paper="crecl")


def test_what_was_not_run_stands_there_as_printed():
    shown = read_table(printed.beside("Table 1", [], "TACRED"))
    printed_there = entries("crecl", "Table 1", "TACRED")
    accuracies = [e for e in printed_there if e.metric != "relative_improvement_pct"]
    assert len(shown) * len(shown["CRECL"]) == len(accuracies) == 80
    for entry in accuracies:
        assert float(shown[entry.method][entry.setting]) == entry.value


def test_variants_have_their_paired_difference(records):
    shown = read_table(printed.parts(records))
    assert list(shown) == ["CRECL", *tables.ABLATIONS]
    ahead = tables.leads(records, "FewRel", "CRECL", "CRECL-CL1", "current")
    mean = sum(by_task["T10"] for by_task in ahead.values()) / len(ahead)
    assert shown["CRECL-CL1"]["last task alone: less CRECL's"].startswith(f"{mean:+.1f} ± ")
    assert shown["CRECL"]["all tasks: less CRECL's"] == "–"


def test_leads_have_a_line_per_seed_and_an_interval(records):
    pairs = (("CRECL", "RP-CRE"), ("RP-CRE", "CRECL+ATM"), ("CRECL", "no such method"))
    shown = read_table(printed.leads(records, pairs=pairs))
    ahead = tables.leads(records)
    each = [f"CRECL less RP-CRE, seed {seed}" for seed in ahead]
    means = [f"{a} less {b}, mean ± half of 95 %, n={len(ahead)}" for a, b in pairs[:2]]
    assert list(shown) == [*each, *means]
    last = [by_task["T10"] for by_task in ahead.values()]
    assert [shown[name]["T10"] for name in each] == [f"{value:+.1f}" for value in last]
    assert shown[means[0]]["T10"] == printed.difference(last)
    other = [
        by_task["T10"]
        for by_task in tables.leads(records, over=pairs[1][1], method="RP-CRE").values()
    ]
    assert shown[means[1]]["T10"] == printed.difference(other)


def test_leads_on_the_last_task_are_its_own(records):
    every = tables.leads(records, "FewRel", "CRECL", "CRECL-CL")
    last = tables.leads(records, "FewRel", "CRECL", "CRECL-CL", "current")
    assert every.keys() == last.keys()
    for seed, by_task in every.items():
        assert by_task.keys() == last[seed].keys() == {f"T{k}" for k in range(1, 11)}
        assert by_task["T1"] == last[seed]["T1"]
        assert by_task["T10"] < 0 < last[seed]["T10"]


def test_a_difference_has_an_interval_where_there_are_seeds():
    assert printed.difference([]) == "–"
    assert printed.difference([2.0]) == "+2.0"
    assert printed.difference([1.0, 3.0, 2.0]) == "+2.0 ± 2.5"


def test_tried_settings_are_of_validation_sentences_in_the_order_of_their_score(records):
    shown = read_table(printed.tried(records))
    scores = [float(texts["T4"]) for texts in shown.values()]
    assert scores == sorted(scores, reverse=True)
    count = sum(r.parameters["validation"] and r.method != "CRECL(C)" for r in records)
    assert len(shown) == count
    assert all((t["M"] == "–") == (t["method"] == "RP-CRE") for t in shown.values())


def grid_run(lambda1, margin, value, of="FewRel", **changes):
    held = {"lambda1": lambda1, "margin": margin, "n_tasks": 4, "validation": True}
    held |= {"epochs_memory": 10, "memory_passes": 10, "learning_rate": 1e-5}
    held |= {"contrast_learning_rate": 4e-5}
    metrics = {"T2": 0.0, "T3": 0.0, "T4": value, "current_T4": 0.0}
    run = {"paper": "crecl", "method": "CRECL", "seed": 1921, "parameters": held}
    return make(**run, metrics=metrics, dataset={"name": "x", "set": of}, **changes)


def test_the_grid_has_a_row_per_lambda1_and_a_column_per_m():
    runs = [
        grid_run(1.0, 0.3, 70.0),
        grid_run(0.5, 0.2, 71.0),
        grid_run(0.5, 0.5, 72.0),
        grid_run(0.3, 0.1, 73.0),
    ]
    others = [
        grid_run(0.9, 0.1, 60.0, tables.SMALL),
        grid_run(0.9, 0.1, 61.0, inputs={"encoder": "of other weights"}),
        grid_run(0.9, 0.1, 62.0).model_copy(update={"seed": 2021}),
    ]
    shown = read_table(printed.grid([*others, *reversed(runs)]))
    columns = ["m = 0.1", "m = 0.2", "m = 0.3", "m = 0.5"]
    rows = {"λ₁ = 0.3": "73.0 – – –", "λ₁ = 0.5": "– 71.0 – 72.0", "λ₁ = 1": " ".join(["70.0"] * 4)}
    expected = {name: dict(zip(columns, row.split(), strict=True)) for name, row in rows.items()}
    assert shown == expected and list(shown) == list(rows)
    assert printed.grid(others[1:2], tables.SMALL) == printed.grid([]) == ""


def test_runs_of_the_grid_and_of_other_data_are_not_among_those_tried():
    chose = grid_run(0.5, 0.3, 70.0, tables.SMALL).model_copy(update={"seed": 2021})
    elsewhere = grid_run(0.5, 0.3, 71.0).model_copy(update={"seed": 2021})
    alone = printed.tried([chose])
    assert len(read_table(alone)) == 1
    assert printed.tried([chose, elsewhere, grid_run(0.3, 0.3, 72.0, tables.SMALL)]) == alone
