"""Check 1 of the HPCR specification, and that S networks side by side are S networks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from states import kept, same
from torch import nn

from relcl_lib.losses import cross_entropy_loss
from relcl_lib.models.resnet import (
    ConvNorm,
    CosineClassifier,
    LinearClassifier,
    ReducedResNet18,
    build_network,
    fold_batch_norm,
    repeat_seeds,
    select_seed,
)

SIDE = 16


def count(module):
    return sum(p.numel() for p in module.parameters())


def images(seeds, n=6, side=SIDE, seed=0):
    return torch.rand(seeds, n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def train_steps(network, steps):
    """A few SGD steps on made-up labels."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    labels = torch.arange(6).expand(network.body.seeds, 6) % 5
    network.train()
    for step in range(steps):
        all_seeds = images(3, seed=step)[: network.body.seeds]
        loss = cross_entropy_loss(network(all_seeds)[0], labels)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("width", range(1, 25))
def test_the_shortcut_is_a_matrix_product_of_every_second_pixel(width, seeds):
    """At every width: on CPUs without AVX-512 a strided 1x1 convolution crashed below 8 channels."""
    shortcut = ConvNorm(width, 2 * width, 1, 2, seeds).to(memory_format=torch.channels_last)
    shortcut.norm = nn.Identity()
    weight, shape = shortcut.convolution.weight, (10, seeds * width, 8, 8)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(width))
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    for _ in range(10):  # the fault did not show each time
        out = shortcut(x)
        gradients = torch.autograd.grad(out.square().sum(), (weight, x))
    assert torch.isfinite(out).all()

    # The same in float64 without a convolution.
    weight64, x64 = (t.detach().double().requires_grad_() for t in (weight, x))
    pixels = x64[:, :, ::2, ::2].unflatten(1, (seeds, width))
    grouped = weight64.view(seeds, 2 * width, width)
    expected = torch.einsum("bschw,sdc->bsdhw", pixels, grouped).flatten(1, 2)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(
        gradients, torch.autograd.grad(expected.square().sum(), (weight64, x64)), strict=True
    ):
        assert (ours.double() - theirs).norm() < 1e-5 * theirs.norm()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_passes_that_share_cast_weights_are_those_that_do_not(precision):
    """Logits and features in float32, the sum of the gradients, and running statistics."""
    one, two = (build_network([0, 1], 5, (SIDE, SIDE), width=4, precision=precision) for _ in "ab")
    groups = [images(2, n=6), images(2, n=4, seed=1)]
    with one.train().autocast(groups[0].device):
        found = [one(group) for group in groups]
    expected = [two.train()(group) for group in groups]
    for outputs in (found, expected):
        sum(logits.square().mean() for logits, _ in outputs).backward()
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert all(output.dtype == torch.float32 for output in ours)
    for ours, theirs in zip(one.parameters(), two.parameters(), strict=True):
        # In bfloat16 the groups' gradients meet before they are cast to float32.
        within = 1e-5 if precision == torch.float32 else 1e-2
        assert (ours.grad - theirs.grad).norm() <= within * theirs.grad.norm()
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), two.buffers(), strict=True))


