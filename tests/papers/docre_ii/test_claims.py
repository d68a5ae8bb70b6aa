"""DocRE-II's claims are of the whole as the paper has it, whatever else was run beside it."""

import pytest
from docre_records import made_up

from relcl_lib.lab.claim_files import read_claims
from relcl_lib.lab.claims import INCONCLUSIVE, NOT_TESTED, SUPPORTED, first_lines, judge
from relcl_lib.papers.docre_ii.tables import TABLES, USUAL, _together

CLAIMS = [claim for claim in read_claims("docre_ii") if claim.comparisons]


def runs(f1, seeds, **changes):
    return [run for seed in seeds for run in made_up(f1 + 0.1 * seed, [seed], **changes)]


def others_than_the_whole(dataset):
    """What sweeps change of it, but for what the profile `reduced` has anyhow."""

    def parameters(**changes):
        return made_up(0.0, [0], dataset=dataset, **changes)[0].parameters

    sweeps = (TABLES[name] for name in ("table2", "variants", "rates", "scores"))
    every = (cell.settings for sweep in sweeps for cell in sweep.cells)
    return [each for each in every if parameters(**each) != parameters()]


@pytest.mark.parametrize("dataset", ["cdr", "redocred"])
def test_other_settings_without_a_gain_do_not_undo_the_gain_of_the_whole(dataset):
    (claim,) = (claim for claim in CLAIMS if claim.id == "over-its-base")
    usual, others = runs(60.0, range(5), dataset=dataset), others_than_the_whole(dataset)
    assert {"inference_layers": 4} in others and {"variant": "released"} in others
    assert {"training_scores": "early"} in others and {"inference_rate": 5e-5} in others
    for change in others:
        records = [*usual, *runs(40.0, range(6), dataset=dataset, **change)]
        (line,) = first_lines(judge([claim], records))
        assert line.verdict == SUPPORTED, change
        assert all(each.left == tuple(usual) and not each.others for each in line.outcomes), change


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_runs_on_docred_decide_by_dev(claim):
    """The labels of its test documents are not public, so its records hold no other score."""
    sides = [side for each in claim.comparisons for side in (each.left, each.right) if side.method]
    found = []
    for side in sides:
        shape = {"method": side.method, "dataset": "docred", **side.parameters}
        for run in runs(60.0, range(2), **shape):
            scores = run.metrics | {"Infer-F1": 60.0, "Infer-F1_base": 50.0}
            metrics = {k if "weight" in k else f"{k}_dev": v for k, v in scores.items()}
            found.append(run.model_copy(update={"metrics": metrics}))
    (line,) = judge([claim], found)
    assert line.setting.dataset == {"set": "DocRED"} and line.verdict == INCONCLUSIVE
    assert all(len(outcome.left) == 2 for outcome in line.outcomes)
    # While nothing is run, the command is one whose data are public, labels of test among them.
    (line,) = judge([claim], [])
    assert line.verdict == NOT_TESTED and "--dataset docred" not in line.command


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_holds_what_other_sweeps_vary(claim):
    varied = {name for each in claim.comparisons for name in each.differ}
    whole = {**USUAL, "spurious": False}
    assert claim.usual == {n: v for n, v in whole.items() if n not in varied | {"iterations"}}
    for setting in claim.settings:
        wanted = () if (name := setting.dataset["set"]) == "synthetic" else _together(name)
        assert setting.either == wanted
