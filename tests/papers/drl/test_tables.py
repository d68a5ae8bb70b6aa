"""The runs of DRL's notebook are those of its tables, and what it shows of them."""

import pytest
from example_records import make

from relcl_lib.commands.sweep import make_cells, parser
from relcl_lib.lab.rows import entries, parse_setting
from relcl_lib.papers.drl.parameters import DrlNotebook, DrlParameters
from relcl_lib.papers.drl.tables import (
    PRINTED,
    STAND_INS,
    TABLES,
    stand_in_rows,
    summary,
    table_run,
)


def swept(table, *words):
    return make_cells(parser().parse_args(["drl", table, *words]))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_sweep_on_core50_runs_exactly_what_the_paper_prints(number):
    """Each row with its network, memory, B, strategy and lambda; 25 in all, none besides."""
    networks = {"microsoft/resnet-50": "ResNet50", "timm/resnest50d.in1k": "ResNeSt50"}
    names = {"memory_size": "mem", "batch_size": "bs", "drl_weight": "lambda"}
    found = []
    for cell in swept(f"table{number}"):
        assert cell["track"] == list(PRINTED)[number - 1]
        setting = {short: cell[name] for name, short in names.items()}
        setting["network"] = networks[cell["backbone"]]
        found.append((cell["method"], *sorted(setting.items())))
    printed = dict.fromkeys(
        (entry.method, *sorted(parse_setting(entry.setting).items()))
        for entry in entries("drl", f"Table {number}")
    )
    assert found == list(printed)
    assert len(found) == {1: 11, 2: 7, 3: 7}[number]


def test_the_printed_er_of_nic_is_the_form_that_soon_replays_nothing():
    for dataset in ("core50", "cifar10"):
        cells = [c for c in swept("table3", "--dataset", dataset) if c["method"] == "ER"]
        assert {DrlParameters.create(c).resolved().er for c in cells} == {"released"}


@pytest.mark.parametrize("base", STAND_INS)
def test_a_stand_in_says_which_of_the_papers_networks_its_one_stands_for(base):
    settings = {}
    for table in ("table1", "table2", "table3"):
        cells = swept(table, "--dataset", base)
        rows = stand_in_rows(table, base, ("test_acc",))
        assert len(rows) == len(cells) and not any("backbone" in cell for cell in cells)
        settings |= {(row.method, row.dataset, row.setting): row for row in rows}
    assert len(settings) == 24  # two rows of Table 2 differ in nothing but the network
    marked = {setting for *_, setting in settings if "for=" in setting}
    assert marked == {
        "mem=1500;bs=16;lambda=0;for=ResNeSt50",
        "mem=1500;bs=16;lambda=0.001;for=ResNeSt50",
        "mem=500;bs=16;lambda=0.0002;for=ResNet50+ResNeSt50",
        "mem=50;bs=32;lambda=1e-05;for=ResNeSt50",
    }


def test_the_control_pairs_every_replay_on_both_tracks_and_changes_lambda_alone():
    cells = swept("control", "--dataset", "cifar10", "--profile", "reduced")
    weights = {}
    for cell in cells:
        rest = {name: value for name, value in cell.items() if name != "drl_weight"}
        weights.setdefault(str(rest), []).append(cell["drl_weight"])
    assert len(weights) == 6
    assert all(found == [0.0, 1e-8, 2e-4, 1e-3, 1e-2] for found in weights.values())


@pytest.mark.parametrize("track", PRINTED)
def test_the_reduced_notebook_runs_what_the_sweep_has_recorded(track):
    """The same parameters, so that a record of the one is found by the other."""
    notebook = DrlNotebook.create(profile="reduced")
    for cell in swept("pairs", "--dataset", "cifar10", "--profile", "reduced"):
        if cell["track"] != track:
            continue
        form = {"er": cell["er"]} if "er" in cell else {}
        ours = table_run(notebook, track, cell["method"], loss=cell["drl_weight"] > 0, **form)
        theirs = DrlParameters.create(cell)
        same = [run.resolved().model_dump(exclude={"profile", "seeds"}) for run in (ours, theirs)]
        assert same[0] == same[1]
        assert ours.seeds == [0, 1, 2]


