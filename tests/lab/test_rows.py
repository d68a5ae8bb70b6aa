import pytest
from example_records import failed, make, run

import relcl_lib.lab.rows as rows_module
from relcl_lib.lab.format import TableError
from relcl_lib.lab.rows import (
    Cell,
    Row,
    Table,
    entries,
    parse_setting,
    printed_names,
    rows_without_paper,
)

# --- the papers' tables -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paper", "lines"),
    [("crecl", 220), ("fastre", 230), ("docre_ii", 206), ("drl", 98), ("hpcr", 695)],
)
def test_every_paper_table_is_valid(paper, lines):
    found = entries(paper)
    assert len(found) == lines
    assert all(isinstance(entry.value, float) and isinstance(entry.std, float) for entry in found)


def test_one_table():
    assert {entry.table for entry in entries("hpcr", "Table III")} == {"Table III"}
    found = entries("hpcr", "Table III", "Split CIFAR10")
    (cell,) = [e for e in found if (e.setting, e.method) == ("buffer=200", "HPCR")]
    assert (cell.value, cell.std) == (53.4, 1.4)


def test_unknown_paper_and_table_list_the_known_ones():
    with pytest.raises(TableError, match="crecl, docre_ii, drl, fastre, hpcr"):
        entries("pcr")
    with pytest.raises(TableError, match="Table II, Table III, Table IV"):
        entries("hpcr", "Table 3")


HEADER = "table,dataset,setting,method,metric,value,std\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table,value\nT,1\n", "columns"),
        ("", "cannot be read"),
        (HEADER + "T,d,s,m,F1,1\n", "line 2 has 6 columns"),
        (HEADER + "T,d,s,m,F1,1,2,3\n", "line 2 has 8 columns"),
        (HEADER + "T,d,s,m,F1,abc,\n", "numbers"),
        (HEADER + "T,d,s,m,F1,,\n", "numbers"),
        (HEADER + "T,d,s,m,F1,inf,\n", "finite"),
        (HEADER + "T,d,s,m,F1,1,-2\n", "negative"),
        (HEADER + "T,d,s,m,F1,1,\nT,d,s,m,F1,2,\n", "line 3 repeats"),
    ],
)
def test_bad_table_files(tmp_path, monkeypatch, text, message):
    folder = tmp_path / "data" / "paper_tables"
    folder.mkdir(parents=True)
    (folder / "x.csv").write_text(text)
    monkeypatch.setattr(rows_module, "packaged_data", lambda: tmp_path / "data")
    with pytest.raises(TableError, match=message):
        entries("x")


def test_settings():
    assert parse_setting("buffer=1000;ResNet18-nf64;mem_batch=64;tau=0.1;x=none") == {
        "buffer": 1000,
        "ResNet18-nf64": True,
        "mem_batch": 64,
        "tau": 0.1,
        "x": "none",
    }
    assert parse_setting("") == {}


# --- cells ------------------------------------------------------------------------------------


def test_cells_at_every_memory_size_and_for_their_data_sets():
    cells = (Cell("IID", memory=False), Cell("ER"), Cell("HPCR", {"ht": "off"}, only=("mnist",)))
    table = Table("Table 1", cells, memory="buffer_size")
    assert table.runs("cifar10", (100, 200)) == [
        {"dataset": "cifar10", "method": "IID", "buffer_size": 100},
        {"dataset": "cifar10", "method": "ER", "buffer_size": 100},
        {"dataset": "cifar10", "method": "ER", "buffer_size": 200},
    ]
    once = Table("Table 2", cells[1:], memory="buffer_size", every_size=False)
    assert [run["buffer_size"] for run in once.runs("mnist", (100, 200))] == [100, 100]
    assert once.runs("mnist", (5,))[1] == {
        "dataset": "mnist",
        "method": "HPCR",
        "buffer_size": 5,
        "ht": "off",
    }
    assert Table("Table 3", (Cell("CRECL"),)).runs("fewrel") == [
        {"dataset": "fewrel", "method": "CRECL"}
    ]


def test_a_printed_name_may_stand_for_several_methods():
    one = Table("one", (Cell("A", prints=("x", "y")), Cell("A", {"b": 1}, prints=("x",))))
    other = Table("other", (Cell("B", prints=("x",)), Cell("C")))
    assert printed_names([one, other]) == {"x": ("A", "B"), "y": ("A",)}


# --- rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "matches"),
    [
        (run(), True),
        (run(more={"lr": 0.1}), True),
        (run(more={"ht_period": 500}), True),
        (run(more={"ht_period": 50}), False),
        (run(buffer_size=100), False),
        (make(method="HPCR", metrics={"A_T": 51.0}, parameters={}), False),
        (run(method="PCR"), False),
        (run(variant="paper"), False),
        (run(experiment="ablation"), False),
        (run(dataset={"name": "cifar10"}), False),
        (run(dataset={"name": "cifar10", "stream": "Split CIFAR100"}), False),
        (make(method="HPCR", metrics={"AAA": 60.0}), False),
        (failed(method="HPCR"), True),
        (run(inputs={"start_from": "ab12"}), False),
        (run(inputs={"encoder": "ab12"}), True),
    ],
)
def test_matching(record, matches):
    (entry,) = [
        entry
        for entry in entries("hpcr", "Table III", "Split CIFAR10")
        if (entry.setting, entry.method) == ("buffer=200", "HPCR")
    ]
    row = Row.of(
        entry,
        where_dataset={"stream": "Split CIFAR10"},
        where_parameters={"buffer_size": 200},
        usual={"ht_period": 500, "buffer_size": 1000},
        experiment="split_cifar10",
        variant="released",
    )
    assert (row.table, row.our_metric) == ("Table III", "A_T")
    assert row.matches(record) is matches


def test_what_stands_in_no_table_has_a_row_per_metric():
    digits = run(dataset={"name": "digits", "stream": "Split digits"})
    row = Row("T", "d", "s", "HPCR", "A_T", where_dataset={"stream": "Split CIFAR10"})
    found = rows_without_paper([digits, run()], [row])
    assert {(r.dataset, r.setting) for r in found} == {("Split digits", "buffer=200")}
    assert [r.metric for r in found] == ["A_T", "AAA", "F_T", "F_T_released"]
    assert all(r.matches(digits) and not r.matches(run()) for r in found)
