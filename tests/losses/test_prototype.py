"""Checks 1 to 4 and 7 of the CRECL specification."""

import math

import pytest
import torch
import torch.nn.functional as F

from relcl_lib.losses import (
    dropout_consistency_loss,
    prototype_contrastive_loss,
    prototype_cosine_loss,
    prototype_margin_loss,
)

TAU = 0.08
WORKED = torch.tensor([[0.9, 0.5, 0.1]], dtype=torch.float64), torch.tensor([0])


def batch(n=12, classes=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    z = torch.rand(n, classes, generator=g, dtype=torch.float64) * 2 - 1
    return z.requires_grad_(), torch.randint(classes, (n,), generator=g)


def margin_by_loops(z, labels, margin):
    """Eq. 7, term by term."""
    z, total = z.detach(), 0.0
    for i, own in enumerate(labels.tolist()):
        hardest = None
        for k in range(z.shape[1]):
            if k != own and (hardest is None or z[i, k] > hardest):
                hardest = z[i, k]
        if hardest is not None:
            total = total + max(0.0, float(margin - z[i, own] + hardest))
    return total / len(labels)


def test_lambda_one_is_the_released_loss():
    z, labels = batch()
    found = prototype_contrastive_loss(z, labels, lambda1=1.0)
    torch.testing.assert_close(found, F.cross_entropy(z / TAU, labels))


def test_the_mix_is_a_weighted_sum():
    z, labels = batch()
    cosine, margin = prototype_cosine_loss(z, labels), prototype_margin_loss(z, labels)
    found = prototype_contrastive_loss(z, labels, lambda1=0.3)
    torch.testing.assert_close(found, 0.3 * cosine + 0.7 * margin)


@pytest.mark.parametrize("classes, expected", [(8, 2.0794), (40, 3.6889), (80, 4.3820)])
def test_equal_prototypes_give_log_c_and_teach_nothing(classes, expected):
    g = torch.Generator().manual_seed(0)
    instance = torch.randn(5, 16, generator=g, dtype=torch.float64, requires_grad=True)
    prototypes = F.normalize(torch.randn(1, 16, generator=g, dtype=torch.float64), dim=1)
    z = F.normalize(instance, dim=1) @ prototypes.expand(classes, -1).T
    loss = prototype_cosine_loss(z, torch.zeros(5, dtype=torch.long))
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=5e-5)
    assert instance.grad.abs().max() < 1e-12


def test_perfect_and_worked_values():
    z = torch.full((1, 80), -1.0, dtype=torch.float64)
    z[0, 3] = 1.0
    found = prototype_cosine_loss(z, torch.tensor([3])).item()
    assert found == pytest.approx(math.log1p(79 * math.exp(-25)), rel=1e-6)
    assert found == pytest.approx(1.097e-9, rel=1e-3)
    assert prototype_cosine_loss(*WORKED).item() == pytest.approx(0.0067604, abs=1e-7)


def test_margin_worked_value_and_bounds():
    assert prototype_margin_loss(*WORKED, margin=0.5).item() == pytest.approx(0.1)
    assert prototype_margin_loss(*WORKED, margin=0.4).item() == pytest.approx(0.0, abs=1e-12)
    worst = torch.tensor([[-1.0, 1.0, 0.0]])
    assert prototype_margin_loss(worst, torch.tensor([0]), margin=0.5).item() == pytest.approx(2.5)
    z, labels = batch(200)
    assert 0 <= prototype_margin_loss(z, labels, margin=0.5) <= 2.5


def test_margin_reaches_only_the_hardest_negative():
    z = torch.tensor([[0.2, 0.5, 0.4, -0.3], [0.9, 0.1, 0.2, 0.0]], requires_grad=True)
    prototype_margin_loss(z, torch.tensor([0, 0]), margin=0.3).backward()
    expected = torch.tensor([[-0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(z.grad, expected)


def test_margin_with_one_relation_is_zero():
    z = torch.tensor([[0.4], [-0.9]], requires_grad=True)
    loss = prototype_contrastive_loss(z, torch.tensor([0, 0]), lambda1=0.0)
    loss.backward()
    assert loss.item() == 0.0
    assert (z.grad == 0).all()


def test_margin_does_not_know_the_temperature():
    z, labels = batch()
    options = {"lambda1": 0.0, "margin": 0.4}
    values = [prototype_contrastive_loss(z, labels, temperature=t, **options) for t in (0.05, 1.0)]
    assert values[0] == values[1]


@pytest.mark.parametrize("classes", [1, 2, 9])
@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_fast_margin_equals_the_loop(classes, margin):
    z, labels = batch(20, classes, seed=classes)
    found = prototype_margin_loss(z, labels, margin=margin).item()
    assert found == pytest.approx(margin_by_loops(z, labels, margin), abs=1e-6)


def consistency_by_loops(g):
    """(1/M) sum_m sum_b KL( softmax(g_mb) || softmax(mean_m g_mb) )."""
    total = 0.0
    for m in range(g.shape[0]):
        for b in range(g.shape[1]):
            p = g[m, b].softmax(0)
            q = g[:, b].mean(0).softmax(0)
            total += sum(float(p[c] * (p[c] / q[c]).log()) for c in range(g.shape[2]))
    return total / g.shape[0]


def test_consistency_worked_value():
    logits = torch.tensor([[[3.0, 0.0]], [[0.0, 0.0]]], dtype=torch.float64)
    assert dropout_consistency_loss(logits).item() == pytest.approx(0.16998, abs=5e-6)


def test_consistency_properties():
    g = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = dropout_consistency_loss(g)
    assert found.item() == pytest.approx(consistency_by_loops(g))
    assert found > 0
    assert dropout_consistency_loss(g[:1]).item() == pytest.approx(0.0, abs=1e-12)
    assert dropout_consistency_loss(g[:1].expand(4, -1, -1)).item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(dropout_consistency_loss(g.repeat(1, 2, 1)), 2 * found)
