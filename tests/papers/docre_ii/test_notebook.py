"""Parameters of the notebook on DocRE-II, and the cells of its sweep."""

import pytest

from relcl_lib.lab.files import repository_root
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.docre_ii.parameters import METHODS, STAGE_2, DocreNotebook, DocreParameters
from relcl_lib.papers.registry import PAPERS


def test_a_run_takes_the_notebooks_values_the_method_and_the_changes():
    given = DocreNotebook.create(iterations=2, alone_epochs=3, results="here")
    run = given.run("w/o ECA", inference_layers=2)
    assert type(run) is DocreParameters
    assert (run.iterations, run.inference_layers, run.dataset) == (2, 2, "synthetic")
    assert run.resolved().attention == "all"
    assert given.folder("results") == repository_root() / "here"
    assert DocreNotebook.create().folder("work_dir") is None


@pytest.mark.parametrize("table", PAPERS["docre_ii"].tables)
@pytest.mark.parametrize("dataset", PAPERS["docre_ii"].datasets)
def test_every_cell_of_the_sweep_can_be_run(table, dataset):
    if table in ("alone", "text") and dataset != "synthetic":
        with pytest.raises(ParameterError, match=f"{table} has no cells for {dataset}.*synthetic"):
            PAPERS["docre_ii"].tables[table](dataset, ())
        return
    cells = PAPERS["docre_ii"].tables[table](dataset, ())
    made = [DocreParameters.create(profile="full", **cell).resolved() for cell in cells]
    assert len({str(settings.model_dump()) for settings in made}) == len(cells)


def test_what_is_measured_beyond_the_paper_does_not_depend_on_the_profile():
    kept = {"profile", "seeds", "reduced_data", "precision"}
    for table in ("alone", "text"):
        for cell in PAPERS["docre_ii"].tables[table]("synthetic", ()):
            made = [
                DocreParameters.create(profile=profile, **cell).resolved().model_dump(exclude=kept)
                for profile in DocreParameters.profiles
            ]
            assert made[0] == made[1] == made[2]
            assert made[0]["base"] == ("stated_facts" if table == "alone" else "atlop")


def test_the_cells_of_text_share_stage_1():
    made = [
        DocreParameters.create(profile="full", **cell).resolved().model_dump(exclude=set(STAGE_2))
        for cell in PAPERS["docre_ii"].tables["text"]("synthetic", ())
    ]
    assert made[0] == made[1] == made[2]
    assert (made[0]["generated"], made[0]["stage1_epochs"]) == (4000, 4)


def test_the_tables_hold_the_papers_rows():
    tables = PAPERS["docre_ii"].tables
    assert {cell["method"] for cell in tables["table4"]("docred", ())} == set(METHODS) - {
        "ATLOP (base)"
    }
    assert [cell["inference_layers"] for cell in tables["table2"]("docred", ())] == [1, 2, 3, 4]
    assert len(tables["table8"]("cdr", ())) == 4
