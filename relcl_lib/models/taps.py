"""The representations of a network: forward hooks on its stages, and the logits.

net = tapped_network("reduced_resnet18", 10, (3, 32, 32), seed=0)
logits, representations = net(images)
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relcl_lib.data.weights import damage_named
from relcl_lib.lab.runtime import seeded_initialisation
from relcl_lib.models.resnet import build_network


@dataclass(frozen=True)
class Layout:
    """Where things are in a network, by the names of its modules.

    Attributes:
        name: as the paper's tables print it.
        taps: modules whose outputs are representations, in the order they run.
        stages: the stem, then the stages, each the modules that freezing it freezes.
        head: the last layer.
    """

    name: str
    taps: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    head: str


class TappedNetwork(nn.Module):
    """A network that gives out its logits and its representations.

    `network` maps images to logits, or to an object whose `logits` they are. `taps` are `all` (the
    layout's, then the logits) or `logits`, those alone. `precision` is torch.float32, or
    torch.bfloat16 for autocast; logits are float32.
    """

    def __init__(
        self,
        network: nn.Module,
        layout: Layout,
        taps: str = "all",
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if taps not in ("all", "logits"):
            raise ValueError(f"taps={taps!r} must be 'all' or 'logits'")
        self.network, self.layout, self.precision = network, layout, precision
        self._found: list[Tensor] = []
        if taps == "all":
            for name in layout.taps:
                self.network.get_submodule(name).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        self._found.append(output)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map images (N, C, H, W) to logits (N, classes) and representations, each (N, D_l).

        The logits are the last representation. The numbers of a map are in the order in which they
        lie in memory, which no inner product depends on.
        """
        self._found.clear()
        enabled = self.precision != torch.float32
        with torch.autocast(images.device.type, dtype=self.precision, enabled=enabled):
            logits = self.network(images)
        logits = getattr(logits, "logits", logits).float()
        found = [_rows(output) for output in self._found]
        self._found.clear()  # a step's maps must not outlive it
        return logits, [*found, logits]

    @contextlib.contextmanager
    def in_float32(self) -> Iterator[None]:
        """Compute in float32 within: torch cannot vmap a batch norm under autocast."""
        precision, self.precision = self.precision, torch.float32
        try:
            yield
        finally:
            self.precision = precision

    @property
    def head(self) -> nn.Module:
        """The last layer."""
        return self.network.get_submodule(self.layout.head)

    def freeze(self, stages: int) -> None:
        """Keep the weights of the stem and the first `stages` stages as they are; 0 freezes none.

        As in the released code their batch norms go on updating their statistics in training mode.
        """
        if not 0 <= stages < len(self.layout.stages):
            raise ValueError(
                f"freeze_stages={stages}: {self.layout.name} has {len(self.layout.stages) - 1} "
                "stages that can be frozen"
            )
        for names in self.layout.stages[: stages + 1 if stages else 0]:
            for name in names:
                self.network.get_submodule(name).requires_grad_(False)


def _rows(output: Tensor) -> Tensor:
    """Flatten a map (B, C, H, W) to (B, D) without a copy, whichever way it lies in memory."""
    if output.ndim == 4 and output.stride(1) == 1 and output.shape[1] > 1:
        output = output.permute(0, 2, 3, 1)
    return output.flatten(1)


class Mlp(nn.Module):
    """The network of DRL's MNIST studies: two hidden layers with ReLU, over flattened images."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        sizes = [inputs, 100, 100]
        # Not in place: what a hidden layer gives out is a representation, and stays one.
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(n, m), nn.ReLU()) for n, m in pairwise(sizes)
        )
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, ...) to logits (B, C)."""
        x = images.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class SingleReplayNetwork(nn.Module):
    """The reduced ResNet-18 of online replay for one seed, without the dimension that counts seeds."""

    def __init__(self, classes: int, image_size: tuple[int, int], width: int, seed: int) -> None:
        super().__init__()
        network = build_network([seed], classes, image_size, width=width, head="linear")
        self.body, self.head = network.body, network.head

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, C)."""
        x = self.body.blocks(F.relu(self.body.stem(images)))
        x = F.avg_pool2d(x, min(4, *x.shape[-2:])).flatten(1)
        return self.head(x.unsqueeze(0))[0]


# Stages as transformers, timm and relcl_lib name them. ResNeSt has no stem tap, as released; where
# the reduced network has no released form it follows ResNeSt.
RESNET50 = Layout(
    "ResNet50",
    ("resnet.embedder", *(f"resnet.encoder.stages.{i}" for i in range(4))),
    (("resnet.embedder",), *((f"resnet.encoder.stages.{i}",) for i in range(4))),
    "classifier.1",
)
RESNEST50 = Layout(
    "ResNeSt50",
    tuple(f"layer{i}" for i in range(1, 5)),
    (("conv1", "bn1"), *((f"layer{i}",) for i in range(1, 5))),
    "fc",
)
REDUCED = Layout(
    "Reduced ResNet-18",
    tuple(f"body.blocks.{i}" for i in (1, 3, 5, 7)),
    (("body.stem",), *((f"body.blocks.{i}", f"body.blocks.{i + 1}") for i in (0, 2, 4, 6))),
    "head",
)
MLP = Layout("MLP 2x100", ("layers.0", "layers.1"), ((), ("layers.0",), ("layers.1",)), "head")


def tapped_network(
    backbone: str,
    classes: int,
    image_shape: tuple[int, int, int],
    *,
    seed: int = 0,
    taps: str = "all",
    width: int = 20,
    precision: torch.dtype = torch.float32,
) -> TappedNetwork:
    """Build a backbone with a fresh head of `classes` outputs; what is drawn, `seed` draws.

    Args:
        backbone: `mlp` or `reduced_resnet18`, both from scratch; `timm/<name>`, a pretrained
            ResNeSt or another network with `layer1` to `layer4` (needs the extra `timm`); else
            a ResNet of transformers by hub name or folder, such as `microsoft/resnet-50`.
        classes: outputs of the head.
        image_shape: (C, H, W) of what it will see.
        seed: of the initialisation.
        taps, precision: see `TappedNetwork`; the MLP stays in float32.
        width: first channels of the reduced ResNet-18.
    """
    with seeded_initialisation(seed):
        if backbone == "mlp":
            inputs = image_shape[0] * image_shape[1] * image_shape[2]
            return TappedNetwork(Mlp(inputs, classes), MLP, taps)
        if backbone == "reduced_resnet18":
            network: nn.Module = SingleReplayNetwork(classes, image_shape[1:], width, seed)
            layout = REDUCED
        elif backbone.startswith("timm/"):
            network = _timm_network(backbone.removeprefix("timm/"), classes)
            layout = replace(RESNEST50, name=_timm_name(network))
        else:
            network = _transformers_network(backbone, classes)
            layout = replace(RESNET50, name=_resnet_name(network.config))
        _take_pixels_beforehand(network)
    return TappedNetwork(network, layout, taps, precision)


def _transformers_network(name: str, classes: int) -> nn.Module:
    from transformers import ResNetForImageClassification
    from transformers.utils import logging

    # The report of a head that was replaced is what is asked for here, no news.
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    place = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    try:
        with damage_named(place):
            return ResNetForImageClassification.from_pretrained(
                place, num_labels=classes, ignore_mismatched_sizes=True, use_safetensors=True
            )
    finally:
        logging.set_verbosity(level)


def _resnet_name(config: Any) -> str:
    """A ResNet's name, such as ResNet50: its convolutions, and the last layer."""
    in_block = 3 if config.layer_type == "bottleneck" else 2
    return f"ResNet{in_block * sum(config.depths) + 2}"


