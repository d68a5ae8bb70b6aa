"""What the five notebooks take as parameters."""

import pytest
import torch

from relcl_lib.lab.files import repository_root
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.crecl.parameters import CreclNotebook
from relcl_lib.papers.docre_ii.parameters import DocreNotebook
from relcl_lib.papers.drl.parameters import DrlNotebook
from relcl_lib.papers.fastre.parameters import FastreNotebook
from relcl_lib.papers.hpcr.parameters import HPCRNotebook

each_notebook = pytest.mark.parametrize(
    "notebook", [CreclNotebook, DocreNotebook, DrlNotebook, FastreNotebook, HPCRNotebook]
)


@each_notebook
def test_the_profiles_are_the_librarys_but_for_smaller_quick_runs(notebook):
    for profile in notebook.profiles:
        theirs = notebook.runs.create(profile=profile).model_dump()
        ours = notebook.create(profile=profile).model_dump()
        changed = {name for name in theirs if ours[name] != theirs[name]}
        assert profile == "quick" or not changed
        smaller = {
            "hidden",
            "type_size",
            "epochs",
            "learning_rate",
            "drl_weight",
            "seeds",
            "ht_period",
            *("n_tasks", "train_limit", "epochs_memory"),  # crecl's
        }
        assert changed <= smaller


@each_notebook
def test_quick_writes_elsewhere_than_the_committed_results(notebook):
    quick, full = notebook.create(), notebook.create(profile="full")
    assert quick.profile == "quick"
    assert quick.folder("results") == repository_root() / "runs" / "results"
    assert quick.folder("figures") == repository_root() / "figures" / "quick"
    assert quick.folder("work_dir") is None
    assert full.folder("results") == repository_root() / "data" / "results"
    assert full.folder("work_dir") == repository_root() / "runs" / "checkpoints"
    assert notebook.create(results="here").folder("results") == repository_root() / "here"


@each_notebook
def test_a_misspelt_name_is_refused_with_the_folders_among_the_valid_ones(notebook):
    with pytest.raises(ParameterError, match=r"'seeed'; did you mean seeds.*figures.*profile"):
        notebook.create(seeed=1)


@each_notebook
def test_what_the_sections_choose_is_refused_and_no_valid_name(notebook):
    for name in notebook.chosen:
        with pytest.raises(ParameterError, match=f"sections choose {name}; leave it out"):
            notebook.create({name: "ER"})
        assert notebook.create({name: None}) == notebook.create()
    with pytest.raises(ParameterError, match=r"'methd'\. Valid names: ") as refused:
        notebook.create(methd="ER")
    valid = str(refused.value).partition("Valid names: ")[2].rstrip(".").split(", ")
    assert {*valid} == {*notebook.model_fields} - {*notebook.chosen} and "method" not in valid


@each_notebook
def test_quick_runs_take_one_thread_unless_told_otherwise(notebook):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert notebook.create(profile="full", device="cpu").start() == torch.device("cpu")
        assert torch.get_num_threads() == 3
        notebook.create(threads=2, device="cpu").start()
        assert torch.get_num_threads() == 2
        notebook.create(device="cpu").start()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("notebook", "given", "method", "changes"),
    [
        (CreclNotebook, {"epochs_memory": 2, "seeds": [1]}, "CRECL-MAG", {"memory_size": 3}),
        (DocreNotebook, {"iterations": 2, "alone_epochs": 3}, "w/o ECA", {"inference_layers": 2}),
        (DrlNotebook, {"memory_size": 30, "order": 1}, "ER", {"track": "NIC"}),
        (FastreNotebook, {"epochs": 3, "variant": "paper"}, "FastRE", {"variant": "released"}),
        (HPCRNotebook, {"buffer_size": 7, "figures": "here"}, "PCR", {"buffer_size": 8}),
    ],
)
def test_a_run_takes_the_notebooks_values_the_method_and_the_changes(
    notebook, given, method, changes
):
    notebook = notebook.create(given)
    run = notebook.run(method, **changes)
    assert type(run) is notebook.runs
    expected = {**notebook.model_dump(), "method": method, **changes}
    assert run.model_dump() == {name: expected[name] for name in notebook.runs.model_fields}


def test_what_a_method_sets_stays_open_to_it():
    assert CreclNotebook.create().run("RP-CRE").resolved().dropout == 0.5
    assert CreclNotebook.create().run("CRECL").resolved().dropout == 0.2
    assert CreclNotebook.create().run("CRECL-MAG").resolved().lambda1 == 1.0


def test_drls_sections_choose_track_and_mnist():
    assert DrlNotebook.chosen == ("track", "method")
    with pytest.raises(ParameterError, match="MNIST by itself for Figures 1 and 2"):
        DrlNotebook.create(dataset="mnist")


def test_fastres_encoder_is_casrels_alone():
    given = FastreNotebook.create(encoder="bert-base-cased")
    assert given.run("CasRel").resolved().encoder == "bert-base-cased"
    assert given.run("FastRE").resolved().encoder is None


def test_docre_iis_small_encoder_has_no_words_for_the_released_markers():
    released = DocreNotebook.create(variant="released")
    assert released.run("DocRE-II").resolved().markers == "boundary"
    with_bert = released.run("DocRE-II", encoder="bert-base-cased")
    assert with_bert.resolved().markers == "typed"
    assert released.run("DocRE-II", markers="typed").resolved().markers == "typed"
