"""Checks 5, 13 and 15 of the CRECL specification, on the networks themselves."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from relcl_lib.losses import prototype_contrastive_loss
from relcl_lib.models.contrastive_network import AttentionMemory, CreclNetwork, Projector

D = 24


class Encoder(nn.Linear):
    """Stands for the marker encoder: h = W x + b."""

    size = D


def network(seed=0, **options):
    torch.manual_seed(seed)
    return CreclNetwork(Encoder(10, D), 8, **options).double()


def inputs(n=6, classes=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=g, dtype=torch.float64)
    p = torch.randn(classes, D, generator=g, dtype=torch.float64)
    return x, p, torch.arange(n) % classes


def by_loops(atm, x, prototypes):
    """RP-CRE's attention memory over the whole sequence [p_1; ...; p_C; x], position by position."""
    rows = []
    for one in x:
        z = torch.cat([prototypes, one[None]])  # (C+1, d)
        q, k, v = (
            getattr(atm, f"{part}_norm")(getattr(atm, part)(z).view(len(z), atm.heads, -1))
            for part in ("query", "key", "value")
        )
        positions = []
        for i in range(len(z)):
            heads = []
            for h in range(atm.heads):
                scores = torch.stack([q[i, h] * atm.scale @ k[j, h] for j in range(len(z))])
                weights = scores.softmax(0)
                heads.append(sum(weights[j] * v[j, h] for j in range(len(z))))
            a = atm.merge_norm(atm.merge(torch.cat(heads)))
            o1 = atm.attention_norm(a + z[i])
            positions.append(atm.output_norm(F.gelu(atm.feed_forward(o1)) + o1))
        rows.append(positions[-1])
    return torch.stack(rows)


class TestAttentionMemory:
    def test_last_query_alone_equals_the_full_attention(self):
        x, p, _ = inputs()
        torch.manual_seed(0)
        atm = AttentionMemory(D).double()
        h = network().encoder(x)
        torch.testing.assert_close(atm(h, p), by_loops(atm, h, p))

    def test_released_sizes(self):
        atm = AttentionMemory(768)
        assert atm.query.out_features == 4 * 256
        assert atm.value.out_features == 4 * 768
        assert atm.merge.in_features == 3072
        assert atm.scale == pytest.approx(256**-0.5)

    def test_training_reaches_every_parameter(self):
        x, p, labels = inputs()
        model = network(attention_memory=True)
        z = model.similarities(model.encoder(x), p, attend=True)
        prototype_contrastive_loss(z, labels % len(p)).backward()
        for name, parameter in model.attention_memory.named_parameters():
            # Before its LayerNorm a key's bias of one head may cancel in the softmax, no more.
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


class TestGradientRouting:
    def test_prototypes_are_constants_that_move_the_projector(self):
        x, p, labels = inputs()
        model = network()
        p.requires_grad_()
        gradients = []
        for prototypes in (p, p.detach() + 1.0):
            model.zero_grad()
            z = model.similarities(model.encoder(x), prototypes)
            prototype_contrastive_loss(z, labels).backward()
            gradients.append(model.projector.first.weight.grad.clone())
        assert p.grad is None
        assert not torch.allclose(*gradients)
        assert model.encoder.weight.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in model.head.parameters())

    def test_the_projector_learns_from_both_towers(self):
        x, p, labels = inputs()
        model = network()
        h = model.encoder(x).detach()
        with torch.no_grad():
            fixed_left, fixed_right = model.projector(p), model.projector(h)
        full = model.similarities(h, p)
        parts = [model.projector(h) @ fixed_left.T, fixed_right @ model.projector(p).T]
        weight = model.projector.second.weight
        whole, left, right = (
            torch.autograd.grad(prototype_contrastive_loss(z, labels, lambda1=1.0), weight)[0]
            for z in (full, *parts)
        )
        torch.testing.assert_close(whole, left + right)


class TestInference:
    """Check 13."""

    def test_scores_are_cosines_and_prototypes_find_themselves(self):
        _, p, _ = inputs()
        z = network().similarities(p, p)
        torch.testing.assert_close(z.diagonal(), torch.ones(5, dtype=torch.float64))
        assert z.argmax(1).tolist() == list(range(5))

    def test_argmax_ignores_scale_and_order(self):
        x, p, _ = inputs(40)
        model = network()
        h = model.encoder(x)
        z = model.similarities(h, p)
        best = z.argmax(1)
        order = torch.tensor([3, 0, 4, 1, 2])
        assert torch.equal(order[model.similarities(h, p[order]).argmax(1)], best)
        with torch.no_grad():  # the un-normalised projection, five times as long
            model.projector.second.weight *= 5
            model.projector.second.bias *= 5
        torch.testing.assert_close(model.similarities(h, p), z)

    @pytest.mark.parametrize("norm", [True, False])
    def test_projector_is_equation_5(self, norm):
        torch.manual_seed(0)
        projector = Projector(D, norm=norm).double()
        x = torch.randn(4, D, dtype=torch.float64)
        a = F.gelu(x @ projector.first.weight.T + projector.first.bias)
        if norm:
            a = (a - a.mean(1, keepdim=True)) / (
                a.var(1, unbiased=False, keepdim=True) + 1e-5
            ).sqrt()
        s = a @ projector.second.weight.T + projector.second.bias
        s = s / s.norm(dim=1, keepdim=True)
        assert s.shape == (4, D // 2)
        torch.testing.assert_close(projector(x), s)