def test_committed_records_of_the_wider_network_are_found_by_its_width():
    """Those made before the reduced profile had a width of its own."""
    from relcl_lib.lab.records import read_records

    committed = read_records(paper="drl", experiment="ni_standin_cifar10")
    wide = [record for record in committed if record.parameters["width"] == 20]
    assert len(wide) >= 24
    own = TABLES["pairs"].runs("cifar10") + TABLES["gradients"].runs("cifar10")
    for record in wide:
        settings = [
            cell
            for cell in own
            if (cell["track"], cell["method"]) == ("NI", record.method)
            and cell["drl_weight"] == record.parameters["drl_weight"]
        ]
        for cell in settings:
            given = {**cell, "width": 20}
            chosen = DrlParameters.create(given, profile="reduced").resolved().model_dump()
            held = record.parameters
            assert {n: chosen[n] for n in held if n in chosen} == {
                n: v for n, v in held.items() if n in chosen
            }


def test_gradients_of_past_tasks_go_through_their_heads_or_the_live_one():
    cells = swept("gradients", "--dataset", "cifar10")
    forms = {(c["method"], c.get("heads")) for c in cells if c["track"] == "Multi-Task-NC"}
    assert forms == {(m, form) for m in ("GEM", "A-GEM") for form in (None, "task")}
    notebook = DrlNotebook.create(profile="reduced")
    own = table_run(notebook, "Multi-Task-NC", "GEM", loss=False, heads="task")
    assert own.resolved().heads == "task"
    assert table_run(notebook, "Multi-Task-NC", "GEM", loss=False).resolved().heads == "released"


def test_what_the_notebook_was_given_goes_first():
    given = DrlNotebook.create(memory_size=30, batch_size=8)
    run = table_run(given, "NIC", "ER", loss=True)
    assert type(run) is DrlParameters
    assert (run.track, run.method, run.memory_size, run.batch_size) == ("NIC", "ER", 30, 8)
    assert (run.drl_weight, run.er) == (0.01, "paper")
    assert table_run(given, "NIC", "ER", loss=True, er="released").er == "released"
    assert table_run(given, "NIC", "ER", loss=False, batch_size=4).batch_size == 4
    assert table_run(given, "NI", "GEM", loss=False).drl_weight == 0


def test_without_a_weight_the_tables_decide():
    reduced = DrlNotebook.create(profile="reduced")
    assert table_run(reduced, "NI", "BER", loss=True).drl_weight == 2e-4
    assert table_run(reduced, "NI", "BER", loss=False).drl_weight == 0
    more = DrlNotebook.create(profile="reduced", drl_weight=0.5)
    assert table_run(more, "NI", "BER", loss=True).drl_weight == 0.5
    assert table_run(more, "NI", "BER", loss=False).drl_weight == 0
    none = DrlNotebook.create(profile="reduced", drl_weight=0)
    assert table_run(none, "NI", "BER", loss=True).drl_weight == 0


def test_a_summary_has_the_mean_of_the_seeds_and_their_number():
    def record(accuracy):
        scores = {"avg_valid_acc": 50.0, "ram_mb": 812.4, "time_min": 0.0123}
        return make(metrics={"test_acc": accuracy, **scores})

    found = summary({"ER": {"with": [record(80.0), record(81.5)]}, "BER": {"without": [record(7)]}})
    words = ["average validation accuracy (%)", "test accuracy (%)", "minutes", "seeds"]
    assert list(found.columns) == words  # the process's memory is no strategy's
    assert found.loc[("ER", "with")].tolist() == [50, 80.8, 0.012, 2]
    assert found.loc[("BER", "without"), "seeds"] == 1
