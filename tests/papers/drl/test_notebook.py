import pytest
from example_records import make

from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.drl.notebook import TRACK_TABLES, DrlNotebook, summary
from relcl_lib.papers.drl.parameters import DrlParameters
from relcl_lib.papers.drl.tables import TABLES


def test_quick_has_three_seeds_and_the_other_profiles_are_the_librarys():
    quick = DrlNotebook.create()
    assert (quick.profile, quick.dataset, quick.seeds) == ("quick", "digits", [0, 1, 2])
    for profile in ("reduced", "full"):
        theirs = DrlParameters.create(profile=profile).model_dump()
        ours = DrlNotebook.create(profile=profile).model_dump()
        assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize("track", TRACK_TABLES)
def test_the_reduced_notebook_runs_what_the_sweep_has_recorded(track):
    """The same parameters, so that a record of the one is found by the other."""
    notebook = DrlNotebook.create(profile="reduced")
    for cell in TABLES[TRACK_TABLES[track]].runs("cifar10"):
        form = {"er": cell["er"]} if "er" in cell else {}
        ours = notebook.table_run(track, cell["method"], loss=cell["drl_weight"] > 0, **form)
        theirs = DrlParameters.create(cell, profile="full")
        same = [run.resolved().model_dump(exclude={"profile", "seeds"}) for run in (ours, theirs)]
        assert same[0] == same[1]
        assert ours.seeds == [0, 1, 2]


def test_what_the_notebook_was_given_goes_first():
    given = DrlNotebook.create(memory_size=30, batch_size=8, track="NI", method="BER")
    run = given.table_run("NIC", "ER", loss=True)
    assert type(run) is DrlParameters
    assert (run.track, run.method, run.memory_size, run.batch_size) == ("NIC", "ER", 30, 8)
    assert (run.drl_weight, run.er) == (0.01, "paper")
    assert given.table_run("NIC", "ER", loss=True, er="released").er == "released"
    assert given.table_run("NIC", "ER", loss=False, batch_size=4).batch_size == 4
    assert given.table_run("NI", "GEM", loss=False).drl_weight == 0


def test_without_a_weight_the_tables_decide():
    reduced = DrlNotebook.create(profile="reduced")
    assert reduced.table_run("NI", "BER", loss=True).drl_weight == 2e-4
    assert reduced.table_run("NI", "BER", loss=False).drl_weight == 0
    more = DrlNotebook.create(profile="reduced", drl_weight=0.5)
    assert more.table_run("NI", "BER", loss=True).drl_weight == 0.5
    assert more.table_run("NI", "BER", loss=False).drl_weight == 0


def test_a_summary_has_the_mean_of_the_seeds_and_their_number():
    def record(accuracy):
        scores = {"avg_valid_acc": 50.0, "ram_mb": 812.4, "time_min": 0.0123}
        return make(metrics={"test_acc": accuracy, **scores})

    found = summary({"ER": {"with": [record(80.0), record(81.5)]}, "BER": {"without": [record(7)]}})
    assert found.loc[("ER", "with")].tolist() == [80.8, 50, 812, 0.012, 2]
    assert found.loc[("BER", "without"), "n"] == 1
    assert list(found.columns) == ["test_acc", "avg_valid_acc", "ram_mb", "time_min", "n"]


def test_a_misspelt_name_is_refused():
    with pytest.raises(ParameterError, match=r"'lamda'.*figures.*profile"):
        DrlNotebook.create(lamda=1)
