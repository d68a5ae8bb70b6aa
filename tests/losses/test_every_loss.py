"""What every loss owes its caller: leading dimensions, inputs left alone, finite gradients."""

from types import SimpleNamespace

import pytest
import torch

from relcl_lib import losses
from relcl_lib.losses.discriminative import VARIANTS


def draw(*lead, seed=0):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*lead, *shape, generator=g, dtype=torch.float64).requires_grad_()

    labels = torch.randint(5, (*lead, 8), generator=g)
    labels.view(-1, 8)[0] = 2  # a batch of one class beside others
    return SimpleNamespace(
        labels=labels,
        tags=torch.rand(*lead, 8, 5, generator=g) < 0.3,
        some=torch.rand(*lead, 8, generator=g) < 0.7,
        counts=losses.class_counts(labels, 5),
        logits=normal(8, 5),
        stored=normal(8, 5),
        with_threshold=normal(8, 6),
        features=normal(8, 4),
        others=normal(8, 4),
        passes=normal(3, 8, 5),
    )


LOSSES = {
    "cross_entropy_loss": lambda b: losses.cross_entropy_loss(b.logits, b.labels),
    "proxy_contrastive_loss": lambda b: losses.proxy_contrastive_loss(b.logits, b.labels),
    "proxy_contrastive_loss with pairs": lambda b: losses.proxy_contrastive_loss(
        b.logits, b.labels, features=b.features
    ),
    "proxy_contrastive_loss with pairs as printed": lambda b: losses.proxy_contrastive_loss(
        b.logits, b.labels, features=b.features, variant="paper"
    ),
    "supervised_contrastive_loss": lambda b: losses.supervised_contrastive_loss(
        b.features, b.labels
    ),
    "coupled_loss": lambda b: losses.coupled_loss(b.logits, b.labels, b.features, b.counts > -1),
    "proxy_contrastive_distillation_loss": lambda b: losses.proxy_contrastive_distillation_loss(
        b.logits, b.stored, b.counts
    ),
    "sample_contrastive_distillation_loss": lambda b: losses.sample_contrastive_distillation_loss(
        b.features, b.others
    ),
    "prototype_cosine_loss": lambda b: losses.prototype_cosine_loss(b.logits, b.labels),
    "prototype_margin_loss": lambda b: losses.prototype_margin_loss(b.logits, b.labels),
    "prototype_contrastive_loss": lambda b: losses.prototype_contrastive_loss(b.logits, b.labels),
    "dropout_consistency_loss": lambda b: losses.dropout_consistency_loss(b.passes),
    "adaptive_threshold_loss": lambda b: losses.adaptive_threshold_loss(b.with_threshold, b.tags),
    "tagging_loss": lambda b: losses.tagging_loss(b.logits, b.tags, threshold="global"),
    "view_agreement_loss": lambda b: losses.view_agreement_loss(
        b.features, b.others, b.others, b.features
    ),
    "instance_contrast_loss": lambda b: losses.instance_contrast_loss(
        b.features @ b.others.mT, b.labels, temperature=1.0
    ),
    "instance_contrast_loss of views": lambda b: losses.instance_contrast_loss(
        b.features @ b.features.mT, b.labels, temperature=1.0, views=True
    ),
    "prototype_agreement_loss": lambda b: losses.prototype_agreement_loss(
        b.features, b.others, b.some
    ),
    "dual_view_loss": lambda b: losses.dual_view_loss(
        b.logits, b.stored, b.logits - b.stored, b.labels, consistency=2.0
    ),
    "view_contrast_loss": lambda b: losses.view_contrast_loss(b.features, b.others, b.some),
    **{
        f"discriminative_loss {variant}": lambda b, variant=variant: losses.discriminative_loss(
            [b.features, b.logits], b.labels, variant=variant
        )
        for variant in VARIANTS
    },
}
#: takes the ragged tail entities of a batch, so it has no leading dimensions
RAGGED = {"cascade_loss"}