def test_a_shortcut_keeps_the_gradient_s_layout():
    """With channels innermost, as the kernels beside it expect it."""
    shortcut = ConvNorm(4, 8, 1, 2, 1).to(memory_format=torch.channels_last)
    x = torch.rand(2, 4, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    kept_gradient = []
    x.register_hook(kept_gradient.append)
    shortcut(x).square().sum().backward()
    assert kept_gradient[0].is_contiguous(memory_format=torch.channels_last)


class TestSizes:
    @pytest.mark.parametrize("side, features", [(32, 160), (64, 640), (84, 640)])
    def test_features_of_the_papers_inputs(self, side, features):
        body = ReducedResNet18().eval()
        assert body.feature_size((side, side)) == features
        with torch.inference_mode():
            assert body(torch.rand(1, 1, 3, side, side)).shape == (1, 1, features)

    def test_parameters_of_the_body(self):
        body = ReducedResNet18()
        assert count(body) == 1_093_140
        assert sum(isinstance(m, nn.BatchNorm2d) for m in body.modules()) == 20
        for module in body.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert (module.momentum, module.eps) == (0.1, 1e-5)
            if isinstance(module, nn.Conv2d):
                assert module.bias is None

    def test_the_wide_network_of_table_iv(self):
        body = ReducedResNet18(width=64)
        assert body.feature_size((32, 32)) == 512
        assert count(body) == 11_168_832

    def test_cosine_head_has_no_bias(self):
        head = build_network([0], 100, (32, 32)).head
        assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
            "weight": (1, 100, 160)
        }

    @given(st.integers(8, 96), st.integers(8, 96))
    @settings(max_examples=25, deadline=None)
    def test_feature_size_is_that_of_a_forward_pass(self, height, width):
        body = ReducedResNet18(width=2).eval()
        with torch.inference_mode():
            found = body(torch.rand(1, 1, 3, height, width)).shape[-1]
        assert body.feature_size((height, width)) == found


