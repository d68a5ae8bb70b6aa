import pytest
from example_records import failed, make, run

import relcl_lib.lab.rows as table_rows
from relcl_lib.lab.compare import TableError, compare, hpcr_rows, parse_setting, read_paper_table


def only(frame, method, metric="A_T"):
    return frame[(frame["method"] == method) & (frame["metric"] == metric)]


# --- the papers' tables -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paper", "entries"),
    [("crecl", 220), ("fastre", 230), ("docre_ii", 206), ("drl", 98), ("hpcr", 695)],
)
def test_every_paper_table_is_valid(paper, entries):
    frame = read_paper_table(paper)
    assert len(frame) == entries
    assert tuple(frame.columns) == table_rows.PAPER_COLUMNS
    assert frame["value"].dtype == frame["std"].dtype == "float64"


def test_one_table():
    frame = read_paper_table("hpcr", "Table III")
    assert set(frame["table"]) == {"Table III"}
    cell = frame[
        (frame["dataset"] == "Split CIFAR10")
        & (frame["setting"] == "buffer=200")
        & (frame["method"] == "HPCR")
    ]
    assert cell[["value", "std"]].to_numpy().tolist() == [[53.4, 1.4]]


def test_unknown_paper_and_table_list_the_known_ones():
    with pytest.raises(TableError, match="crecl, docre_ii, drl, fastre, hpcr"):
        read_paper_table("pcr")
    with pytest.raises(TableError, match="Table II, Table III, Table IV"):
        read_paper_table("hpcr", "Table 3")


HEADER = "table,dataset,setting,method,metric,value,std\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table,value\nT,1\n", "columns"),
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
    monkeypatch.setattr(table_rows, "packaged_data", lambda: tmp_path / "data")
    with pytest.raises(TableError, match=message):
        read_paper_table("x")


def test_settings():
    assert parse_setting("buffer=1000;ResNet18-nf64;mem_batch=64;tau=0.1;x=none") == {
        "buffer": 1000,
        "ResNet18-nf64": True,
        "mem_batch": 64,
        "tau": 0.1,
        "x": "none",
    }
    assert parse_setting("") == {}


# --- rows -------------------------------------------------------------------------------------


def test_hpcr_rows_of_table_iii():
    rows = hpcr_rows()
    assert len(rows) == 21
    assert {row.method for row in rows} >= {"IID", "FINE-TUNE", "ER", "PCR", "HPCR"}
    assert len(hpcr_rows(dataset=None, buffer_size=None)) == 222
    assert not hpcr_rows(buffer_size=123, dataset="Split nothing")


@pytest.mark.parametrize(
    ("record", "matches"),
    [
        (run(), True),
        (run(more={"lr": 0.1}), True),
        (run(buffer_size=100), False),
        (run(method="PCR"), False),
        (run(dataset={"name": "cifar10"}), False),
        (run(dataset={"name": "cifar10", "stream": "Split CIFAR100"}), False),
        (make(method="HPCR", metrics={"AAA": 60.0}), False),
        (failed(method="HPCR"), True),
    ],
)
def test_matching(record, matches):
    (row,) = [row for row in hpcr_rows() if row.method == "HPCR"]
    assert row.matches(record) is matches


def test_rows_without_a_memory_match_any_buffer_size():
    (row,) = [row for row in hpcr_rows() if row.method == "IID"]
    assert row.setting == "buffer=none"
    assert row.matches(run(method="IID", buffer_size=0))
    assert row.matches(make(method="IID", parameters={}))


def test_names_of_table_vii():
    frame = compare(
        "hpcr",
        hpcr_rows("Table VII"),
        [run(method="PCR+HT", a_t=51.0), run(method="PCR+HC+HT", a_t=49.0), run(method="PCR+HC")],
    )
    lines = only(frame, "PCR+HC+HT (PCR_CT)")
    assert dict(zip(lines["configuration"], lines["ours"], strict=True)) == {
        "method=PCR+HC+HT": 49.0,
        "method=PCR+HT": 51.0,
    }
    assert only(frame, "PCR+HC (PCR_C)")["n"].tolist() == [1]
    assert only(frame, "PCR_CT+PCD")["n"].tolist() == [0]


def test_every_mapped_name_is_in_the_paper():
    assert set(table_rows.HPCR_METHODS) <= set(read_paper_table("hpcr")["method"])


def test_table_vi_shows_both_definitions_of_forgetting():
    frame = compare("hpcr", hpcr_rows("Table VI"), [run()])
    assert only(frame, "HPCR", "F_T")["ours"].tolist() == [20.0]
    assert only(frame, "HPCR", "F_T_released")["ours"].tolist() == [16.0]
    assert only(frame, "HPCR")["n"].sum() == 0


def test_narrowing():
    records = [run(), run(variant="paper", a_t=49.0), run(experiment="ablation", a_t=1.0)]
    rows = hpcr_rows(variant="paper", experiment="split_cifar10")
    assert only(compare("hpcr", rows, records), "HPCR")["ours"].tolist() == [49.0]
    rows = hpcr_rows(parameters={"lr": 0.1})
    assert only(compare("hpcr", rows, records), "HPCR")["n"].tolist() == [0]


def test_a_sweep_stays_out_of_the_main_tables():
    records = [
        run(0),
        run(1, more={"ht_period": 500, "t_min": 0.05}),
        run(2, more={"ht_period": 50}),
    ]
    lines = only(compare("hpcr", hpcr_rows(), records), "HPCR")
    assert lines["n"].tolist() == [1, 1]
    sweep = compare("hpcr", hpcr_rows("Table X", "Split CIFAR100"), [], only_run=True)
    assert sweep.empty
    stream = {"name": "cifar100", "stream": "Split CIFAR100"}
    records = [run(dataset=stream, more={"ht_period": 50})]
    sweep = compare("hpcr", hpcr_rows("Table X", "Split CIFAR100"), records, only_run=True)
    assert set(sweep["setting"]) == {"S=50"}


def test_settings_of_table_iv():
    stream = {"name": "cifar100", "stream": "Split CIFAR100"}
    more = {"width": 64, "optimizer": "adam", "memory_batch": 64}
    record = run(dataset=stream, buffer_size=1000, more=more)
    rows = hpcr_rows("Table IV", "Split CIFAR100", 1000)
    assert [row.method for row in rows if row.matches(record)] == ["HPCR"]
    assert not any(row.matches(record) for row in hpcr_rows("Table III", "Split CIFAR100", 1000))
