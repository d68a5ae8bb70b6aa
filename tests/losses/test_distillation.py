"""Checks 8 and 9 of the HPCR specification."""

import math

import pytest
import torch

from relcl_lib.losses import (
    class_counts,
    proxy_contrastive_distillation_loss,
    sample_contrastive_distillation_loss,
)

TAU = 0.09


def make(seed=0, m=20, classes=10, dim=16):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(m, classes, generator=g, dtype=torch.float64).requires_grad_()
    stored = torch.randn(m, classes, generator=g, dtype=torch.float64)
    labels = torch.randint(6, (40,), generator=g)
    features = torch.rand(m, dim, generator=g, dtype=torch.float64).requires_grad_()
    old = torch.rand(m // 2, dim, generator=g, dtype=torch.float64).repeat(2, 1)
    return logits, stored, labels, features, old


def test_pcd_equals_the_mean_over_columns_picked_by_all_labels():
    logits, stored, labels, _, _ = make()
    indexed = (logits[:, labels] - stored[:, labels]).square()
    assert indexed.shape == (20, 40)
    counts = class_counts(labels, 10)
    found = proxy_contrastive_distillation_loss(logits, stored, counts)
    torch.testing.assert_close(found, indexed.mean())
    summed = proxy_contrastive_distillation_loss(logits, stored, counts, reduction="sum")
    torch.testing.assert_close(summed, indexed.sum(1).mean())


def test_pcd_is_zero_at_the_stored_logits_and_blind_to_absent_classes():
    logits, stored, labels, _, _ = make()
    counts = class_counts(labels, 10)
    assert proxy_contrastive_distillation_loss(stored, stored, counts) == 0
    loss = proxy_contrastive_distillation_loss(logits, stored, counts)
    loss.backward()
    assert loss > 0
    assert (logits.grad[:, counts == 0] == 0).all()
    assert (logits.grad[:, counts > 0] != 0).all()
    assert proxy_contrastive_distillation_loss(logits, stored, 0 * counts).isnan()


def test_scd_equals_its_loop_in_both_forms():
    _, _, _, features, old = make()

    def relations(z):
        unit = z / (z.norm(dim=1, keepdim=True) + 1e-6)
        rows = []
        for i in range(len(z)):
            others = [j for j in range(len(z)) if j != i]
            rows.append(torch.stack([unit[i] @ unit[j] / TAU for j in others]).softmax(0))
        return torch.stack(rows)

    p, q = relations(features), relations(old)
    assert p.shape == (20, 19)
    torch.testing.assert_close(p.sum(1), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(
        sample_contrastive_distillation_loss(features, old), -(q * p.log()).sum(1).mean()
    )
    torch.testing.assert_close(
        sample_contrastive_distillation_loss(features, old, variant="paper"),
        -(p * q.log()).sum(1).mean(),
    )


def test_scd_at_the_stored_features_is_the_teachers_entropy_with_no_gradient():
    _, _, _, _, old = make()
    features = old.clone().requires_grad_()
    loss = sample_contrastive_distillation_loss(features, old)
    loss.backward()
    assert loss > 0.1
    assert features.grad.abs().max() < 1e-8
    moved = sample_contrastive_distillation_loss(old + 0.3 * torch.rand_like(old), old)
    assert moved > loss


@pytest.mark.parametrize("cosine, mass", [(0.5, 0.93), (0.7, 0.61), (0.8, 0.34), (0.9, 0.14)])
def test_scd_teacher_mass_of_the_twin(cosine, mass):
    """The two views share a stored feature, so the twin takes e^((1-c)/t) / (e^((1-c)/t) + 18)."""
    twin = math.exp((1 - cosine) / TAU)
    q = torch.tensor([twin, *18 * [1.0]], dtype=torch.float64) / (twin + 18)
    assert q[0].item() == pytest.approx(mass, abs=0.006)
    # The loss agrees: equal cosines c between ten unit vectors, each twice.
    gram = torch.full((10, 10), cosine, dtype=torch.float64).fill_diagonal_(1)
    old = torch.linalg.cholesky(gram).repeat(2, 1)
    entropy = sample_contrastive_distillation_loss(old, old).item()
    assert entropy == pytest.approx(-(q * q.log()).sum().item(), abs=1e-4)


def test_unknown_forms_are_refused():
    logits, stored, labels, features, old = make()
    with pytest.raises(ValueError, match="reduction"):
        proxy_contrastive_distillation_loss(logits, stored, class_counts(labels, 10), reduction="x")
    with pytest.raises(ValueError, match="variant"):
        sample_contrastive_distillation_loss(features, old, variant="x")
