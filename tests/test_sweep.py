import pytest

from relcl_lib import sweep
from relcl_lib.records import read_records


def options(*words):
    return sweep.parser().parse_args(["hpcr", *words])


def test_table3_has_every_method_at_every_size_and_memoryless_ones_once():
    cells = sweep.make_cells(options("table3", "--seeds", "0", "1"))
    sizes = {}
    for cell in cells:
        sizes.setdefault(cell["method"], []).append(cell["buffer_size"])
        assert cell["seeds"] == [0, 1]
    assert sizes["HPCR"] == sizes["ER"] == [100, 200, 500]
    assert len(sizes["IID"]) == len(sizes["FINE-TUNE"]) == 1


@pytest.mark.parametrize("table, count", [("table9", 20), ("table10", 6), ("variants", 6)])
def test_other_tables(table, count):
    cells = sweep.make_cells(options(table))
    assert len({sweep.describe(cell) for cell in cells}) == len(cells) == count


def test_chosen_rows_and_sizes():
    cells = sweep.make_cells(options("table7", "--buffers", "200", "--methods", "PCR", "HPCR"))
    assert [cell["method"] for cell in cells] == ["PCR", "HPCR"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["table99"], "one of table3"),
        (["table3", "--methods", "HPRC"], "the rows:"),
        (["table3", "--buffers", "0"], "buffer_size"),
        (["table3", "--seeds", "1", "1"], "seeds must differ"),
    ],
)
def test_wrong_arguments_are_named_before_anything_runs(words, said, capsys):
    assert sweep.main(["hpcr", *words]) == 2
    assert said in capsys.readouterr().err


def test_dry_run_lists_the_cells(capsys):
    assert sweep.main(["hpcr", "table7", "--buffers", "200", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "cifar10 Couple (Eq. 7) (buffer_size=200)" in out


def run_digits(tmp_path, *more):
    words = ["hpcr", "table3", "--dataset", "digits", "--methods", "FINE-TUNE", "--seeds", "0"]
    places = ["--results", str(tmp_path / "results"), "--work-dir", str(tmp_path / "work")]
    return sweep.main([*words, *places, *more])


def test_a_finished_cell_is_read_not_run(tmp_path, capsys):
    assert run_digits(tmp_path) == 0
    assert "task 5/5" in capsys.readouterr().out
    [record] = read_records(tmp_path / "results")
    assert run_digits(tmp_path) == 0
    out = capsys.readouterr().out
    assert "task 5/5" not in out
    assert "[1/1] done: digits FINE-TUNE" in out
    assert read_records(tmp_path / "results") == [record]


def test_a_failing_cell_leaves_the_others_running_and_sets_the_exit_code(tmp_path, capsys):
    assert run_digits(tmp_path, "--device", "cuda:99") == 1
    assert "DeviceError" in capsys.readouterr().out


def test_ray_absent_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(SystemExit, match="pip install"):
        run_digits(tmp_path, "--engine", "ray")
