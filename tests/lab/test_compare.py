import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from example_records import failed, make, run

import relcl_lib.lab.compare as tables
from relcl_lib.lab.compare import (
    Row,
    TableError,
    compare,
    comparison,
    comparison_names,
    format_markdown,
    hpcr_rows,
    main,
    rows_without_paper,
    summary_rows,
)
from relcl_lib.lab.records import write_record

ROOT = Path(tables.__file__).parents[2]


def block(name):
    return f"<!-- table:{name} -->old<!-- /table:{name} -->"


def only(frame, method, metric="A_T"):
    return frame[(frame["method"] == method) & (frame["metric"] == metric)]


# --- the comparison ---------------------------------------------------------------------------


def test_mean_interval_and_difference():
    records = [run(seed, a_t=value) for seed, value in enumerate((51.0, 50.0, 52.0))]
    frame = compare("hpcr", hpcr_rows(), records)
    assert tuple(frame.columns) == tables.COMPARE_COLUMNS
    (line,) = only(frame, "HPCR").to_dict("records")
    assert (line["paper"], line["paper_pm"], line["n"]) == (53.4, 1.4, 3)
    assert line["ours"] == pytest.approx(51.0)
    assert line["ours_pm"] == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)
    assert line["difference"] == pytest.approx(-2.4)
    assert line["protocol"] == "paper"
    (other,) = only(frame, "ER").to_dict("records")
    assert (other["protocol"], other["n"]) == ("not run", 0)
    assert math.isnan(other["ours"])


def test_protocols_are_never_mixed():
    records = [run(0, a_t=50.0), run(0, a_t=30.0, protocol="reduced"), run(1, a_t=52.0)]
    lines = only(compare("hpcr", hpcr_rows(), records), "HPCR")
    assert dict(zip(lines["protocol"], lines["ours"], strict=True)) == {
        "paper": 51.0,
        "reduced": 30.0,
    }
    assert set(lines["configuration"]) == {""}


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"more": {"alpha": 1.0}}, "alpha=1"),
        ({"more": {"dataset": "x", "method": "y"}}, "dataset=x, method=y"),
        ({"backbone": "tiny"}, "backbone=tiny"),
        ({"experiment": "ablation"}, "experiment=ablation"),
        (
            {"dataset": {"name": "cifar10", "stream": "Split CIFAR10", "fingerprint": "f"}},
            "dataset.fingerprint=f",
        ),
    ],
)
def test_configurations_are_never_mixed(changes, label):
    frame = compare("hpcr", hpcr_rows(), [run(0), run(1), run(2, **changes)])
    lines = only(frame, "HPCR")
    assert sorted(lines["n"]) == [1, 2]
    assert label in lines["configuration"].tolist()


def test_the_same_run_twice_is_an_error():
    with pytest.raises(TableError, match="same configuration and seed"):
        compare("hpcr", hpcr_rows(), [run(0), run(0, a_t=40.0)])


def test_failed_runs_are_shown_as_failed_and_never_averaged():
    lost = failed(method="HPCR", parameters={"buffer_size": 200}, seed=5)
    frame = compare("hpcr", hpcr_rows(), [lost], only_run=True)
    assert frame[["method", "protocol"]].to_numpy().tolist() == [["HPCR", "failed"]]
    assert "| failed |" in format_markdown(frame)
    assert only(compare("hpcr", hpcr_rows(), [lost, run(0)]), "HPCR")["n"].tolist() == [1]


def test_only_run_and_other_papers():
    frame = compare("hpcr", hpcr_rows(), [run(), run(paper="drl", method="ER")], only_run=True)
    assert frame["method"].tolist() == ["HPCR"]
    assert compare("hpcr", hpcr_rows(), [], only_run=True).empty


def test_a_fraction_in_the_paper_becomes_per_cent():
    row = Row(
        *("Table 1", "CORe50-NI", "mem=100;bs=32;er=Shuffle;lambda=0", "ResNet50", "test_acc"),
        record_metric="accuracy",
        paper_scale=100.0,
    )
    record = make(paper="drl", method="ResNet50", metrics={"accuracy": 75.0})
    frame = compare("drl", [row], [record])
    assert frame["paper"].tolist() == [79.0]
    assert frame["difference"].tolist() == [pytest.approx(-4.0)]


def test_a_row_the_paper_does_not_have_shows_a_dash():
    digits = run(dataset={"name": "digits", "stream": "Split digits"}, protocol="stand-in")
    rows = rows_without_paper([digits, run()], hpcr_rows())
    assert {row.dataset for row in rows} == {"Split digits"}
    frame = compare("hpcr", rows, [digits, run()])
    assert frame["metric"].tolist() == ["A_T", "AAA", "F_T", "F_T_released"]
    assert frame["n"].tolist() == [1] * 4
    expected = (
        "| Split digits | buffer=200 | HPCR | A_T | – | 51.0 (n=1) | – | stand-in | released |"
    )
    assert expected in format_markdown(frame)