class TestSeedsSideBySide:
    @pytest.mark.parametrize("head", ["cosine", "linear"])
    def test_outputs_gradients_and_statistics_are_those_of_separate_networks(self, head):
        together = build_network([3, 1, 8], 5, (SIDE, SIDE), width=4, head=head).train()
        batch = images(3)
        labels = torch.tensor([[0, 1, 2, 3, 4, 0], [1] * 6, [4, 3, 2, 1, 0, 0]])
        logits, features = together(batch)
        cross_entropy_loss(logits, labels).sum().backward()
        for s, seed in enumerate([3, 1, 8]):
            alone = build_network([seed], 5, (SIDE, SIDE), width=4, head=head).train()
            own_logits, own_features = alone(batch[s : s + 1])
            cross_entropy_loss(own_logits, labels[s : s + 1]).sum().backward()
            torch.testing.assert_close(logits[s : s + 1], own_logits, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(features[s : s + 1], own_features, rtol=1e-4, atol=1e-5)
            for ours, theirs in zip(together.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(ours.grad.chunk(3)[s], theirs.grad, rtol=1e-3, atol=1e-4)
            for ours, theirs in zip(together.buffers(), alone.buffers(), strict=True):
                if ours.dim():
                    torch.testing.assert_close(ours.chunk(3)[s], theirs, rtol=1e-4, atol=1e-5)

    def test_a_seed_starts_the_same_alone_and_beside_others(self):
        together = build_network([5, 2], 7, (SIDE, SIDE), width=4).state_dict()
        for s, seed in enumerate([5, 2]):
            alone = build_network([seed], 7, (SIDE, SIDE), width=4).state_dict()
            for name, value in alone.items():
                ours = together[name].chunk(2)[s] if value.dim() else together[name]
                assert torch.equal(ours, value), name

    @pytest.mark.parametrize("head", ["cosine", "linear"])
    def test_select_seed_computes_what_the_seed_does(self, head):
        together = build_network([0, 1, 2], 5, (SIDE, SIDE), width=4, head=head, temperature=0.2)
        train_steps(together, steps=1)
        together.eval()
        batch = images(3, seed=5)
        with torch.inference_mode():
            logits, features = together(batch)
            for s in range(3):
                own_logits, own_features = select_seed(together, s)(batch[s : s + 1])
                torch.testing.assert_close(logits[s], own_logits[0], rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(features[s], own_features[0], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("head", ["cosine", "linear"])
    def test_repeated_seeds_give_each_group_its_own_gradient(self, head):
        network = build_network([0, 1], 5, (SIDE, SIDE), width=4, head=head, temperature=0.2)
        train_steps(network, steps=1)
        wide, groups = repeat_seeds(network, 3), images(6, seed=5)
        logits, _ = wide(groups)
        found = torch.autograd.grad(logits.square().mean((1, 2)).sum(), list(wide.parameters()))
        for place in range(6):
            alone = select_seed(network, place // 3)
            own = alone(groups[place : place + 1])[0].square().mean()
            for ours, theirs in zip(
                found, torch.autograd.grad(own, list(alone.parameters())), strict=True
            ):
                torch.testing.assert_close(ours.chunk(6)[place], theirs, rtol=1e-3, atol=1e-4)

    def test_select_seed_is_a_copy(self):
        together = build_network([0, 1], 5, (SIDE, SIDE), width=2)
        before = together.head.weight.detach().clone()
        alone = select_seed(together, 1)
        with torch.no_grad():
            alone.head.weight.zero_()
        assert torch.equal(together.head.weight, before)


class TestFolding:
    @pytest.mark.parametrize("seeds", [1, 3])
    def test_same_function_after_training(self, seeds):
        network = build_network(range(seeds), 5, (SIDE, SIDE), width=4)
        train_steps(network, steps=4)
        statistics = network.body.stem.norm.running_mean
        assert statistics.abs().max() > 0.01  # otherwise folding would be tested on the identity
        folded = fold_batch_norm(network)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
        batch = images(seeds, n=8, seed=9)
        network.eval()
        with torch.inference_mode():
            for ours, theirs in zip(folded(batch), network(batch), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)

    def test_the_network_itself_is_left_as_it_was(self):
        network = build_network([0], 5, (SIDE, SIDE), width=2).train()
        before = kept(network)
        folded = fold_batch_norm(network)
        folded(images(1))
        assert network.training and not folded.training
        assert same(before, network)
        assert all(p.requires_grad for p in network.parameters())


class TestHeads:
    def test_cosine_logits_by_hand(self):
        head = CosineClassifier(2, 2, temperature=0.5)
        head.weight.data = torch.tensor([[[0.0, 2.0], [3.0, 0.0]]])
        logits = head(torch.tensor([[[3.0, 4.0]]]))
        # cos = 4/5 and 3/5; divided by the temperature.
        torch.testing.assert_close(logits, torch.tensor([[[1.6, 1.2]]]), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
    def test_a_callers_autocast_has_no_say(self, precision):
        network = build_network([0], 3, (16, 16), width=8, precision=precision).eval()
        images = torch.rand(1, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        alone = network(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            within = network(images)
        assert all(
            torch.equal(*pair) and pair[1].dtype == torch.float32
            for pair in zip(alone, within, strict=True)
        )

    def test_cosine_logits_add_the_papers_epsilon_to_the_norms(self):
        head = CosineClassifier(1, 1, temperature=1.0)
        head.weight.data = torch.full((1, 1, 1), 1e-6)
        assert head(torch.ones(1, 1, 1)).item() == pytest.approx(0.5, abs=1e-5)
        assert head(torch.zeros(1, 1, 1)).item() == 0

    def test_linear_head_is_torchs(self):
        head, torchs = LinearClassifier(7, 3, seeds=2), [nn.Linear(7, 3) for _ in range(2)]
        head.weight.data = torch.stack([t.weight.data for t in torchs])
        head.bias.data = torch.stack([t.bias.data for t in torchs]).unsqueeze(1)
        z = torch.randn(2, 4, 7)
        expected = torch.stack([t(x) for t, x in zip(torchs, z, strict=True)])
        torch.testing.assert_close(head(z), expected)

    def test_both_start_within_torchs_default_range(self):
        for head in (CosineClassifier(400, 50), LinearClassifier(400, 50)):
            assert 0.045 < head.weight.abs().max() <= 0.05  # 1 / sqrt(400)

    def test_unknown_head(self):
        with pytest.raises(ValueError, match="'cosine' or 'linear'"):
            build_network([0], 5, (SIDE, SIDE), head="round")


def test_bfloat16_keeps_float32_outside_the_body():
    network = build_network([0, 1], 5, (SIDE, SIDE), width=4, precision=torch.bfloat16)
    logits, features = network(images(2))
    assert logits.dtype == features.dtype == torch.float32
    logits.sum().backward()
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in network.parameters())
    exact = build_network([0, 1], 5, (SIDE, SIDE), width=4)
    torch.testing.assert_close(exact(images(2))[1], features, rtol=0.1, atol=0.1)
