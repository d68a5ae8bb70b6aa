from types import SimpleNamespace

import pytest
import torch

from relcl_lib.__main__ import main
from relcl_lib.commands import sweep
from relcl_lib.lab.records import read_records
from relcl_lib.papers.crecl.run import CreclRun
from relcl_lib.papers.registry import PAPERS


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
        (["table3", "--set", "learning_rate=1e999"], "learning_rate: Input should be a finite"),
    ],
)
def test_wrong_arguments_are_named_before_anything_runs(words, said, capsys):
    assert main(["hpcr", "sweep", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


def test_the_help_lists_the_tables_of_the_paper_that_was_named(capsys):
    for words, listed in (("hpcr sweep", {"hpcr"}), ("sweep", set(PAPERS))):
        with pytest.raises(SystemExit):
            main([*words.split(), "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert shown.startswith(f"usage: python -m relcl_lib {words} [-h]")
        tables = {name: ", ".join(paper.tables.TABLES) for name, paper in PAPERS.items()}
        assert {name for name in tables if tables[name] in shown} == listed


def test_a_cell_leaves_the_callers_threads_alone(tmp_path):
    before = torch.get_num_threads()
    cell = {"dataset": "digits", "method": "ER", "buffer_size": 0}  # refused when it is created
    outcome = sweep.run_cell("hpcr", cell, str(tmp_path), str(tmp_path), threads=before + 1)
    assert outcome.startswith("failed") and torch.get_num_threads() == before


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    "folder, said", [("", "no image in SESSION/CLASS/"), ("no", "is no folder")]
)
def test_a_data_set_that_cannot_be_read_stops_the_sweep(folder, said, tmp_path, capsys):
    places = ["--results", str(tmp_path / "r"), "--work-dir", str(tmp_path / "w")]
    words = ["--dataset", "own", "--data-root", str(tmp_path / folder), "--methods", "ER"]
    assert main(["drl", "sweep", "pairs", *words, "--seeds", "0", *places]) == 1
    shown = capsys.readouterr().out
    assert shown.count("failed: ") == 1 and said in shown
    assert shown.endswith("the other cells need the same data set: the sweep stops here\n")


def test_what_fails_in_every_cell_is_told_once(monkeypatch, capsys):
    def locally(cells, jobs, **options):
        return (f"failed: {sweep.describe(cell)}: OSError: disk full" for cell in cells)

    monkeypatch.setattr(sweep, "run_locally", locally)
    assert main(["drl", "sweep", "pairs", "--dataset", "digits", "--methods", "ER"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "failed: " in line]
    assert len(lines) > 2 and "OSError: disk full" in lines[0]
    assert all(": as above" in line for line in lines[1:])


def test_one_seed_may_be_set_as_a_number(capsys):
    words = ["hpcr", "table7", "--buffers", "200", "--dry-run"]
    assert sweep.main([*words, "--set", "seeds=3"]) == 0
    as_number = capsys.readouterr().out
    assert sweep.main([*words, "--seeds", "3"]) == 0
    assert capsys.readouterr().out == as_number and ", seed 3" in as_number


def test_dry_run_lists_the_cells(capsys):
    assert sweep.main(["hpcr", "table7", "--buffers", "200", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "cifar10 Couple (Eq. 7) (buffer_size=200)" in out


def run_digits(tmp_path, *more):
    words = ["hpcr", "table3", "--dataset", "digits", "--methods", "FINE-TUNE", "--seeds", "0"]
    places = ["--results", str(tmp_path / "results"), "--work-dir", str(tmp_path / "work")]
    return sweep.main([*words, *places, *more])


@pytest.mark.usefixtures("one_process")
def test_a_failing_cell_leaves_the_others_running_and_sets_the_exit_code(tmp_path, capsys):
    assert run_digits(tmp_path, "--device", "cuda:99") == 1
    assert "DeviceError" in capsys.readouterr().out


def test_more_processes_than_cells_get_a_seed_each(monkeypatch, capsys):
    begun, threads = [], []

    def locally(cells, jobs, **options):
        begun.extend(cells)
        threads.append(options.get("threads"))
        return (sweep.describe(cell) for cell in cells)

    monkeypatch.setattr(sweep, "run_locally", locally)
    table = ["crecl", "table1", "--methods", "CRECL", "JOINT", "--seeds", "5", "7"]
    assert sweep.main([*table, "--jobs", "2"]) == 0
    assert [cell["seeds"] for cell in begun] == [[5, 7], [5, 7]]
    begun.clear()
    assert sweep.main([*table, "--jobs", "3", "--threads", "2"]) == 0
    assert threads == [None, 2]
    assert [(cell["method"], *cell["seeds"]) for cell in begun] == [
        *(("CRECL", 5), ("JOINT", 5), ("CRECL", 7), ("JOINT", 7))
    ]
    assert "[4/4] fewrel JOINT, seed 7" in capsys.readouterr().out
    begun.clear()
    own = ["crecl", "table1", "--methods", "JOINT", "--profile", "reduced", "--jobs", "9"]
    assert sweep.main(own) == 0  # the profile's seeds, as none are given
    assert [cell["seeds"] for cell in begun] == [[2021], [2121], [2221]]
    begun.clear()
    together = ["hpcr", "table3", "--methods", "ER", "PCR", "--buffers", "100", "--seeds", *"01234"]
    for jobs, parts in ((2, [5]), (3, [5]), (4, [3, 2]), (6, [2, 2, 1]), (40, [1] * 5)):
        begun.clear()
        assert sweep.main([*together, "--jobs", str(jobs)]) == 0
        assert [len(cell["seeds"]) for cell in begun] == [n for n in parts for _ in range(2)]
        assert len(begun) <= jobs
        for method in ("ER", "PCR"):
            seeds = [seed for cell in begun if cell["method"] == method for seed in cell["seeds"]]
            assert seeds == [0, 1, 2, 3, 4]


def fastre(*words):
    return sweep.make_cells(sweep.parser().parse_args(["fastre", *words]))


def test_a_table_without_cells_for_a_data_set_says_which_has_them(capsys):
    for table in ("alone", "text"):
        assert main(["docre_ii", "sweep", table, "--dataset", "cdr", "--dry-run"]) == 2
        assert f"{table} has no cells for cdr" in (said := capsys.readouterr().err)
        assert "--dataset synthetic" in said


def test_a_table_is_run_on_the_papers_data_set(capsys):
    for paper, table, dataset in (
        ("hpcr", "table9", "cifar100"),
        ("docre_ii", "text", "synthetic"),
    ):
        assert sweep.main([paper, table, "--dry-run"]) == 0
        _, note, first, *_ = capsys.readouterr().out.splitlines()
        assert f"on {dataset}" in note and first.startswith(dataset)
    assert sweep.main(["hpcr", "table9", "--dataset", "cifar10", "--dry-run"]) == 0
    assert "cifar10 HPCR (buffer_size=100, t_min=0.05" in capsys.readouterr().out.splitlines()[1]


def test_further_parameters_reach_every_cell_with_their_type():
    cells = fastre("table5", "--set", "epochs=3", "min_count=2", "heads=mean", "augment=false")
    for cell in cells:
        assert (cell["epochs"], cell["heads"], cell["augment"]) == (3, "mean", False)


@pytest.mark.parametrize(
    "words, said",
    [
        (["table5", "--set", "epochs"], "NAME=VALUE"),
        (["table5", "--set", "epoch=3"], "epochs"),
        (["table5", "--dataset", "cifar10"], "one of nyt10"),
        (["table5", "--buffers", "5"], "no memory"),
        (["table5", "--set", "dataset=webnlg"], "chosen by --dataset"),
        (["table5", "--profile", "ful"], "choose one of"),
    ],
)
def test_wrong_arguments_of_another_paper(words, said, capsys):
    assert main(["fastre", "sweep", *words]) == 2
    assert said in capsys.readouterr().err


def drl(*words):
    return sweep.make_cells(sweep.parser().parse_args(["drl", *words]))


def test_drl_pairs_are_with_and_without_the_loss():
    cells = drl("pairs", "--dataset", "cifar10")
    for track in ("NI", "Multi-Task-NC", "NIC"):
        for method in ("Shuffle", "ER", "BER"):
            here = [c for c in cells if (c["track"], c["method"]) == (track, method)]
            assert {cell["drl_weight"] for cell in here} == {0.0, 2e-4}
    assert {cell["method"] for cell in drl("gradients")} == {"GEM", "A-GEM", "GSS"}
    assert {cell["method"] for cell in drl("bounds")} == {"FINE-TUNE", "JOINT"}


def test_a_setting_that_the_table_varies_chooses_cells_and_others_change_all(capsys):
    whole = drl("control", "--dataset", "cifar10")
    chosen = drl("control", "--dataset", "cifar10", "--set", "drl_weight=0.0002", "track=NI")
    same = [c for c in whole if (c["drl_weight"], c["track"]) == (2e-4, "NI")]
    assert chosen == same and len(chosen) == 3
    wide = drl("control", "--dataset", "cifar10", "--set", "width=20")
    assert wide == [{**cell, "width": 20} for cell in whole]
    new = drl("control", "--dataset", "cifar10", "--set", "drl_weight=0.5")
    assert {cell["drl_weight"] for cell in new} == {0.5} and len(new) == 6  # none twice
    assert capsys.readouterr().err == "no cell has drl_weight=0.5: all get it\n"
    assert main(["drl", "sweep", "table1", "--buffers", "100"]) == 2
    assert "--set memory_size" in capsys.readouterr().err


def test_rows_are_chosen_before_a_setting_chooses_among_their_cells():
    cells = drl("table1", "--methods", "Shuffle", "--set", "drl_weight=0.0002")
    assert len(cells) == 2 and {c["drl_weight"] for c in cells} == {2e-4}  # the rows with it: ER
    [cell] = crecl("variants", "--methods", "CRECL+ATM", "--set", "batch_size=64")
    assert (cell["attention_memory"], cell["batch_size"]) == ("untrained", 64)


def test_the_help_of_a_paper_lists_its_tables_and_settings(capsys):
    with pytest.raises(SystemExit):
        sweep.parser(["drl", "--help"]).parse_args(["drl", "--help"])
    assert "table1     Table 1, NI" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        sweep.parser(["drl"]).parse_args(["drl", "--settings"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "drl_weight=null" in said and "released, masked, task" in said


def test_drl_on_mnist_has_the_disjoint_stream_only(capsys):
    parameters = PAPERS["drl"].parameters
    for table in ("variants", "lambda"):
        found = {
            parameters.create(cell).resolved().track for cell in drl(table, "--dataset", "mnist")
        }
        assert found == {"Disjoint"}
    assert main(["drl", "sweep", "table1", "--dataset", "mnist"]) == 2
    assert "use Disjoint" in capsys.readouterr().err


def crecl(*words):
    return sweep.make_cells(sweep.parser().parse_args(["crecl", *words]))


def test_crecl_memory_sizes_can_be_chosen():
    cells = crecl("figure4", "--dataset", "tacred", "--buffers", "3", "7")
    assert {(cell["method"], cell["memory_size"]) for cell in cells} == {
        (method, size) for method in ("CRECL", "RP-CRE") for size in (3, 7)
    }
    assert crecl("table1", "--buffers", "3") == crecl("table1")


def test_crecl_progress_is_the_historical_accuracy():
    """Test sets of unequal size, as in TACRED."""
    accuracy = torch.tensor([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]])
    stream = SimpleNamespace(sizes=lambda: [(9, 30), (9, 10), (9, 10)])
    run = SimpleNamespace(done=2, accuracy=accuracy, stream=stream)
    assert CreclRun.score.fget(run) == pytest.approx(100 * (0.5 * 30 + 10) / 40)


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    "words, small, unit, said, count",
    [
        (
            "fastre table5 --dataset synthetic --methods FastRE",
            "train_limit=40 epochs=2 hidden=16 attention_heads=2 vector_size=16 batch_size=4 learning_rate=0.01",
            "epoch 2/2",
            "synthetic FastRE (train_limit=40",
            1,
        ),
        (
            "drl table2 --dataset digits --methods ER",
            "limit=40",
            "experience 5/5",
            "digits ER (track=Multi-Task-NC, memory_size=100",
            2,
        ),
        (
            "crecl table1 --dataset synthetic --methods CRECL-CL",
            "encoder=tiny n_tasks=2 train_limit=2 epochs_classification=1",
            "task 2/2",
            "synthetic CRECL-CL (encoder=tiny",
            1,
        ),
        (
            "hpcr table3 --dataset digits --methods FINE-TUNE",
            "beta=0 stream_batch=100",
            "task 5/5",
            "digits FINE-TUNE",
            1,
        ),
    ],
)
def test_a_cell_runs_and_is_read_again(tmp_path, capsys, words, small, unit, said, count):
    places = ["--results", str(tmp_path / "results"), "--work-dir", str(tmp_path / "work")]
    call = [*words.split(), "--seeds", "0", *places, "--set", *small.split()]
    kept = []
    for word in ("done", "read"):
        assert sweep.main(call) == 0
        out = capsys.readouterr().out
        assert (unit in out) is (word == "done")
        assert f"[1/{count}] {word}: {said}" in out and ", seed 0: " in out
        kept.append(read_records(tmp_path / "results"))
    assert kept[0] == kept[1] and len(kept[0]) == count