def _timm_name(network: nn.Module) -> str:
    """What timm calls a network; the paper's ResNeSt by the paper's name."""
    name = network.default_cfg.get("architecture", type(network).__name__)
    return "ResNeSt50" if name == "resnest50d" else name


def _timm_network(name: str, classes: int) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f"backbone='timm/{name}' needs the package timm: pip install '.[timm]', or choose "
            "another backbone"
        ) from error
    return timm.create_model(name, pretrained=True, num_classes=classes)


def _take_pixels_beforehand(network: nn.Module) -> None:
    """Let no 1x1 convolution of few channels have a stride: `ConvNorm` says why.

    It gets every stride-th pixel instead. ResNets as they are published have 64 channels and more.
    """
    for layer in network.modules():
        narrow = isinstance(layer, nn.Conv2d) and layer.in_channels // layer.groups < 16
        if (
            narrow
            and layer.kernel_size == (1, 1)
            and max(layer.stride) > 1
            and not any(layer.padding)
        ):
            step = tuple(slice(None, None, stride) for stride in layer.stride)
            layer.register_forward_pre_hook(lambda _, x, step=step: x[0][(..., *step)])
            layer.stride = (1, 1)


def trunk_digest(network: TappedNetwork) -> str:
    """What a network is by content, its head left out: 16 hex digits."""
    digest = hashlib.sha256()
    for name, value in sorted(network.network.state_dict().items()):
        if not name.startswith(f"{network.layout.head}."):
            digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def save_head(network: TappedNetwork) -> dict[str, Tensor]:
    """A copy of the head's parameters."""
    return {name: value.detach().clone() for name, value in network.head.state_dict().items()}


@torch.no_grad()
def set_head(network: TappedNetwork, values: Mapping[str, Tensor] | None = None) -> None:
    """Put saved parameters into the head, or zeros."""
    for name, parameter in network.head.named_parameters():
        parameter.copy_(values[name] if values is not None else torch.zeros_like(parameter))


@contextlib.contextmanager
def heads_by_row(
    network: TappedNetwork, heads: Sequence[Mapping[str, Tensor]], rows: Tensor
) -> Iterator[None]:
    """Give each row of the batches within a head of its own, `heads[rows[i]]`; rows is (B,).

    The network's own head is run and what it says dropped, so it gets no gradient.
    """
    classes, size = heads[0]["weight"].shape[-2:]
    weight = torch.cat([head["weight"].reshape(classes, size) for head in heads])  # (T*C, D)
    bias = torch.cat([head["bias"].reshape(classes) for head in heads])  # (T*C,)
    place = torch.arange(len(rows), device=rows.device)

    def by_row(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        features = inputs[0].reshape(-1, size)  # (B, D)
        every = F.linear(features, weight, bias).view(-1, len(heads), classes)  # (B, T, C)
        return every[place, rows].view_as(output)

    hook = network.head.register_forward_hook(by_row)
    try:
        yield
    finally:
        hook.remove()
