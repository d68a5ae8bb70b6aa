"""Representations of each backbone (check 9), freezing (check 14), heads (check 15)."""

import sys
import types
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from relcl_lib.losses import discriminative_loss
from relcl_lib.models.resnet import build_network
from relcl_lib.models.taps import (
    RESNET50,
    TappedNetwork,
    save_head,
    set_head,
    tapped_network,
    trunk_digest,
)


def images(n=2, side=32, channels=3):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def resnet_folder(tmp_path_factory):
    """A small ResNet of transformers' own format, as a user's folder would hold one."""
    from transformers import ResNetConfig, ResNetForImageClassification

    folder = tmp_path_factory.mktemp("resnet")
    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], num_labels=7
    )
    ResNetForImageClassification(config).save_pretrained(folder)
    return folder


def strided_pointwise(network):
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and max(layer.stride) > 1
    ]


def test_at_no_width_a_network_has_the_convolution_that_crashes_without_avx512():
    """A strided 1x1 convolution of fewer than 8 channels: in HPCR's networks and in DRL's."""
    for width in (1, 2, 4, 7, 8, 24):
        for seeds in ([0], [0, 1]):
            assert not strided_pointwise(build_network(seeds, 3, (8, 8), width=width))
        assert not strided_pointwise(tapped_network("reduced_resnet18", 3, (3, 8, 8), width=width))