def test_no_loss_is_forgotten():
    public = {name for name in losses.__all__ if name.endswith("_loss")}
    assert {name.split()[0] for name in LOSSES} == public - RAGGED


@pytest.mark.parametrize("name", LOSSES)
def test_leading_dimensions_are_separate_losses(name):
    batch = draw(2, 3)
    together = LOSSES[name](batch)
    assert together.shape[:2] == (2, 3)
    for s in range(2):
        for t in range(3):
            one = SimpleNamespace(**{key: value[s, t] for key, value in vars(batch).items()})
            torch.testing.assert_close(together[s, t], LOSSES[name](one))


@pytest.mark.parametrize("name", LOSSES)
def test_inputs_stay_and_gradients_are_finite(name):
    batch = draw(4, seed=1)
    before = {key: value.clone() for key, value in vars(batch).items()}
    LOSSES[name](batch).sum().backward()
    gradients = [v.grad for v in vars(batch).values() if v.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(torch.equal(value, before[key]) for key, value in vars(batch).items())


@pytest.mark.parametrize("name", [n for n in LOSSES if not n.startswith("instance_contrast")])
def test_a_callers_autocast_has_no_say(name):
    batch = {key: value.detach() for key, value in vars(draw(4, seed=1)).items()}
    single = {key: v.float() if v.is_floating_point() else v for key, v in batch.items()}
    expected = LOSSES[name](SimpleNamespace(**single))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = LOSSES[name](SimpleNamespace(**single))
    assert found.dtype == torch.float32 and torch.equal(found, expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("lead", [(1,), ()])
def test_labels_of_fewer_leading_dimensions_are_spread_or_refused(name, lead):
    batch = draw(3, seed=2)
    few = SimpleNamespace(**{**vars(batch), "labels": batch.labels[0].expand(*lead, 8)})
    every = SimpleNamespace(**{**vars(batch), "labels": batch.labels[0].expand(3, 8)})
    try:
        found = LOSSES[name](few)
    except ValueError as error:  # not a wrong number, and a sentence
        assert "labels" in str(error)
    else:
        torch.testing.assert_close(found, LOSSES[name](every))


LABELLED = ("cross_entropy_loss", "proxy_contrastive_loss", "coupled_loss", "prototype_margin_loss")


@pytest.mark.parametrize("name", LABELLED)
def test_a_label_for_several_rows_is_refused(name):
    batch = draw(3, seed=2)
    for labels in (batch.labels[:, :1], batch.labels[:, :7]):
        with pytest.raises(ValueError, match="labels of shape"):
            LOSSES[name](SimpleNamespace(**{**vars(batch), "labels": labels}))


def test_a_batch_without_rows_is_0_between_views_and_refused_between_samples():
    some = draw(3, seed=3)
    rows = {"labels": some.labels[:, :0], "some": some.some[:, :0]}
    rows |= {key: vars(some)[key][:, :0] for key in ("features", "others", "logits")}
    none = SimpleNamespace(**{**vars(some), **rows})
    for name in ("view_agreement_loss", "view_contrast_loss"):
        assert LOSSES[name](none).tolist() == [0, 0, 0]
    for variant in VARIANTS:
        with pytest.raises(ValueError, match="without samples"):
            LOSSES[f"discriminative_loss {variant}"](none)


@pytest.mark.parametrize("name", ["instance_contrast_loss", "dual_view_loss"])
def test_half_precision_stays_finite(name):
    batch = draw(seed=4)
    half = {k: v.detach() * 20 for k, v in vars(batch).items() if v.is_floating_point()}
    exact = LOSSES[name](SimpleNamespace(**{**vars(batch), **half}))
    half = {key: value.half() for key, value in half.items()}
    found = LOSSES[name](SimpleNamespace(**{**vars(batch), **half}))
    torch.testing.assert_close(found.double(), exact, rtol=0.02, atol=0.02)
