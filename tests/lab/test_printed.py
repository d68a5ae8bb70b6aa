"""What every paper's printed tables share; the layouts themselves are tested with the papers."""

import csv

import pytest
from docre_records import made_up

from relcl_lib.lab.files import packaged_data
from relcl_lib.lab.format import TableError
from relcl_lib.lab.records import read_records, results_root
from relcl_lib.papers.docre_ii import printed, tables


@pytest.fixture(scope="module")
def records():
    return read_records(results_root(), paper="docre_ii")


@pytest.mark.parametrize(
    "table", [name for name in printed.LAYOUTS if name not in ("Table 2", "Table 7")]
)
def test_every_printed_number_is_shown(table, records):
    entries = [row for row in tables.printed_rows(table) if "_all" not in row.our_metric]
    for setting in {row.setting for row in entries}:
        text = printed.with_stand_in(table, [], setting)
        methods = {row.method for row in entries if row.setting == setting}
        methods = {printed.WORDS.get(method, method) for method in methods}
        assert all(method in text for method in methods)
        assert len(text.splitlines()) == 2 + len(methods)
    if table in ("Table 3", "Table 8"):
        assert "CDR" in printed.beside(table, records)


def test_what_stands_behind_a_plus_minus_is_as_printed():
    with (packaged_data() / "paper_tables" / "docre_ii.csv").open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["table"] == "Table 1"]
    printed_with = [f"{line['value']} ± {line['std']}" for line in lines if line["std"]]
    text = printed.with_stand_in("Table 1", [], "dev")
    assert len(printed_with) == 4 and all(f" {each} |" in text for each in printed_with)


def test_a_data_set_as_a_column_stands_there_once(records):
    header = printed.beside("Table 8", records).splitlines()[0]
    assert "CDR" in header and "CDR, CDR" not in header


def test_a_stand_in_has_its_mark_and_its_mean():
    leaky = made_up(70.0, range(4), dataset="redocred", **tables.LEAKY)
    runs = [run for seed in range(2) for run in made_up(60.0 + seed, [seed], dataset="redocred")]
    text = printed.with_stand_in("Table 4", runs)
    base, whole = (line for line in text.splitlines() if line.startswith(("| ATLOP", "| DocRE")))
    assert "50.0 (n=2)†" in base and "61.09" in base
    assert "60.5 (n=2)†" in whole and "62.74" in whole
    assert "stand-in" in text.splitlines()[-1]
    assert "Re-DocRED" not in printed.with_stand_in("Table 4", [])
    # A leaky run's base is a base as any other, its inference stands beside no printed number.
    text = printed.with_stand_in("Table 4", leaky)
    assert "50.0 (n=4)†" in text and "70.0" not in text


def test_unknown_tables_and_rows_are_named(records):
    with pytest.raises(TableError, match="no 'Table 9'"):
        printed.beside("Table 9", records)
    with pytest.raises(TableError, match="no row 'nobody'"):
        printed.TABLES.quoted("Table 8", {"ours": {"nobody": 1.0}})
    shown = printed.TABLES.quoted("Table 8", {"ours": {"w/o ECA": 1.234}})
    assert "1.23" in shown and "70.5" in shown
    assert "Ours" not in shown  # whose? the rows are the paper's


def test_ablations_are_differences_over_common_seeds(records):
    found = printed.ablations(records)
    assert found["paper, CDR"]["whole − without ECA"] == [pytest.approx(73.2 - 70.5)]
    assert len(found["paper, DocRED"]) == 6
    alone = found["ours, inference alone"]
    row = next(
        r
        for r in tables.measured_rows("alone")
        if r.metric == "F1" and r.setting == "N_I=2" and r.method == "w/o ECA"
    )
    scores = {r.seed: r.metrics["F1"] for r in records if row.matches(r)}
    whole = {
        r.seed: r.metrics["F1"]
        for r in records
        if r.method == tables.OURS
        and row.where_parameters.items() - {("attention", "all")} <= r.parameters.items()
    }
    both = scores.keys() & whole.keys()
    assert len(both) >= 3
    assert alone["whole − without ECA"] == pytest.approx(
        [whole[s] - scores[s] for s in sorted(both)]
    )
