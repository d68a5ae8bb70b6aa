"""Parameters of DRL's runs: tracks, methods, variants and the three profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from relcl_lib.lab.notebook import Notebook, Profiles, with_quick
from relcl_lib.lab.parameters import Device, ParameterError, Parameters, Seeds
from relcl_lib.losses.discriminative import VARIANTS as LOSSES
from relcl_lib.papers.drl.methods import METHODS

#: track -> what was submitted for it (the last row of each table); lambda is ResNeSt's
TRACKS: dict[str, dict[str, Any]] = {
    "NI": {"method": "BER", "batch_size": 16, "memory_size": 1500, "drl_weight": 1e-3},
    "Multi-Task-NC": {"method": "ER", "batch_size": 16, "memory_size": 500, "drl_weight": 2e-4},
    "NIC": {"method": "Shuffle", "batch_size": 32, "memory_size": 50, "drl_weight": 1e-5},
    # Figure 2: its setting is not stated; this is the stream of the GSS paper.
    "Disjoint": {"method": "BER", "batch_size": 10, "memory_size": 100, "drl_weight": 1e-3},
}
#: data set -> its backbone; B, m and lambda of a stand-in stay the tables'
BACKBONES = {
    "core50": "microsoft/resnet-50",
    "tiny_imagenet": "reduced_resnet18",
    "tiny_imagenet_100": "reduced_resnet18",
    "cifar100": "reduced_resnet18",
    "cifar10": "reduced_resnet18",
    "mnist": "mlp",
    "digits": "mlp",
    "own": "reduced_resnet18",
}
FROM_SCRATCH = ("mlp", "reduced_resnet18")
#: network -> its learning rate; 0.01 for pretrained ones
RATES = {"mlp": 1e-3, "reduced_resnet18": 0.1}

VARIANTS: dict[str, dict[str, Any]] = {
    "released": {"loss": "released", "taps": "logits", "er": "released"},
    "paper": {"loss": "paper", "taps": "all", "er": "paper", "freeze_stages": 0},
}


class DrlParameters(Parameters):
    """Runs of one method on one track of one data set, one a seed.

    Fields that are None take the value of the track, the variant or the data set (``resolved``).
    """

    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {
            "dataset": "digits",
            "learning_rate": 3e-3,
            "epochs": 4,
            "precision": "float32",  # the same numbers with and without bfloat16 in hardware
        },
        # So narrow that all tables with several seeds are hours on one core, not days.
        "reduced": {"dataset": "cifar10", "seeds": [0, 1, 2], "width": 8},
        "full": {"dataset": "core50"},
    }

    dataset: Literal[tuple(BACKBONES)] = Field(
        "core50", description="CORe50, a stand-in's base, or own: images of your own with sessions"
    )
    data_root: str | None = Field(None, description="folder that holds the data set")
    track: Literal[tuple(TRACKS)] | None = Field(None, description="None: NI; mnist: Disjoint")
    order: int = Field(0, ge=0, le=9, description="order of the experiences, CORe50's official run")
    limit: int | None = Field(None, ge=1, description="training images per experience")
    method: Literal[tuple(METHODS)] | None = Field(None, description="None: as submitted")
    variant: Literal["released", "paper"] = Field("released", description="code's or printed form")
    seeds: Seeds = Field([0], description="one run each")
    loss: Literal[LOSSES] | None = Field(None, description="form of the discriminative loss")
    taps: Literal["all", "logits"] | None = Field(None, description="its representations")
    drl_weight: float | None = Field(None, ge=0, description="lambda; 0 leaves the loss out")
    alpha: float = Field(2.0, description="pairs of one class in loss='later'")
    er: Literal["paper", "released"] | None = Field(None, description="composition of ER's batches")
    heads: Literal["released", "masked", "task"] = Field(
        "released",
        description="Multi-Task-NC: masked has its argmax over a task's classes, task has the "
        "gradients of past tasks (GEM, A-GEM) through their own heads",
    )
    memory_size: int | None = Field(
        None, ge=1, description="images stored per experience, for videos of 300 images"
    )
    memory_budget: int | None = Field(None, ge=1, description="images in all, in place of that")
    batch_size: int | None = Field(None, ge=1, description="B, current images per step")
    epochs: int = Field(1, ge=1, description="passes over an experience")
    optimizer: Literal["sgd", "adam"] | None = None
    learning_rate: float | None = Field(None, gt=0)
    reference_size: int = Field(256, ge=1, description="A-GEM: images behind its gradient")
    gem_margin: float = Field(0.0, ge=0, description="GEM: least multiplier")
    gss_parts: int = Field(10, ge=1, description="GSS: parts of the memory a score looks at")
    gss_part: int = Field(10, ge=1, description="GSS: images of each part")
    backbone: str | None = Field(None, description="mlp, reduced_resnet18, timm/..., hub or folder")
    freeze_stages: int | None = Field(None, ge=0, description="stages kept as pretrained")
    width: int = Field(20, ge=1, description="first channels of the reduced ResNet-18")
    image_size: int | None = Field(None, ge=8, description="resize to this side; None keeps it")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Device = "auto"

    @classmethod
    def create(cls, values: Mapping[str, Any] | None = None, **named: Any) -> Self:
        """As of every paper; what `quick` sets for the network of digits is for that network alone."""
        given = {**(values or {}), **named}
        small, dataset = given.get("profile", "quick") == "quick", given.get("dataset") or "digits"
        backbone = given.get("backbone") or BACKBONES.get(dataset, "mlp")
        if small and backbone != "mlp":
            own = {
                "learning_rate": RATES.get(backbone, 0.01),
                "width": cls.profiles["reduced"]["width"],
            }
            given |= {name: value for name, value in own.items() if given.get(name) is None}
        return super().create(given)

    def resolved(self) -> DrlParameters:
        """Return the parameters with every None filled in that the run needs.

        Raises:
            ParameterError: settings that contradict one another.
        """
        track = self.track or ("Disjoint" if self.dataset == "mnist" else "NI")
        if self.dataset == "mnist" and track != "Disjoint":
            raise ParameterError(
                f"mnist has no sessions, which track={track!r} needs; use Disjoint"
            )
        submitted, form = dict(TRACKS[track]), dict(VARIANTS[self.variant])
        backbone = self.backbone or BACKBONES[self.dataset]
        if backbone == "mlp":
            form["taps"] = "all"  # the figures are drawn with all; the tables have no such network
        if track == "NIC":
            # There are more experiences than B: the release's form would replay nothing.
            form["er"] = "paper"
            if not backbone.startswith("timm/"):
                submitted["drl_weight"] = 2e-4  # the tables' ResNet rows
        if (self.method or submitted["method"]) not in ("Shuffle", "ER", "BER"):
            submitted["drl_weight"] = 0.0
        filled = {
            "track": track,
            "backbone": backbone,
            "limit": 1000 if track == "Disjoint" else None,
            "optimizer": "adam" if backbone == "mlp" else "sgd",
            "learning_rate": RATES.get(backbone, 0.01),
            "freeze_stages": 2 if track == "NIC" else 1,
            **submitted,
            **form,
        }
        if backbone in FROM_SCRATCH:
            filled["freeze_stages"] = 0
        given = self.model_dump(exclude_none=True)
        if backbone == "mlp":  # so small a network gains nothing by fewer digits
            given["precision"] = "float32"
        return type(self).model_validate({**filled, **given})


class DrlNotebook(Notebook, DrlParameters):
    """What `drl.ipynb` takes: a run's parameters, and where the notebook writes.

    The small network of its quick profile has short representations, so the loss needs a larger
    weight than the tables' to do anything. Its runs take less than a second, so there are eight seeds:
    fewer show no difference of a few points.
    """

    runs: ClassVar[type[Parameters]] = DrlParameters
    chosen: ClassVar[tuple[str, ...]] = ("track", "method")
    profiles: ClassVar[Profiles] = with_quick(DrlParameters, drl_weight=1e-2, seeds=list(range(8)))

    @classmethod
    def create(cls, values: Mapping[str, Any] | None = None, **named: Any) -> Self:
        """As of every notebook.

        Raises:
            ParameterError: for MNIST, which the notebook's sections choose by themselves, too.
        """
        given = {**(values or {}), **named}
        if given.get("dataset") == "mnist":
            raise ParameterError(
                "dataset='mnist': the notebook reads MNIST by itself for Figures 1 and 2; dataset takes "
                "core50, own or the base of a stand-in"
            )
        return super().create(given)
