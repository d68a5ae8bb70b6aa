"""The cells of DocRE-II's sweep that are not in the paper."""

from relcl_lib.papers.docre_ii.parameters import STAGE_2, DocreParameters
from relcl_lib.papers.docre_ii.tables import MEASURED_CELLS, TABLES, measured_rows


def test_what_is_measured_beyond_the_paper_does_not_depend_on_the_profile():
    kept = {"profile", "seeds", "reduced_data", "precision"}
    for table in ("alone", "text"):
        for cell in TABLES[table].runs("synthetic"):
            made = [
                DocreParameters.create(profile=profile, **cell).resolved().model_dump(exclude=kept)
                for profile in DocreParameters.profiles
            ]
            assert made[0] == made[1] == made[2]
            assert made[0]["base"] == ("stated_facts" if table == "alone" else "atlop")


def test_the_cells_of_text_share_stage_1():
    made = [
        DocreParameters.create(profile="full", **cell).resolved().model_dump(exclude=set(STAGE_2))
        for cell in TABLES["text"].runs("synthetic")
    ]
    assert made[0] == made[1] == made[2]
    assert (made[0]["generated"], made[0]["stage1_epochs"]) == (4000, 4)


def test_a_base_stands_beside_the_runs_that_it_is_the_base_of():
    for what in MEASURED_CELLS:
        rows = {(row.setting, row.method, row.metric): row for row in measured_rows(what)}
        bases = [place for place in rows if place[2].endswith("_base")]
        assert len({setting.endswith("not_gold") for setting, *_ in bases}) == 2
        for setting, method, metric in bases:
            whole = rows[setting, method, metric.removesuffix("_base")]
            assert rows[setting, method, metric].where_parameters == whole.where_parameters