@pytest.mark.parametrize("layers", ["basic", "bottleneck"])
@pytest.mark.parametrize("width", [1, 2, 4, 7, 8, 15, 16, 24])
def test_a_narrow_network_of_somebody_elses_is_what_it_was(tmp_path, width, layers):
    """Channels last, as CORe50's images are: there the convolution crashed."""
    from transformers import ResNetConfig, ResNetForImageClassification

    wide = width if layers == "basic" else 4 * width
    sizes = {"embedding_size": width, "hidden_sizes": [wide] * 4, "depths": [1] * 4}
    torch.manual_seed(width)
    theirs = ResNetForImageClassification(ResNetConfig(**sizes, layer_type=layers, num_labels=5))
    theirs.save_pretrained(tmp_path)
    ours = tapped_network(str(tmp_path), 5, (3, 32, 32))
    assert all(layer.in_channels >= 16 for layer in strided_pointwise(ours))
    x = images(16).contiguous(memory_format=torch.channels_last)
    gradients = []
    for network in (ours.network, theirs.double()):  # oneDNN computes nothing in float64
        network.eval()  # batch norm over few pixels would magnify rounding
        for _ in range(5):  # the fault did not show each time
            network.zero_grad()
            network(x.to(network.dtype)).logits.square().sum().backward()
        gradients.append([p.grad.double() for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        # The fault leaves what happens to lie in memory; rounding turns a few ReLUs.
        assert (one - other).norm() <= 1e-2 * other.norm() + 1e-9


class TestShapes:
    def test_resnet50_at_128(self):
        from transformers import ResNetConfig, ResNetForImageClassification

        network = ResNetForImageClassification(ResNetConfig(num_labels=50))
        assert sum(p.numel() for p in network.parameters()) == 23_610_482
        tapped = TappedNetwork(network, RESNET50).eval()
        with torch.inference_mode():
            logits, found = tapped(images(1, 128))
            hidden = network(images(1, 128), output_hidden_states=True).hidden_states
        sizes = [64 * 32 * 32, 256 * 32 * 32, 512 * 16 * 16, 1024 * 8 * 8, 2048 * 4 * 4, 50]
        assert [tuple(h.shape) for h in found] == [(1, size) for size in sizes]
        assert found[-1] is logits
        for ours, theirs in zip(found, hidden, strict=False):
            torch.testing.assert_close(ours.sort().values, theirs.flatten(1).sort().values)

    def test_resnet_from_a_folder_gets_a_new_head(self, resnet_folder):
        first, same, other = (
            tapped_network(str(resnet_folder), 50, (3, 32, 32), seed=seed) for seed in (0, 0, 1)
        )
        assert first.head.weight.shape == (50, 64)
        assert torch.equal(first.head.weight, same.head.weight)
        assert not torch.equal(first.head.weight, other.head.weight)
        name = "network.resnet.encoder.stages.0.layers.0.shortcut.convolution.weight"
        assert torch.equal(first.get_parameter(name), other.get_parameter(name))  # pretrained
        assert len(first(images())[1]) == 6

    def test_reduced_resnet_is_the_replay_networks(self):
        tapped = tapped_network("reduced_resnet18", 10, (3, 32, 32), width=4, seed=3).eval()
        replay = build_network([3], 10, (32, 32), width=4, head="linear").eval()
        logits, found = tapped(images())
        expected, _ = replay(images().unsqueeze(0))
        torch.testing.assert_close(logits, expected[0], rtol=1e-4, atol=1e-5)
        sizes = [4 * 32 * 32, 8 * 16 * 16, 16 * 8 * 8, 32 * 4 * 4, 10]
        assert [tuple(h.shape) for h in found] == [(2, size) for size in sizes]

    def test_mlp(self):
        tapped = tapped_network("mlp", 10, (1, 28, 28))
        logits, found = tapped(images(2, 28, 1))
        assert [tuple(h.shape) for h in found] == [(2, 100), (2, 100), (2, 10)]
        assert all((h >= 0).all() for h in found[:-1])  # after the ReLU
        assert found[-1] is logits

    def test_timm_is_asked_for_by_name_and_only_then(self, monkeypatch):
        class Network(nn.Module):
            def __init__(self, classes):
                super().__init__()
                self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
                for i in range(1, 5):
                    self.add_module(f"layer{i}", nn.Conv2d(4, 4, 3, 2, padding=1))
                self.fc = nn.Linear(4, classes)

            def forward(self, x):
                x = self.bn1(self.conv1(x))
                for i in range(1, 5):
                    x = self.get_submodule(f"layer{i}")(x)
                return self.fc(x.mean((2, 3)))

        asked = []

        def create_model(name, pretrained, num_classes):
            asked.append((name, pretrained))
            network = Network(num_classes)
            network.default_cfg = {"architecture": name.split(".")[0]}
            return network

        monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
        tapped = tapped_network("timm/resnest50d.in1k", 50, (3, 32, 32))
        tapped.freeze(1)
        assert asked == [("resnest50d.in1k", True)]
        assert [h.shape[1] for h in tapped(images())[1]] == [4 * 256, 4 * 64, 4 * 16, 4 * 4, 50]
        assert tapped.layout.name == "ResNeSt50"
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(ImportError, match=r"needs the package timm: pip install '\.\[timm\]'"):
            tapped_network("timm/resnest50d.in1k", 50, (3, 32, 32))

    @pytest.mark.skipif(not find_spec("timm"), reason="needs the extra timm")
    def test_the_papers_resnest_by_timm_itself(self, monkeypatch):
        """Its shapes at CORe50's 128 x 128, its stages, its name; weights drawn, none downloaded."""
        import timm

        create, asked = timm.create_model, []

        def create_model(name, pretrained, num_classes):
            asked.append((name, pretrained))
            return create(name, pretrained=False, num_classes=num_classes)

        monkeypatch.setattr(timm, "create_model", create_model)
        tapped = tapped_network("timm/resnest50d.in1k", 50, (3, 128, 128), seed=1)
        assert asked == [("resnest50d.in1k", True)]
        assert tapped.layout.name == "ResNeSt50"
        again = tapped_network("timm/resnest50d.in1k", 50, (3, 128, 128), seed=1)
        assert trunk_digest(again) == trunk_digest(tapped)
        logits, found = tapped(images(2, 128))
        maps = [(256, 32), (512, 16), (1024, 8), (2048, 4)]
        assert [h.shape[1] for h in found] == [*(c * side * side for c, side in maps), 50]
        assert found[-1] is logits and logits.shape == (2, 50)
        tapped.freeze(2)
        trained = {
            name.split(".")[0] for name, p in tapped.network.named_parameters() if p.requires_grad
        }
        assert trained == {"layer3", "layer4", "fc"}
        discriminative_loss(found, torch.tensor([0, 1])).backward()
        assert tapped.head.weight.grad.abs().sum() > 0
        set_head(tapped)
        assert not tapped(images(2, 128))[0].any()

    def test_the_order_of_a_maps_numbers_touches_no_inner_product(self):
        tapped = tapped_network("reduced_resnet18", 10, (3, 16, 16), width=4).eval()
        maps = []
        for name in tapped.layout.taps:
            tapped.network.get_submodule(name).register_forward_hook(
                lambda module, inputs, output: maps.append(output)
            )
        _, found = tapped(images(3, 16))
        for h, output in zip(found, maps, strict=False):
            flat = output.contiguous().flatten(1)
            torch.testing.assert_close(h @ h.T, flat @ flat.T, rtol=1e-4, atol=1e-4)

    def test_unknown_taps(self):
        with pytest.raises(ValueError, match="taps='some' must be 'all' or 'logits'"):
            TappedNetwork(nn.Linear(1, 1), RESNET50, taps="some")


def test_only_all_taps_reach_the_trunk_past_the_head():
    """With the head's input cut off, the loss on logits leaves the trunk alone; on all it does not."""
    labels = torch.tensor([0, 1, 0, 1])
    for taps in ("logits", "all"):
        tapped = tapped_network("mlp", 3, (1, 4, 4), taps=taps)
        tapped.head.register_forward_pre_hook(lambda module, inputs: (inputs[0].detach(),))
        discriminative_loss(tapped(images(4, 4, 1))[1], labels).backward()
        trunk = [p.grad for p in tapped.network.layers.parameters()]
        assert all(g is not None and g.abs().sum() > 0 for g in trunk) == (taps == "all")
        assert tapped.head.weight.grad.abs().sum() > 0


def test_the_gradient_through_hooked_maps_is_that_of_the_maps():
    """No later operation in place may edit what a hook has kept."""
    tapped = tapped_network("reduced_resnet18", 4, (3, 8, 8), width=2).double()
    x, labels = images(4, 8).double(), torch.arange(4)
    weight = tapped.network.body.stem.convolution.weight

    def value():
        return discriminative_loss(tapped(x)[1], labels, variant="dev")

    (found,) = torch.autograd.grad(value(), weight)
    step = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)).double() * 1e-6
    with torch.no_grad():
        weight += step
        up = value()
        weight -= 2 * step
        down = value()
    assert float(up - down) / 2 == pytest.approx(float((found * step).sum()), rel=1e-3)


