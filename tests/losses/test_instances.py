"""OCM's and OnPro's contrasts equal loops over rows and classes."""

import math

import pytest
import torch

from relcl_lib.losses import class_means, instance_contrast_loss, prototype_agreement_loss


def draw(n, d=5, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n, d, generator=g, dtype=torch.float64)
    return vectors, torch.randint(classes, (n,), generator=g)


@pytest.mark.parametrize("views", [False, True])
def test_instance_contrast_equals_the_loop(views):
    vectors, labels = draw(8)
    labels = labels[:4].repeat(2) if views else labels
    similarity = (vectors @ vectors.T + vectors @ vectors.flip(1).T) / 5
    found = instance_contrast_loss(similarity, labels, temperature=0.5, views=views)
    total = 0.0
    for i in range(8):
        top = float(similarity[i].max())
        weights = [math.exp((float(s) - top) / 0.5) for s in similarity[i]]
        if views:
            weights[i] = 0.0
        costs = [-math.log(w / (sum(weights) + 1e-8) + 1e-8) for w in weights]
        own = [costs[j] for j in range(8) if labels[j] == labels[i]]
        total += (2 if views else 1) * sum(own) / len(own)
        total += costs[(i + 4) % 8] if views else 0.0
    assert found.item() == pytest.approx(total / 8)


def test_labels_of_a_contrast_may_be_fractions():
    vectors, labels = draw(6)
    similarity = vectors @ vectors.T
    whole = instance_contrast_loss(similarity, labels)
    assert torch.equal(instance_contrast_loss(similarity, labels * 0.5), whole)
    assert instance_contrast_loss(similarity, torch.arange(6) / 7) != whole


def test_class_means_equal_the_loop():
    vectors, labels = draw(7)
    means, present = class_means(vectors, labels, 5)
    assert present.tolist() == [c in labels.tolist() for c in range(5)]
    for c in range(5):
        expected = vectors[labels == c].mean(0) if present[c] else torch.zeros(5)
        torch.testing.assert_close(means[c], expected.double())


def test_prototype_agreement_equals_the_loop():
    (left, _), (right, _) = draw(4), draw(4, seed=1)
    present = torch.tensor([True, False, True, True])
    found = prototype_agreement_loss(left, right, present, temperature=0.5)
    some = [view[present] / view[present].norm(dim=1, keepdim=True) for view in (left, right)]
    both, total = torch.cat(some), 0.0
    for i in range(6):
        others = [math.exp(float(both[i] @ both[j]) / 0.5) for j in range(6) if j != i]
        total += math.log(sum(others)) - float(both[i] @ both[(i + 3) % 6]) / 0.5
    assert found.item() == pytest.approx(total / 6, rel=1e-4)  # the norm's 1e-6
    alone = torch.tensor([False, True, False, False])
    assert prototype_agreement_loss(left, right, alone).item() == pytest.approx(0.0, abs=1e-6)


def test_an_odd_row_has_no_view():
    with pytest.raises(ValueError, match="5 rows"):
        instance_contrast_loss(torch.eye(5), torch.arange(5), views=True)


def test_class_means_of_half_precision_do_not_overflow():
    means, _ = class_means(torch.full((1000, 2), 100.0).half(), torch.zeros(1000).long(), 2)
    assert torch.equal(means, torch.tensor([[100.0, 100.0], [0.0, 0.0]]).half())
