"""Stage 2 on what bases say of training documents that they have not learnt by heart, and the base's switches."""

import pytest
import torch
from docre_data import parameters, tiny_data

from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.docre_ii.held_out import draw_folds, held_out_scores
from relcl_lib.papers.docre_ii.network import parameter_groups
from relcl_lib.papers.docre_ii.parameters import STAGE_2, DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun


def make(work_dir=None, **changes):
    return DocreRun(parameters(**changes), tiny_data(), 0, work_dir)


def test_folds_hold_each_document_once():
    folds = draw_folds(12, seed=3)
    assert sorted(torch.cat(folds).tolist()) == list(range(12))
    assert sorted(map(len, folds)) == [2, 2, 2, 3, 3]
    again, other = draw_folds(12, seed=3), draw_folds(12, seed=4)
    assert all(map(torch.equal, folds, again)) and not all(map(torch.equal, folds, other))


def test_scores_come_from_a_base_that_has_not_seen_the_document(monkeypatch, tmp_path):
    run = make(tmp_path, training_scores="out_of_fold")
    seen = []
    train = DocreRun.train
    monkeypatch.setattr(DocreRun, "train", lambda self, *a: seen.append(self) or train(self, *a))
    handed = held_out_scores(run)
    assert len(seen) == 5 and len({base.data.fingerprint for base in seen}) == 5
    tokens = run.tokens("train")
    for base, fold in zip(seen, draw_folds(12, 0), strict=True):
        kept = {document.title for document in base.data.train}
        assert kept == {d.title for i, d in enumerate(run.data.train) if i not in fold.tolist()}
        assert base.settings.stage2_epochs == 0 and base.settings.stage1_epochs == 1
        for document in fold.tolist():
            rows = torch.tensor([document])
            alone = base.model.base(tokens.batch(rows))
            given = handed.of(rows)
            torch.testing.assert_close(given.logits, alone.logits, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(given.features, alone.features, rtol=1e-4, atol=1e-4)
    # A batch has its documents one after the other, whatever their order.
    rows = torch.tensor([5, 0, 7])
    parts = [handed.of(rows[i : i + 1]).logits for i in range(3)]
    torch.testing.assert_close(handed.of(rows).logits, torch.cat(parts), rtol=0, atol=0)


def test_the_early_base_has_a_third_of_the_epochs(monkeypatch):
    run = make(training_scores="early", stage1_epochs=6)
    made = []
    train = DocreRun.train
    monkeypatch.setattr(DocreRun, "train", lambda self, *a: made.append(self) or train(self, *a))
    handed = held_out_scores(run)
    assert [base.settings.stage1_epochs for base in made] == [2]
    assert len(made[0].data.train) == len(run.data.train)
    assert len(handed.scores.logits) == len(run.tokens("train").pairs)


@pytest.mark.parametrize("how", ["out_of_fold", "early"])
def test_stage_2_reads_what_it_is_handed(how, tmp_path):
    usual, other = make(tmp_path).train(), make(tmp_path, training_scores=how).train()
    for name, value in usual.base_state.items():  # stage 1 is the same
        assert torch.equal(value, other.base_state[name])
    ours, theirs = (dict(run.model.inference.named_parameters()) for run in (usual, other))
    assert any(not torch.equal(value, theirs[name]) for name, value in ours.items())
    # Killed in stage 2 it finds the bases again, with the same numbers.
    again = make(tmp_path, training_scores=how).train()
    assert again.predict("test") == other.predict("test")
    metrics = other.record().metrics
    assert metrics["F1_gain_low"] <= metrics["F1"] - metrics["F1_base"] + 1e-3
    assert metrics["F1"] - metrics["F1_base"] <= metrics["F1_gain_high"] + 1e-3
    assert 0 <= metrics["F1_gain_p"] <= 1
    assert other.record().parameters["training_scores"] == how


def test_no_gradient_reaches_the_base_through_what_is_handed():
    run = make(training_scores="early", freeze_base=False, stage1_epochs=1)
    while run.stage == 1:
        run.advance()
        run.epochs_done += 1
        if run.epochs_done >= run.settings.stage1_epochs:
            run._enter_stage_2()
    rows = torch.tensor([0, 1])
    batch = run.tokens("train").batch(rows)
    handed = run.handed.of(rows)
    assert not handed.features.requires_grad and not handed.logits.requires_grad
    run.model.eval()
    generator = torch.Generator().manual_seed(0)
    gradients = []
    for stage in (1, 2):
        run.stage = stage
        run.model.zero_grad()
        run.loss(batch, generator, handed if stage == 2 else None).backward()
        gradients.append(
            [p.grad.clone() for p in run.model.base.parameters() if p.grad is not None]
        )
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_new_settings_leave_old_names_alone(tmp_path):
    run = make(tmp_path)
    shown = run.configuration()["parameters"]
    assert not {"training_scores", "chosen_by", "layer_decay", "frozen_layers"} & set(shown)
    assert "chosen_by" not in run.identity()["settings"]
    for name, value in {"chosen_by": "AP", "layer_decay": 0.5, "frozen_layers": 1}.items():
        other = make(tmp_path, **{name: value})
        assert other.configuration()["parameters"][name] == value
        assert other.folder != run.folder and other.base_folder != run.base_folder
    late = make(tmp_path, training_scores="early")
    assert late.folder != run.folder and late.base_folder == run.base_folder
    assert "training_scores" in STAGE_2


def test_bases_need_both_stages():
    for changes in ({"stage1_epochs": 0}, {"stage2_epochs": 0}, {"base": "stated_facts"}):
        with pytest.raises(ParameterError, match="training_scores=early needs both stages"):
            parameters(training_scores="early", **changes).resolved()
    assert DocreParameters().resolved().training_scores == "own"


# --- switches of the base ------------------------------------------------------------------------


def test_rates_fall_from_layer_to_layer():
    run = make(layer_decay=0.5, encoder_rate=0.4)
    rates = {}
    for group in parameter_groups(run.model, run.settings, 1):
        rates |= {id(p): group["peak"] for p in group["params"]}
    found = {name: rates[id(p)] for name, p in run.model.base.encoder.named_parameters()}
    for name, rate in found.items():
        expected = 0.4
        if "embeddings" in name:
            expected = 0.1
        elif "layer.0." in name:
            expected = 0.2
        assert rate == pytest.approx(expected), name
    assert set(found.values()) == {0.4, 0.2, 0.1}
    others = {rates[id(p)] for p in run.model.base.classifier.parameters()}
    assert others == {run.settings.classifier_rate}
    plain = parameter_groups(make().model, make().settings, 1)
    assert [group["peak"] for group in plain] == [1e-3, 1e-3, 3e-3, 3e-3]


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_lower_layers_stay_as_they_are(frozen):
    run = make(frozen_layers=frozen)
    before = {name: p.clone() for name, p in run.model.base.encoder.named_parameters()}
    run.train()
    for name, value in run.model.base.encoder.named_parameters():
        low = "embeddings" in name or any(f"layer.{i}." in name for i in range(frozen))
        if frozen and low:
            assert torch.equal(value, before[name]), name
    moved = [n for n, p in run.model.base.encoder.named_parameters() if not p.equal(before[n])]
    assert bool(moved) == (frozen < 2)
    assert frozen or any("embeddings" in name for name in moved)


def test_the_epoch_may_be_chosen_by_average_precision():
    run = make(chosen_by="AP", stage1_epochs=4, classifier_rate=2e-2, stage2_epochs=0)
    tried = []
    run.train(lambda run: tried.append(run.evaluate("dev")["AP"]))
    assert run.best_epoch == max(range(4), key=lambda i: tried[i]) + 1
    assert run.evaluate("dev")["AP"] == pytest.approx(max(tried), abs=1e-4)
