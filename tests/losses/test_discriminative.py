"""Checks 1 to 6 of the DRL specification; the slow form beside every variant."""

import pytest
import torch

from relcl_lib.losses import between_within_similarity, discriminative_loss
from relcl_lib.losses.discriminative import VARIANTS

H = torch.tensor([[1.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
Y = torch.tensor([0, 0, 1])


def draw(*shape, classes=3, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(*shape, generator=g, dtype=dtype),
        torch.randint(classes, shape[:-1], generator=g),
    )


def slow(representations, labels, variant="released", alpha=2.0):
    """The formulas of the paper and of its code, pair by pair."""
    n, total = len(labels), 0.0
    for h in representations:
        if variant == "paper_cos":
            h = h / (h.norm(dim=1, keepdim=True) + 1e-6)
        unlike = like = ours = 0.0
        n_unlike = n_like = 0
        for i in range(n):
            for j in range(n):
                product = sum(float(a) * float(b) for a, b in zip(h[i], h[j], strict=True))
                y, eye = float(labels[i] == labels[j]), float(i == j)
                if labels[i] != labels[j]:
                    unlike, n_unlike = unlike + product, n_unlike + 1
                elif i != j:
                    like, n_like = like + product, n_like + 1
                if variant == "released":
                    ours += (product * (1 - y) - product * (eye - y)) / 2
                elif variant == "dev":
                    ours += (product * (1 - y) + product * (y - eye) / 2) / 2
                elif variant == "later":
                    ours += product * (1 - y) + alpha * product * (y - eye)
        if variant.startswith("paper"):
            total += (unlike / n_unlike if n_unlike else 0) - (like / n_like if n_like else 0)
        else:
            total += ours / n**2
    return total


@pytest.mark.parametrize(
    "variant, expected",
    [("paper", 3.0), ("released", 1.0), ("later", 20 / 9), ("dev", 17 / 18)],
)
def test_the_specifications_numbers(variant, expected):
    assert discriminative_loss(H, Y, variant=variant).item() == pytest.approx(expected, rel=1e-6)
    between, within = between_within_similarity(H, Y)
    assert (between.item(), within.item()) == (4.0, 1.0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("classes", [1, 3, 12, 200])
def test_fast_is_slow(variant, classes):
    h, labels = draw(12, 5, classes=classes)
    other = draw(12, 3, seed=1)[0]
    found = discriminative_loss([h, other], labels, variant=variant)
    assert found.item() == pytest.approx(slow([h, other], labels, variant), rel=1e-5, abs=1e-9)


def test_the_weight_of_later():
    h, labels = draw(12, 5)
    for alpha in (1.0, 3.0):
        found = discriminative_loss(h, labels, variant="later", alpha=alpha)
        assert found.item() == pytest.approx(slow([h], labels, "later", alpha), rel=1e-5)
    one = discriminative_loss(h, labels, variant="later", alpha=1.0)
    torch.testing.assert_close(one, 2 * discriminative_loss(h, labels))


def test_only_the_released_form_does_not_see_labels():
    h, labels = draw(20, 4)
    shuffled = labels.roll(7)
    assert not torch.equal(labels, shuffled)
    for variant in VARIANTS:
        same = torch.allclose(
            discriminative_loss(h, labels, variant=variant),
            discriminative_loss(h, shuffled, variant=variant),
        )
        assert same == (variant == "released")


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients(variant):
    h, labels = draw(6, 3)
    h.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: discriminative_loss(x, labels, variant=variant), h)


def test_longer_vectors_scale_every_form_but_cosines():
    h, labels = draw(12, 5)
    for variant in VARIANTS:
        factor = 1.0 if variant == "paper_cos" else 49.0
        once, longer = (discriminative_loss(c * h, labels, variant=variant) for c in (1.0, 7.0))
        torch.testing.assert_close(longer, factor * once, rtol=1e-4, atol=1e-6)


def test_the_printed_form_is_unbounded_below():
    """Where pairs of one class are more alike, length alone lowers it for ever."""
    h = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    values = [discriminative_loss(c * h, labels, variant="paper").item() for c in (1, 10, 100)]
    assert values[0] < 0
    assert values[1] == pytest.approx(100 * values[0], rel=1e-5)
    assert values[2] == pytest.approx(10_000 * values[0], rel=1e-5)
    assert discriminative_loss(100 * h, labels, variant="paper_cos").item() > -2


@pytest.mark.parametrize("labels, absent", [(torch.arange(6), 1), (torch.zeros(6).long(), 0)])
def test_pairs_that_do_not_occur_count_exactly_nothing(labels, absent):
    similarities = between_within_similarity(draw(6, 3)[0], labels)
    assert similarities[absent].item() == 0
    assert similarities[1 - absent].item() != 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_sample_counts_nothing(variant):
    h, labels = draw(1, 7, dtype=torch.float32)
    h.requires_grad_()
    loss = discriminative_loss(h, labels, variant=variant)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(h.grad, torch.zeros_like(h), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_representation_that_is_zero(variant):
    h = torch.zeros(4, 3, requires_grad=True)
    loss = discriminative_loss(h, torch.tensor([0, 0, 1, 1]), variant=variant)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(h.grad, torch.zeros_like(h))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("variant", VARIANTS)
def test_half_precision_does_not_overflow(dtype, variant):
    """Inner products of convolution maps pass 65504, the largest number of float16."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(16) % 4
    of_class = torch.eye(4)[labels].repeat_interleave(5000, dim=1)
    h = (5 * of_class + torch.rand(16, 20_000, generator=g)).to(dtype).requires_grad_()
    assert (h[:1].detach() @ h[:1].detach().T).isinf().any() or dtype == torch.bfloat16
    loss = discriminative_loss(h, labels, variant=variant)
    expected = discriminative_loss(h.detach().double(), labels, variant=variant)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    loss.backward()
    assert h.grad.isfinite().all()


def test_bad_input():
    with pytest.raises(ValueError, match="variant='printed' must be one of released, paper"):
        discriminative_loss(H, Y, variant="printed")
    with pytest.raises(ValueError, match=r"representation 1 has shape \(2, 2\).*labels \(3,\)"):
        discriminative_loss([H, H[:2]], Y)


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_second_derivatives(variant):
    """As of a penalty on the gradient: what the first one keeps is no constant to them."""
    h = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2])
    assert torch.autograd.gradgradcheck(
        lambda x: discriminative_loss(x, labels, variant=variant), h
    )
