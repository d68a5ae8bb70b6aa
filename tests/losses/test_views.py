"""Losses between two views: check 11 of the DocRE-II specification, and ER-DVC's loss."""

import math

import pytest
import torch
import torch.nn.functional as F

from relcl_lib.losses import (
    cross_entropy_loss,
    dual_view_loss,
    view_agreement_loss,
    view_contrast_loss,
)


def draw(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=g, dtype=torch.float64) for _ in range(4)]


def test_equals_the_loop_and_broadcasts():
    a, b, left, right = draw(3, 7, 5)
    found = view_agreement_loss(a, b, left, right)
    assert found.shape == (3,)
    for i in range(3):
        each = [
            2
            - F.cosine_similarity(a[i, j], right[i, j], dim=0)
            - F.cosine_similarity(b[i, j], left[i, j], dim=0)
            for j in range(7)
        ]
        assert found[i].item() == pytest.approx(float(sum(each) / 7), abs=1e-5)
    assert ((found >= 0) & (found <= 4)).all()
    released = view_agreement_loss(a, b, left, right, variant="released")
    assert torch.equal(released, 2 * found)


def test_zero_for_equal_views_four_for_opposite_ones():
    a, *_ = draw(6, 5)
    assert view_agreement_loss(a, a, a, a).item() == pytest.approx(0, abs=1e-5)
    assert view_agreement_loss(a, -a, -a, a).item() == pytest.approx(0, abs=1e-5)
    assert view_agreement_loss(a, a, -a, -a).item() == pytest.approx(4, abs=1e-5)
    assert view_agreement_loss(*(x[:0] for x in draw(6, 5))) == 0


def test_the_targets_get_no_gradient_and_the_predictions_the_right_one():
    a, b, left, right = draw(4, 3)
    for tensor in (a, b, left, right):
        tensor.requires_grad_()
    view_agreement_loss(a, b, left, right).backward()
    assert left.grad is None
    assert right.grad is None
    step = 1e-6
    with torch.no_grad():
        moved = a.clone()
        moved[1, 2] += step
        gap = view_agreement_loss(moved, b, left, right) - view_agreement_loss(a, b, left, right)
    assert (gap / step).item() == pytest.approx(a.grad[1, 2].item(), rel=1e-4)


def test_contrast_equals_the_loop():
    left, right, *_ = draw(2, 6, 5)
    real = torch.tensor([[1, 1, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]]).bool()
    found = view_contrast_loss(left, right, real, temperature=0.5)
    for i in range(2):
        rows = real[i].nonzero()[:, 0].tolist()
        total = 0.0
        for one, other in ((left, right), (right, left)):
            for j in rows:
                cosines = [float(F.cosine_similarity(one[i, j], other[i, k], dim=0)) for k in rows]
                weights = [math.exp(c / 0.5) for c in cosines]
                total -= math.log(weights[rows.index(j)] / sum(weights)) / 2
        assert found[i].item() == pytest.approx(total / len(rows), abs=1e-5)
    assert found[1].item() == pytest.approx(0, abs=1e-9)  # a row alone


def test_contrast_without_rows_is_zero_with_a_gradient():
    left, right, *_ = draw(2, 3, 5)
    left.requires_grad_()
    real = torch.tensor([[True, True, False], [False] * 3])
    found = view_contrast_loss(left, right, real)
    assert found[1] == 0
    found.sum().backward()
    assert left.grad.isfinite().all()
    assert (left.grad[1] == 0).all()
    torch.testing.assert_close(found[0], view_contrast_loss(left[0, :2], right[0, :2]))


def test_unknown_variant():
    with pytest.raises(ValueError, match="variant='code'"):
        view_agreement_loss(*draw(2, 3), variant="code")


def test_dual_view_loss_equals_the_loop():
    left, right, joint, _ = draw(6, 4)
    labels = torch.tensor([0, 1, 1, 3, 2, 0])
    found = dual_view_loss(left, right, joint, labels, consistency=2.0, entropy=0.5)
    rows = [*zip(left, labels, strict=True), *zip(right, labels, strict=True)]
    loss = sum(F.cross_entropy(row, label) for row, label in rows) / 12
    for logits in (left, right, joint):
        for share in logits.softmax(1).mean(0):
            loss += 0.5 * share * share.log() / 3
    for i in range(6):
        for c in range(4):
            for logits in (left, right):
                loss += 2 * abs(joint[i].softmax(0)[c] - logits[i].softmax(0)[c]) / (2 * 6 * 4)
    assert found.item() == pytest.approx(loss.item(), rel=1e-9)
    plain = dual_view_loss(left, right, joint, labels, consistency=0.0, entropy=0.0)
    both = cross_entropy_loss(torch.cat([left, right]), torch.cat([labels, labels]))
    assert plain.item() == pytest.approx(both.item(), rel=1e-12)
