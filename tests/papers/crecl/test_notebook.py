import pytest

from relcl_lib.lab.files import repository_root
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.crecl.notebook import CreclNotebook
from relcl_lib.papers.crecl.parameters import CreclParameters


@pytest.mark.parametrize("profile", ["quick", "reduced", "full"])
def test_the_profiles_are_the_library_s(profile):
    theirs = CreclParameters.create(profile=profile).model_dump()
    ours = CreclNotebook.create(profile=profile).model_dump()
    assert {name: ours[name] for name in theirs} == theirs


def test_a_run_takes_the_notebook_s_values_the_method_and_the_changes():
    given = CreclNotebook.create(epochs_memory=2, memory_size=7, seeds=[1])
    run = given.run("CRECL-MAG", memory_size=3)
    assert type(run) is CreclParameters
    assert (run.epochs_memory, run.memory_size, run.seeds) == (2, 3, [1])
    assert (run.dataset, run.encoder) == ("synthetic", "tiny")
    assert (run.method, run.resolved().lambda1) == ("CRECL-MAG", 1.0)


def test_what_a_method_sets_stays_open_to_it():
    assert CreclNotebook.create().run("RP-CRE").resolved().dropout == 0.5
    assert CreclNotebook.create().run("CRECL").resolved().dropout == 0.2


def test_quick_writes_elsewhere_than_the_committed_results():
    quick, reduced = CreclNotebook.create(), CreclNotebook.create(profile="reduced")
    assert quick.folder("results") == repository_root() / "runs" / "results"
    assert quick.folder("work_dir") is None
    assert reduced.folder("results") == repository_root() / "data" / "results"
    assert reduced.folder("work_dir") == repository_root() / "runs" / "checkpoints"


def test_a_misspelt_name_is_refused_with_the_folders_among_the_valid_ones():
    with pytest.raises(ParameterError, match=r"'seeed'; did you mean seeds.*figures.*profile"):
        CreclNotebook.create(seeed=1)
