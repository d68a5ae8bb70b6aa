"""What stage 2 adds to the base's loss (Eq. 12 to 14 of DocRE-II), put together by hand."""

import pytest
import torch
import torch.nn.functional as F
from docre_data import parameters, tiny_data

from relcl_lib.models.atlop import PairScores
from relcl_lib.models.pair_inference import add_noise, decode_relations, with_class_zero
from relcl_lib.papers.docre_ii.network import base_loss, inference_loss, pair_matrix, stage_loss
from relcl_lib.papers.docre_ii.parameters import PAPER, RELEASED, DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun

SEED = 11


def make(**changes):
    """A run without dropout, a batch, and what a base could say of it."""
    run = DocreRun(parameters(dropout=0.0, encoder_dropout=0.0, **changes), tiny_data(), 0)
    run.model.train()
    batch = run.tokens("train").batch(torch.tensor([0, 1, 2]))
    g = torch.Generator().manual_seed(1)
    p, columns = len(batch.pairs), len(run.data.relations) + 1
    features = torch.randn(p, run.model.base.feature_size, generator=g).requires_grad_()
    logits = torch.randn(p, columns, generator=g)
    logits[:, 0] += 2  # so that most pairs have no relation
    return run, batch, PairScores(features, logits.requires_grad_())


def library(run, batch, scores, **changes):
    settings = run.settings.model_copy(update=changes)
    noise = torch.Generator().manual_seed(SEED)
    return inference_loss(run.model.inference, scores, batch, settings, noise)


def threshold_loss(logits, labels):
    """L_R pair by pair: the positives against class 0, class 0 against the negatives."""
    each = []
    for row, gold in zip(logits, labels, strict=True):
        relations = row[1:]
        above = torch.cat([row[:1], relations[gold]])
        below = torch.cat([row[:1], relations[~gold]])
        positive = sum((x - above.logsumexp(0) for x in relations[gold]), torch.zeros(()))
        each.append(-positive - (row[0] - below.logsumexp(0)))
    return torch.stack(each).mean()


def by_hand(run, batch, scores, *, gold=False, draws=2, swap=False, weight=0.2, stop=True):
    """L_R(view A) + 0.2 L_C; the arguments other than `gold` make the mistakes to be noticed."""
    inference, cells = run.model.inference, pair_matrix(batch)
    truth = with_class_zero(batch.labels)
    known = truth if gold else decode_relations(scores.logits)
    noise = torch.Generator().manual_seed(SEED)
    noisy = [
        add_noise(known, batch.pairs[:, 0], rate=(0.0, 0.4), generator=noise) for _ in range(draws)
    ]
    one, other = (inference.embed_relations(labels) for labels in (noisy * 2)[:2])
    features = inference.embed_features(scores.features)
    view_a, view_b = inference(features, one, cells), inference(other, features, cells)
    if swap:
        view_a, view_b = view_b, view_a
    hold = torch.detach if stop else torch.clone
    agreement = F.cosine_similarity(inference.predict(view_b), hold(view_a))
    agreement = agreement + F.cosine_similarity(inference.predict(view_a), hold(view_b))
    contrast = (2 - agreement).mean()
    return threshold_loss(inference.classifier(view_a), batch.labels) + weight * contrast


def gradients(run, loss, scores):
    run.model.zero_grad()
    scores.features.grad = scores.logits.grad = None
    loss.backward()
    found = {n: p.grad for n, p in run.model.inference.named_parameters() if p.grad is not None}
    return found | {"F": scores.features.grad}


@pytest.mark.parametrize("gold", [False, True])
def test_stage_2_adds_what_the_equations_say(gold):
    run, batch, scores = make(feedback="gold" if gold else "predicted")
    found, expected = library(run, batch, scores), by_hand(run, batch, scores, gold=gold)
    torch.testing.assert_close(found, expected)
    ours, theirs = gradients(run, found, scores), gradients(run, expected, scores)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize(
    "mistake",
    [{"gold": True}, {"draws": 1}, {"swap": True}, {"weight": 0.4}, {"weight": 1.0}],
    ids=str,
)
def test_a_mistake_in_it_would_be_noticed(mistake):
    run, batch, scores = make()
    found = library(run, batch, scores)
    assert (found - by_hand(run, batch, scores, **mistake)).abs() > 1e-4


def test_a_view_that_is_not_held_would_be_noticed():
    run, batch, scores = make()
    name = "classifier.weight"  # of L_R alone, so both agree there
    held = gradients(run, library(run, batch, scores), scores)
    free = gradients(run, by_hand(run, batch, scores, stop=False), scores)
    torch.testing.assert_close(held[name], free[name])
    assert (held["F"] - free["F"]).abs().max() > 1e-5


def test_switches_of_the_loss():
    run, batch, scores = make()
    plain = library(run, batch, scores)
    assert (library(run, batch, scores, feedback="gold") - plain).abs() > 1e-3
    without = library(run, batch, scores, contrast="none")
    torch.testing.assert_close(without, by_hand(run, batch, scores, weight=0.0))
    doubled = library(run, batch, scores, contrast_scale="released")
    torch.testing.assert_close(doubled - without, 2 * (plain - without))


@pytest.mark.parametrize("form", [PAPER, RELEASED], ids=["paper", "released"])
def test_both_variants_weigh_the_contrast_with_a_fifth(form):
    """Spec 2.8 and 5.18: the release's totals amount to L_C : L_R = 1 : 5 as the paper has L_C."""
    run, batch, scores = make()
    variant = "paper" if form is PAPER else "released"
    settings = DocreParameters(variant=variant).resolved()
    chosen = {name: getattr(settings, name) for name in ("contrast_scale", "contrast_weight")}
    found = library(run, batch, scores, **chosen)
    torch.testing.assert_close(found, by_hand(run, batch, scores, weight=0.2))


def test_the_base_gets_gradient_through_its_features_only():
    run, batch, scores = make()
    gradients(run, library(run, batch, scores), scores)
    assert scores.features.grad.abs().sum() > 0
    assert scores.logits.grad is None
    # The same of a whole base: its classifier learns from its own loss alone.
    base = run.model.base

    def gradient(loss):
        run.model.zero_grad()
        loss.backward()
        return base.classifier.weight.grad.clone(), base.subject.weight.grad.clone()

    noise = torch.Generator().manual_seed(SEED)
    whole = gradient(stage_loss(run.model, batch, run.settings, 2, noise))
    own = gradient(base_loss(base(batch), batch))
    torch.testing.assert_close(whole[0], own[0])
    assert (whole[1] - own[1]).abs().max() > 1e-6


def sets_read(labels, **changes):
    """The noisy relations that two views of stage 2 read, where a batch has these labels."""
    run, batch, scores = make(**changes)
    seen, embed = [], run.model.inference.embed_relations
    run.model.inference.embed_relations = lambda found: seen.append(found) or embed(found)
    library(run, batch._replace(labels=labels(batch.labels)), scores)
    return torch.stack(seen)


@pytest.mark.parametrize("spurious", [False, True])
def test_what_is_read_does_not_depend_on_gold(spurious):
    """Exact: with the same draws every labelling of the documents leads to the same noisy relations."""
    given = sets_read(lambda labels: labels, spurious=spurious)
    for other in (torch.zeros_like, torch.ones_like, lambda labels: labels.flip(0)):
        assert torch.equal(sets_read(other, spurious=spurious), given)
    leaky = {"noise_draw": "not_gold", "noise": [0.9, 0.9], "spurious": spurious}
    told = [sets_read(labels, **leaky) for labels in (lambda x: x, lambda x: ~x)]
    assert not torch.equal(*told)
