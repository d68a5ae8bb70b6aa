"""Checks 2-7 of the HPCR specification, against loops written from the formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.losses import (
    class_counts,
    cosine_similarity,
    coupled_loss,
    cross_entropy_loss,
    dynamic_temperature_weight,
    normalise,
    proxy_contrastive_loss,
    supervised_contrastive_loss,
)

TAU = 0.09


def batch(n=40, classes=10, dim=16, seed=0, dtype=torch.float64, present=4):
    g = torch.Generator().manual_seed(seed)
    features = torch.rand(n, dim, generator=g, dtype=dtype).requires_grad_()
    proxies = torch.randn(classes, dim, generator=g, dtype=dtype).requires_grad_()
    labels = torch.randint(present, (n,), generator=g)
    return features, proxies, labels


def pcr_by_loops(features, proxies, labels, pairs=None):
    """Eq. 9, and Eq. 18 in one of its forms where `pairs` names it, term by term."""
    unit_z = features / (features.norm(dim=1, keepdim=True) + 1e-6)
    unit_w = proxies / (proxies.norm(dim=1, keepdim=True) + 1e-6)
    n = len(labels)
    total = 0.0
    for i in range(n):
        denominator = 0.0
        for j in range(n):  # the sum over rows is the sum over classes with k_c
            denominator = denominator + torch.exp(unit_z[i] @ unit_w[labels[j]] / TAU)
            if pairs and j != i:
                denominator = denominator + torch.exp(unit_z[i] @ unit_z[j] / TAU)
        own = torch.exp(unit_z[i] @ unit_w[labels[i]] / TAU)
        positives = [p for p in range(n) if p != i and labels[p] == labels[i]]
        terms = [torch.exp(unit_z[i] @ unit_z[p] / TAU) for p in positives]
        if pairs == "released":  # all rows of [z; w_y] but the anchor itself are contrasts
            kept = [*terms, *[own for j in range(n) if labels[j] == labels[i]]]
        elif pairs == "paper":
            kept = [own + term for term in terms] or [own]  # alone in its class: the proxy alone
        else:
            kept = [own]
        total = total - sum(torch.log(term / denominator) for term in kept) / len(kept)
    return total / n


@pytest.mark.parametrize("pairs", [None, "released", "paper"])
def test_fast_form_equals_the_double_loop_in_value_and_gradient(pairs):
    features, proxies, labels = batch(n=24)
    labels[0] = 9  # alone in its class
    slow = pcr_by_loops(features, proxies, labels, pairs)
    slow_gradients = torch.autograd.grad(slow, [features, proxies])
    logits = cosine_similarity(features, proxies) / TAU
    form = {"features": features, "variant": pairs} if pairs else {}
    fast = proxy_contrastive_loss(logits, labels, **form)
    gradients = torch.autograd.grad(fast, [features, proxies])
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    for one, other in zip(gradients, slow_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_the_printed_form_gives_proxies_no_gradient_where_features_are_alike():
    """Why HC as printed collapses: features out of a ReLU have cosines near 1."""
    _, proxies, labels = batch(dim=160)
    g = torch.Generator().manual_seed(1)
    features = (1 + 0.3 * torch.randn(40, 160, generator=g, dtype=torch.float64)).relu()
    norms = {}
    for pairs in (None, "released", "paper"):
        logits = cosine_similarity(features, proxies) / TAU
        form = {"features": features, "variant": pairs} if pairs else {}
        loss = proxy_contrastive_loss(logits, labels, **form)
        norms[pairs] = float(torch.autograd.grad(loss, proxies)[0].norm())
    assert norms["paper"] < 1e-2 * norms["released"]
    assert norms["released"] > norms[None] / 2


def test_equals_supervised_contrast_against_the_label_proxies():
    """The released construction: 40 anchors against the 40 proxies of the rows, no self-exclusion."""
    features, proxies, labels = batch()
    contrast = normalise(features) @ normalise(proxies[labels]).T / TAU  # (40, 40)
    log_p = contrast - contrast.logsumexp(1, keepdim=True)
    same = (labels[:, None] == labels).double()
    expected = -((same * log_p).sum(1) / same.sum(1)).mean()
    found = proxy_contrastive_loss(cosine_similarity(features, proxies) / TAU, labels)
    torch.testing.assert_close(found, expected)


def test_theorem_1_gradient():
    features, proxies, labels = batch()
    cosines = cosine_similarity(features, proxies).detach().requires_grad_()
    n = len(labels)
    proxy_contrastive_loss(cosines / TAU, labels).backward()
    counts = class_counts(labels, 10).double()
    weighted = counts * (cosines / TAU).exp()
    expected = weighted / weighted.sum(1, keepdim=True)  # k_c p*_c
    expected[torch.arange(n), labels] -= 1
    torch.testing.assert_close(cosines.grad * n, expected.detach() / TAU)
    torch.testing.assert_close(cosines.grad.sum(1), torch.zeros(n, dtype=torch.float64))


def test_doubling_the_batch_adds_log_2_and_keeps_the_gradient():
    features, proxies, labels = batch()
    once = proxy_contrastive_loss(cosine_similarity(features, proxies) / TAU, labels)
    gradient = torch.autograd.grad(once, proxies)[0]
    twice = proxy_contrastive_loss(
        cosine_similarity(features.repeat(2, 1), proxies) / TAU, labels.repeat(2)
    )
    torch.testing.assert_close(twice, once + math.log(2))
    torch.testing.assert_close(torch.autograd.grad(twice, proxies)[0], gradient)


def test_one_class_gives_log_n_and_no_gradient():
    features, proxies, _ = batch(dtype=torch.float32)
    loss = proxy_contrastive_loss(cosine_similarity(features, proxies) / TAU, torch.full((40,), 3))
    assert loss.item() == pytest.approx(math.log(40), abs=1e-5)
    for gradient in torch.autograd.grad(loss, [features, proxies]):
        assert gradient.abs().max() < 1e-6


def test_pairs_change_the_loss_and_leave_the_anchors_own_row_out():
    features, proxies, labels = batch(n=12)
    logits = cosine_similarity(features, proxies) / TAU
    without = proxy_contrastive_loss(logits, labels)
    assert not torch.allclose(without, proxy_contrastive_loss(logits, labels, features=features))
    # Two rows, one class: every sum can be written out by hand; <z_i, z_i> = 1 must not appear.
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    o = torch.tensor([[0.5], [0.25]])
    sums = [math.log(2 * math.exp(x) + math.exp(0)) for x in (0.5, 0.25)]
    positives = {
        "paper": [math.log(math.exp(x) + math.exp(0)) for x in (0.5, 0.25)],
        "released": [(0 + 2 * x) / 3 for x in (0.5, 0.25)],
    }
    for form, own in positives.items():
        found = proxy_contrastive_loss(
            o, torch.tensor([0, 0]), features=a, temperature=1.0, variant=form
        )
        assert found.item() == pytest.approx((sum(sums) - sum(own)) / 2, abs=1e-5)


def test_a_row_alone_has_no_contrast():
    features = torch.randn(2, 1, 4, requires_grad=True)
    loss = supervised_contrastive_loss(features, torch.zeros(2, 1, dtype=torch.long))
    loss.sum().backward()
    assert torch.equal(loss, torch.zeros(2)) and torch.equal(features.grad, torch.zeros(2, 1, 4))


def test_the_default_of_pairs_is_the_form_that_trains():
    features, labels = torch.rand(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    logits = torch.randn(6, 3)
    released = proxy_contrastive_loss(logits, labels, features=features, variant="released")
    assert torch.equal(proxy_contrastive_loss(logits, labels, features=features), released)


def test_cross_entropy_is_torchs():
    logits, labels = torch.randn(2, 8, 5), torch.randint(5, (2, 8))
    expected = [
        torch.nn.functional.cross_entropy(x, y) for x, y in zip(logits, labels, strict=True)
    ]
    torch.testing.assert_close(cross_entropy_loss(logits, labels), torch.stack(expected))


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_counts_are_the_histogram(n, classes, seed):
    labels = torch.randint(classes, (3, n), generator=torch.Generator().manual_seed(seed))
    counts = class_counts(labels, classes)
    for row, found in zip(labels, counts, strict=True):
        assert found.tolist() == torch.bincount(row, minlength=classes).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_and_large_logits_stay_finite(dtype):
    logits = torch.tensor([[500.0, -500.0], [-500.0, 500.0]], dtype=dtype, requires_grad=True)
    loss = proxy_contrastive_loss(logits, torch.tensor([0, 0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


class TestDynamicTemperature:
    @pytest.mark.parametrize("variant", ["released", "paper"])
    def test_ends(self, variant):
        assert dynamic_temperature_weight(0, variant=variant) == pytest.approx(0.5625)
        assert dynamic_temperature_weight(250, variant=variant) == pytest.approx(1.8)
        assert dynamic_temperature_weight(500, variant=variant) == pytest.approx(0.5625)

    def test_quarter_cycle(self):
        assert dynamic_temperature_weight(125) == pytest.approx(1.18125)
        assert dynamic_temperature_weight(125, variant="paper") == pytest.approx(0.857143, abs=1e-6)

    def test_cycle_means(self):
        mean = {
            v: sum(dynamic_temperature_weight(s, variant=v) for s in range(500)) / 500
            for v in ("released", "paper")
        }
        assert mean["released"] == pytest.approx(1.18125)
        assert mean["paper"] == pytest.approx(0.09 / math.sqrt(0.05 * 0.16), abs=1e-6)

    def test_unknown_variant(self):
        with pytest.raises(ValueError, match="released"):
            dynamic_temperature_weight(0, variant="printed")


def test_contrast_without_proxies_and_coupled_with_them_equal_their_loops():
    features, proxies, labels = batch(n=16)
    labels[0] = 9  # alone in its class
    seen = torch.arange(10) < 6
    seen[9] = True
    logits = cosine_similarity(features, proxies) / TAU
    unit = features / (features.norm(dim=1, keepdim=True) + 1e-6)
    sims = (unit @ unit.T / TAU).exp()
    contrast = coupled = 0.0
    for i in range(16):
        others = [j for j in range(16) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        denominator = sum(sims[i, j] for j in others)
        if positives:
            logs = [torch.log(sims[i, p] / denominator) for p in positives]
            contrast -= sum(logs) / len(logs)
        exps = logits[i].exp()
        coupled -= torch.log(exps[labels[i]] / (exps[seen].sum() + denominator))
    torch.testing.assert_close(supervised_contrastive_loss(features, labels), contrast / 16)
    torch.testing.assert_close(coupled_loss(logits, labels, features, seen), coupled / 16)