@pytest.mark.parametrize("backbone", ["reduced_resnet18", "folder"])
def test_frozen_stages_keep_weights_and_move_statistics(backbone, resnet_folder):
    name = str(resnet_folder) if backbone == "folder" else backbone
    tapped = tapped_network(name, 5, (3, 32, 32), width=4)
    tapped.freeze(1)
    frozen = [n for n, p in tapped.named_parameters() if not p.requires_grad]
    stem, first, second = (
        ("body.stem", "body.blocks.0", "body.blocks.2")
        if backbone == "reduced_resnet18"
        else ("embedder", "stages.0", "stages.1")
    )
    assert any(stem in n for n in frozen) and any(first in n for n in frozen)
    assert not any(second in n for n in frozen)
    before = {k: v.clone() for k, v in tapped.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in tapped.parameters() if p.requires_grad], lr=0.1)
    tapped.train()
    logits, _ = tapped(images(4))
    logits.square().mean().backward()
    optimizer.step()
    after = tapped.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in frozen)
    assert not torch.equal(
        before[n := next(k for k in before if stem in k and "mean" in k)], after[n]
    )
    assert any(
        not torch.equal(before[n], p)
        for n, p in tapped.named_parameters()
        if p.requires_grad and second in n
    )


def test_freezing_nothing_and_too_much():
    tapped = tapped_network("reduced_resnet18", 5, (3, 8, 8), width=2)
    tapped.freeze(0)
    assert all(p.requires_grad for p in tapped.parameters())
    with pytest.raises(ValueError, match="freeze_stages=5: Reduced ResNet-18 has 4 stages"):
        tapped.freeze(5)


@pytest.mark.parametrize("backbone", ["mlp", "reduced_resnet18"])
def test_heads_are_copies(backbone):
    tapped = tapped_network(backbone, 5, (3, 8, 8), width=2).eval()
    kept = save_head(tapped)
    expected = tapped(images(3, 8))[0]
    set_head(tapped)
    assert (tapped(images(3, 8))[0] == 0).all()
    assert all(v.abs().sum() > 0 for v in kept.values())
    set_head(tapped, kept)
    assert torch.equal(tapped(images(3, 8))[0], expected)


def test_bfloat16_logits_are_float32():
    tapped = tapped_network(
        "reduced_resnet18", 5, (3, 8, 8), width=2, precision=torch.bfloat16, taps="all"
    )
    logits, found = tapped(images(3, 8))
    assert logits.dtype == torch.float32
    assert found[0].dtype == torch.bfloat16
    assert discriminative_loss(found, torch.arange(3)).dtype == torch.float32
    mlp = tapped_network("mlp", 5, (3, 8, 8), precision=torch.bfloat16)
    assert mlp(images(3, 8))[1][0].dtype == torch.float32
