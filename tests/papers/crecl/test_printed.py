"""CRECL's printed tables: every number of the paper, and variants with their paired difference."""

import pytest

from relcl_lib.lab.records import read_records, results_root
from relcl_lib.lab.rows import entries
from relcl_lib.papers.crecl import printed, tables


@pytest.fixture(scope="module")
def records():
    return read_records(results_root(), paper="crecl")


def lines(text):
    """Row -> column -> text."""
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.split("\n\n")[0].splitlines()
    ]
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def test_what_was_not_run_stands_there_as_printed():
    shown = lines(printed.beside("Table 1", [], "TACRED"))
    printed_there = entries("crecl", "Table 1", "TACRED")
    accuracies = [e for e in printed_there if e.metric != "relative_improvement_pct"]
    assert len(shown) * len(shown["CRECL"]) == len(accuracies) == 80
    for entry in accuracies:
        assert float(shown[entry.method][entry.setting]) == entry.value


def test_variants_have_their_paired_difference(records):
    shown = lines(printed.parts(records))
    assert list(shown) == ["CRECL", *tables.ABLATIONS]
    ahead = tables.leads(records, "FewRel", "CRECL", "CRECL-CL1", "current")
    mean = sum(by_task["T10"] for by_task in ahead.values()) / len(ahead)
    assert shown["CRECL-CL1"]["last task alone: less CRECL's"].startswith(f"{mean:+.1f} ± ")
    assert shown["CRECL"]["all tasks: less CRECL's"] == "–"


def test_leads_have_a_line_per_seed_and_an_interval(records):
    pairs = (("CRECL", "RP-CRE"), ("RP-CRE", "CRECL+ATM"), ("CRECL", "no such method"))
    shown = lines(printed.leads(records, pairs=pairs))
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
    shown = lines(printed.tried(records))
    scores = [float(texts["T4"]) for texts in shown.values()]
    assert scores == sorted(scores, reverse=True)
    count = sum(r.parameters["validation"] and r.method != "CRECL(C)" for r in records)
    assert len(shown) == count
    assert all((t["M"] == "–") == (t["method"] == "RP-CRE") for t in shown.values())
