"""The runs of DRL's notebook are those of its tables, and what it shows of them."""

import pytest
from example_records import make

from relcl_lib.papers.drl.parameters import DrlNotebook, DrlParameters
from relcl_lib.papers.drl.tables import TABLES, TRACK_TABLES, summary, table_run


@pytest.mark.parametrize("track", TRACK_TABLES)
def test_the_reduced_notebook_runs_what_the_sweep_has_recorded(track):
    """The same parameters, so that a record of the one is found by the other."""
    notebook = DrlNotebook.create(profile="reduced")
    for cell in TABLES[TRACK_TABLES[track]].runs("cifar10"):
        form = {"er": cell["er"]} if "er" in cell else {}
        ours = table_run(notebook, track, cell["method"], loss=cell["drl_weight"] > 0, **form)
        theirs = DrlParameters.create(cell, profile="full")
        same = [run.resolved().model_dump(exclude={"profile", "seeds"}) for run in (ours, theirs)]
        assert same[0] == same[1]
        assert ours.seeds == [0, 1, 2]


def test_what_the_notebook_was_given_goes_first():
    given = DrlNotebook.create(memory_size=30, batch_size=8, track="NI", method="BER")
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


def test_a_summary_has_the_mean_of_the_seeds_and_their_number():
    def record(accuracy):
        scores = {"avg_valid_acc": 50.0, "ram_mb": 812.4, "time_min": 0.0123}
        return make(metrics={"test_acc": accuracy, **scores})

    found = summary({"ER": {"with": [record(80.0), record(81.5)]}, "BER": {"without": [record(7)]}})
    assert found.loc[("ER", "with")].tolist() == [80.8, 50, 812, 0.012, 2]
    assert found.loc[("BER", "without"), "n"] == 1
    assert list(found.columns) == ["test_acc", "avg_valid_acc", "ram_mb", "time_min", "n"]
