import re
import subprocess
import sys

import pytest
from example_records import make, run

from relcl_lib.__main__ import main as relcl
from relcl_lib.commands.tables import (
    NO_RECORDS,
    comparison,
    comparison_names,
    main,
    results_block,
    summary_block,
)
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.format import TableError
from relcl_lib.lab.records import read_records, write_record


def block(name):
    return f"<!-- table:{name} -->old<!-- /table:{name} -->"


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
    assert "53.4 ± 1.4  51.0" in out and "n = 1" in out


@pytest.mark.parametrize(
    "runs, chosen",
    [
        # (protocol, seeds, accuracy): the nearest to the paper's that has three seeds
        ([("paper", 3, 50.0), ("reduced", 7, 40.0)], 50.0),
        ([("paper", 2, 50.0), ("reduced", 7, 40.0)], 40.0),
        ([("paper", 2, 50.0), ("reduced", 1, 40.0)], 50.0),
        ([("reduced", 4, 40.0), ("stand-in", 9, 30.0)], 40.0),
        ([("reduced", 3, 40.0), ("reduced", 4, 45.0)], 45.0),
    ],
)
def test_the_summary_has_the_nearest_to_the_papers_protocol(runs, chosen):
    records = [
        run(seed, a_t=value, more={"alpha": float(place)}, protocol=protocol)
        for place, (protocol, seeds, value) in enumerate(runs)
        for seed in range(seeds)
    ]
    lines = comparison("summary", [*records, run(0, method="ER")])
    assert lines[["table", "method"]].to_numpy().tolist() == [["HPCR, Table III", "HPCR"]]
    assert lines["ours"].tolist() == [chosen]
    assert set(lines["configuration"]) == {""}
    assert comparison("summary", []).empty


def test_the_summary_links_to_the_tables(results):
    text = summary_block(read_records(results))
    assert (
        "| [HPCR, Table III](RESULTS.md#hpcr-table-iii) | Split CIFAR-10, memory 200 | HPCR |"
        in text
    )
    assert "| 53.4 ± 1.4 | 51.0 | -2.4 | 1 | paper |" in text


def test_the_tables_of_a_paper_have_anchors(results):
    text = results_block("hpcr", read_records(results))
    assert [line for line in text.splitlines() if line.startswith("<a")] == [
        f'<a id="hpcr-table-{number}"></a>' for number in ("iii", "v", "vi", "vii")
    ]
    assert "### HPCR, Table V (accuracy averaged over the stream)" in text
    assert results_block("hpcr", []) == NO_RECORDS
    with pytest.raises(TableError, match="results/x; there are: results/hpcr, "):
        results_block("x", [])


def folded(block):
    """The line to open and the bullets of what lies far from the paper, of the first table."""
    found = re.search(r"<summary>(Protocol.*?)</summary>(.*?)</details>", block, re.DOTALL)
    return found[1], found[2].strip().splitlines()


def test_numbers_far_from_the_papers_have_a_reason_or_are_open():
    def runs(method, *values, **changes):
        return [run(s, method, a_t=v, **changes) for s, v in enumerate(values)]

    records = [
        *runs("HPCR", 50.5, 50.6, 50.7),  # 2.8 below
        *runs("ER", 41.7 - 9, 41.7, 41.7 - 9),
        *runs("PCR", 40.1, 40.2, 40.3),
        *runs("SCR", 60.0),
        *runs("ASER", 50.0),
        *runs("MIR", 20.0, 20.1, 20.2, protocol="reduced"),
    ]
    title, reasons = folded(results_block("hpcr", records))
    assert (
        title
        == "Protocol *paper*, more than 3 points from the paper in final accuracy A_T, and why"
    )
    assert reasons == [
        "- **the paper's number lies within our interval:** ER, memory 200 (-6.0)",
        "- **too few seeds to tell:** ASER, memory 200 (+18.4; its public code trains on clean images, "
        "not on two views); SCR, memory 200 (+14.6)",
        "- **open why:** PCR, memory 200 (-10.1)",
    ]
    known = [make(method="PCR", metrics={"F_T": 40.0, "F_T_released": 40.0})]
    title, reasons = folded(results_block("hpcr", known))
    assert title == "Protocol *paper*, more than 3 points from the paper, and why"  # in two metrics
    assert reasons == [
        "- **the released code's definition, in the next column, is nearer:** "
        "*forgetting F_T:* PCR, memory 200 (+20.6)",
        "- **too few seeds to tell:** *forgetting F_T as in the released code:* PCR, memory 200 (+20.6)",
    ]
    near = make(method="HPCR", metrics={"A_T": 51.0})
    assert "more than" not in results_block("hpcr", [near])


def test_no_records(tmp_path, capsys):
    assert main(["--results", str(tmp_path)]) == 0
    assert "no records yet" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--update", "--update-readme"])
def test_files_are_filled_and_checked(results, tmp_path, capsys, option):
    readme, other = tmp_path / "README.md", tmp_path / "RESULTS.md"
    name = "hpcr/table-iii/split-cifar10/200/run"
    empty = "hpcr/table-iii/split-cifar10/5000/run"
    readme.write_bytes(f"± a\r\n{block(name)}\nb{block(empty)}".encode())
    other.write_text(block(name))
    arguments = ["--results", str(results), option, str(readme), str(other)]
    before = readme.read_bytes()
    assert main([*arguments, "--check"]) == 1
    assert readme.read_bytes() == before
    assert main(arguments) == 0
    for path in (readme, other):
        assert "| HPCR | 53.4 ± 1.4 | 51.0 | -2.4 |" in path.read_text(encoding="utf-8")
    assert NO_RECORDS in readme.read_text(encoding="utf-8")
    assert readme.read_bytes().startswith("± a\r\n".encode())
    assert main([*arguments, "--check"]) == 0
    write_record(run(1), results)
    assert main([*arguments, "--check"]) == 1
    assert name in capsys.readouterr().out


def test_the_repositorys_own_files_are_fresh(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(repository_root() / name) for name in ("README.md", "RESULTS.md")
    ]


def test_errors_are_one_line(results, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(block("hpcr/nothing"))
    assert relcl(["tables", "--results", str(results), "--update", str(readme)]) == 2
    assert "hpcr/nothing" in capsys.readouterr().err
    assert relcl(["tables", "--results", str(results), "--update", str(tmp_path / "absent")]) == 2
    readme.write_bytes("café".encode("latin-1"))
    assert relcl(["tables", "--results", str(results), "--update", str(readme)]) == 2
    [_, said] = capsys.readouterr().err.splitlines()
    assert f"{readme}: cannot be read: it is not UTF-8" in said and "Save it as UTF-8" in said
    next(results.rglob("*.json")).write_text("{")
    assert relcl(["tables", "--results", str(results)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit):
        relcl(["tables", "--paper", "hpcr", "--check"])


def test_module_runs_without_torch(tmp_path):
    program = (
        "import sys, runpy; sys.argv = ['tables', '--results', sys.argv[1]]\n"
        "try: runpy.run_module('relcl_lib.tables', run_name='__main__')\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    out = subprocess.run(
        command, cwd=repository_root(), capture_output=True, text=True, check=True
    ).stdout
    assert out.splitlines()[-1] == "0 False"
