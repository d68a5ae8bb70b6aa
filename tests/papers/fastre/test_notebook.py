import pytest

from relcl_lib.lab.files import repository_root
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.fastre.notebook import FastreNotebook
from relcl_lib.papers.fastre.parameters import FastreParameters


def test_quick_is_smaller_than_the_paper_and_the_other_profiles_are_the_librarys():
    quick = FastreNotebook.create()
    assert (quick.profile, quick.dataset, quick.hidden, quick.seeds) == (
        "quick",
        "synthetic",
        64,
        [0],
    )
    for profile in ("reduced", "full"):
        theirs = FastreParameters.create(profile=profile).model_dump()
        ours = FastreNotebook.create(profile=profile).model_dump()
        assert {name: ours[name] for name in theirs} == theirs


def test_a_run_takes_the_notebooks_values_the_method_and_the_changes():
    given = FastreNotebook.create(epochs=3, dataset="mine", variant="paper")
    run = given.run("-Gated Unit", variant="released")
    assert type(run) is FastreParameters
    assert (run.epochs, run.dataset, run.hidden) == (3, "mine", 64)
    assert (run.method, run.variant, run.resolved().gate) == ("-Gated Unit", "released", "none")


def test_the_encoder_is_casrels_alone():
    given = FastreNotebook.create(encoder="bert-base-cased")
    assert given.run("CasRel").resolved().encoder == "bert-base-cased"
    assert given.run("FastRE").resolved().encoder is None


def test_quick_writes_elsewhere_than_the_committed_results():
    quick, full = FastreNotebook.create(), FastreNotebook.create(profile="full")
    assert quick.folder("results") == repository_root() / "runs" / "results"
    assert quick.folder("figures") == repository_root() / "figures" / "quick"
    assert quick.folder("work_dir") is None
    assert full.folder("results") == repository_root() / "data" / "results"
    assert full.folder("work_dir") == repository_root() / "runs" / "checkpoints"
    assert FastreNotebook.create(results="here").folder("results") == repository_root() / "here"


def test_a_misspelt_name_is_refused_with_the_folders_among_the_valid_ones():
    with pytest.raises(ParameterError, match=r"'seeed'; did you mean seeds.*figures.*profile"):
        FastreNotebook.create(seeed=1)
