"""Checks 2, 4 and 5 of the FastRE specification."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.losses import above_threshold, adaptive_threshold_loss, cascade_loss, tagging_loss


def naive(logits, labels, epsilon=0.0):
    """Eq. 11 for one position, from the formula, class by class."""
    o = [float(x) for x in logits]
    positive = [j for j, y in enumerate(labels, start=1) if y]
    negative = [j for j, y in enumerate(labels, start=1) if not y]
    total = 0.0
    for j in positive:
        p = math.exp(o[j]) / sum(math.exp(o[k]) for k in [0, *positive])
        total -= math.log(p + epsilon)
    p = math.exp(o[0]) / sum(math.exp(o[k]) for k in [0, *negative])
    return total - math.log(p + epsilon)


def draw(shape, classes, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(*shape, classes + 1, generator=g, dtype=torch.float64) * 2
    labels = torch.rand(*shape, classes, generator=g) < 0.3
    return logits, labels


@pytest.mark.parametrize(
    "classes, labels, expected",
    [
        (2, [0, 0], math.log(3)),
        (2, [1, 0], 2 * math.log(2)),
        (2, [1, 1], 2 * math.log(3)),
        (29, [0] * 29, math.log(30)),
        # Check 1 of DocRE-II: log 97; log 2 + log 96; 2 log 3 + log 95.
        (96, [0] * 96, 4.574711),
        (96, [1] + [0] * 95, 5.257495),
        (96, [1, 1] + [0] * 94, 6.751101),
    ],
)
def test_equal_logits(classes, labels, expected):
    for shift in (0.0, 30.0):
        loss = adaptive_threshold_loss(torch.full((classes + 1,), shift), torch.tensor(labels))
        assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_logits_of_the_specification():
    loss = adaptive_threshold_loss(torch.tensor([0.0, 2.0, -1.0]), torch.tensor([1, 0]))
    assert loss.item() == pytest.approx(0.44019, abs=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, 1e-7])
def test_equals_the_loop_and_broadcasts(epsilon):
    logits, labels = draw((3, 4), 5)
    loss = adaptive_threshold_loss(logits, labels, epsilon=epsilon)
    assert loss.shape == (3, 4)
    for i in range(3):
        for j in range(4):
            expected = naive(logits[i, j], labels[i, j], epsilon)
            assert loss[i, j].item() == pytest.approx(expected, abs=1e-9)


@given(seed=st.integers(0, 10_000), classes=st.integers(1, 8), shift=st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_one_constant_changes_nothing_and_the_gradient_sums_to_zero(seed, classes, shift):
    logits, labels = draw((6,), classes, seed)
    logits.requires_grad_()
    loss = adaptive_threshold_loss(logits, labels)
    assert (loss >= 0).all()
    torch.testing.assert_close(adaptive_threshold_loss(logits + shift, labels), loss)
    loss.sum().backward()
    assert logits.grad.sum(-1).abs().max() < 1e-12


def test_signs_of_the_gradient_with_one_positive():
    logits, _ = draw((50,), 6)
    logits.requires_grad_()
    labels = F.one_hot(torch.arange(50) % 6, 6).bool()
    adaptive_threshold_loss(logits, labels).sum().backward()
    assert (logits.grad[:, 1:][labels] <= 0).all()
    assert (logits.grad[:, 1:][~labels] >= 0).all()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_floor_with_several_positives(count):
    logits = torch.tensor([0.0] + [40.0] * count + [-40.0] * 3)
    labels = torch.tensor([True] * count + [False] * 3)
    loss = adaptive_threshold_loss(logits, labels)
    assert loss.item() == pytest.approx(count * math.log(count), abs=1e-5)


def test_one_class_is_binary_cross_entropy():
    logits, labels = draw((40,), 1)
    gap = logits[:, 1] - logits[:, 0]
    expected = torch.where(labels[:, 0], F.softplus(-gap), F.softplus(gap))
    torch.testing.assert_close(adaptive_threshold_loss(logits, labels), expected)
    assert torch.equal(above_threshold(logits)[:, 0], torch.sigmoid(gap) > 0.5)


def test_no_negative_and_no_positive():
    logits, _ = draw((4,), 3)
    every = adaptive_threshold_loss(logits, torch.ones(4, 3))
    none = adaptive_threshold_loss(logits, torch.zeros(4, 3))
    ranks = (logits.logsumexp(-1, keepdim=True) - logits)[:, 1:].sum(-1)
    torch.testing.assert_close(every, ranks)
    torch.testing.assert_close(none, logits.logsumexp(-1) - logits[:, 0])


def test_classes_that_are_not_allowed_are_no_negatives():
    logits, labels = draw((5,), 4)
    allowed = torch.tensor([True, True, False, False])
    labels &= allowed
    restricted = adaptive_threshold_loss(logits[:, :3], labels[:, :2])
    torch.testing.assert_close(adaptive_threshold_loss(logits, labels, allowed=allowed), restricted)


def test_far_logits_stay_finite_and_the_release_fades():
    logits = torch.tensor([1e4, -1e4, 0.0], requires_grad=True)
    loss = adaptive_threshold_loss(logits, torch.tensor([True, False]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert torch.isfinite(logits.grad).all()
    for gap, gradient in ((16.0, 0.53), (40.0, 0.0)):
        logits = torch.tensor([0.0, -gap], requires_grad=True)
        loss = adaptive_threshold_loss(logits, torch.tensor([True]), epsilon=1e-7)
        assert loss.item() < 16.2
        loss.backward()
        assert -logits.grad[1].item() == pytest.approx(gradient, abs=0.005)


def test_the_releases_gradient_is_finite_where_a_negative_class_is_far_ahead():
    logits = torch.tensor([0.0, 0.0, 90.0], requires_grad=True)
    adaptive_threshold_loss(logits, torch.tensor([True, False]), epsilon=1e-7).backward()
    assert logits.grad.isfinite().all()


def test_half_precision():
    logits, labels = draw((8,), 5)
    found = adaptive_threshold_loss(logits.bfloat16(), labels)
    torch.testing.assert_close(
        found.double(), adaptive_threshold_loss(logits, labels), rtol=0.05, atol=0.1
    )


def test_the_decision_is_strict():
    logits = torch.tensor([1.0, 1.0, 1.1, 0.9])
    assert above_threshold(logits).tolist() == [False, True, False]


def test_wrong_shapes_and_names_are_refused():
    with pytest.raises(ValueError, match="threshold in column 0"):
        adaptive_threshold_loss(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"labels \(2, 3\) must be .* logits \(4, 4\)"):
        adaptive_threshold_loss(torch.zeros(4, 4), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="threshold"):
        tagging_loss(torch.zeros(3), torch.zeros(2), threshold="none")
    with pytest.raises(ValueError, match="scale"):
        one = torch.zeros(1, 1)
        cascade_loss((one, one), (one, one), one.bool(), torch.zeros(1).long(), one[0], scale="x")


def test_global_threshold_is_cross_entropy_summed_over_classes():
    logits, labels = draw((7,), 4)
    logits = logits[:, 1:]
    p = torch.sigmoid(logits)
    expected = -(labels * p.log() + ~labels * (1 - p).log()).sum(-1)
    torch.testing.assert_close(tagging_loss(logits, labels, threshold="global"), expected)
    allowed = torch.tensor([True, False, True, False])
    found = tagging_loss(logits, labels & allowed, threshold="global", allowed=allowed)
    expected = tagging_loss(logits[:, allowed], labels[:, allowed], threshold="global")
    torch.testing.assert_close(found, expected)


def test_cascade_loss_counts_real_tokens_and_weights():
    g = torch.Generator().manual_seed(0)
    heads = [torch.rand(2, 3, generator=g) for _ in range(2)]
    tails = [torch.rand(3, 3, generator=g) for _ in range(2)]
    real = torch.tensor([[True, True, True], [True, False, False]])
    rows, weights = torch.tensor([0, 0, 1]), torch.tensor([0.5, 0.5, 1.0])
    expected = sum(float(part[i][real[i]].sum()) for part in heads for i in range(2))
    for part in tails:
        for m in range(3):
            expected += float(weights[m] * part[m][real[rows[m]]].sum())
    loss = cascade_loss(tuple(heads), tuple(tails), real, rows, weights)
    assert loss.item() == pytest.approx(expected / 4, rel=1e-6)
    by_sentence = cascade_loss(tuple(heads), tuple(tails), real, rows, weights, scale="sentence")
    assert by_sentence.item() == pytest.approx(expected / 2, rel=1e-6)
    heads[0][1, 2] = math.inf  # a pad
    masked = cascade_loss(tuple(heads), tuple(tails), real, rows, weights)
    torch.testing.assert_close(masked, loss)
    released = cascade_loss(tuple(heads), tuple(tails), real, rows, weights, mask_pads=False)
    assert released.isinf()