# --- named comparisons ------------------------------------------------------------------------


def test_names_cover_every_record():
    digits = run(dataset={"name": "digits", "stream": "Split digits"}, protocol="stand-in")
    names = comparison_names([run(), digits, make(paper="drl", method="ResNet50")])
    assert names == [
        "drl/other",
        "hpcr/table-iii/split-cifar10/200",
        "hpcr/table-v/split-cifar10/200",
        "hpcr/table-vi/split-cifar10/200",
        "hpcr/table-vii/split-cifar10/200",
        "hpcr/other",
    ]
    assert comparison_names([]) == []
    assert comparison_names([run(method="IID")]) == ["hpcr/table-iii/split-cifar10/none"]


def test_comparison_by_name():
    records = [run(), run(method="IID")]
    assert len(comparison("hpcr/table-iii/split-cifar10/200", records)) == 21
    assert len(comparison("hpcr/table-iii", records)) == 222
    assert len(comparison("hpcr/table-iii/split-cifar10/none", records)) == 3
    assert len(comparison("hpcr/table-iii/split-cifar10/run", records)) == 2
    assert comparison("hpcr/run", records)["table"].nunique() == 4
    for name in (
        "hpcr/table-3",
        "nobody",
        "hpcr/table-iii/split-cifar10/200/x",
        "hpcr/nobody/other",
    ):
        with pytest.raises(TableError, match="is named"):
            comparison(name, records)


# --- the command line -------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    write_record(run(), folder)
    return folder


def test_prints_every_comparison(results, capsys):
    assert main(["--results", str(results)]) == 0
    out = capsys.readouterr().out
    assert "hpcr/table-iii/split-cifar10/200\n" in out
    assert "51.0 (n=1)" in out


def test_the_summary_has_the_most_seeds_of_each_row():
    for paper in tables.TITLES:
        assert summary_rows(paper)  # every row of the summary exists
    shorter = run(3, a_t=10.0, more={"alpha": 1.0})
    lines = comparison("summary", [shorter, run(0), run(1), run(0, method="ER")])
    assert lines[["table", "method", "n"]].to_numpy().tolist() == [["HPCR, Table III", "HPCR", 2]]
    assert set(lines["configuration"]) == {""}
    assert comparison("summary", []).empty


def test_no_records(tmp_path, capsys):
    assert main(["--results", str(tmp_path)]) == 0
    assert "no records yet" in capsys.readouterr().out


def test_readme_is_filled_and_checked(results, tmp_path, capsys):
    readme = tmp_path / "README.md"
    name = "hpcr/table-iii/split-cifar10/200/run"
    empty = "hpcr/table-iii/split-cifar10/5000/run"
    readme.write_bytes(f"± a\r\n{block(name)}\nb{block(empty)}".encode())
    arguments = ["--results", str(results), "--update-readme", str(readme)]
    before = readme.read_bytes()
    assert main([*arguments, "--check"]) == 1
    assert readme.read_bytes() == before
    assert main(arguments) == 0
    assert "| HPCR | A_T | 53.4 ± 1.4 | 51.0 (n=1) |" in readme.read_text(encoding="utf-8")
    assert tables.NO_RECORDS in readme.read_text(encoding="utf-8")
    assert readme.read_bytes().startswith("± a\r\n".encode())
    assert main([*arguments, "--check"]) == 0
    write_record(run(1), results)
    assert main([*arguments, "--check"]) == 1
    assert name in capsys.readouterr().out


def test_errors_are_one_line(results, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(block("hpcr/nothing"))
    assert main(["--results", str(results), "--update-readme", str(readme)]) == 2
    assert "hpcr/nothing" in capsys.readouterr().err
    assert main(["--results", str(results), "--update-readme", str(tmp_path / "absent")]) == 2
    next(results.rglob("*.json")).write_text("{")
    assert main(["--results", str(results)]) == 2
    assert capsys.readouterr().err.count("\n") == 2
    with pytest.raises(SystemExit):
        main(["--paper", "hpcr", "--check"])


def test_module_runs_without_torch(tmp_path):
    program = (
        "import sys, runpy; sys.argv = ['tables', '--results', sys.argv[1]]\n"
        "try: runpy.run_module('relcl_lib.tables', run_name='__main__')\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "0 False"


def test_frames_are_typed():
    frame = compare("hpcr", hpcr_rows(), [run()])
    for name in ("paper", "paper_pm", "ours", "ours_pm", "difference"):
        assert pd.api.types.is_float_dtype(frame[name])
    assert pd.api.types.is_integer_dtype(frame["n"])
