"""Parameters of the online replay runs (HPCR and its baselines), and their three profiles."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from relcl_lib.lab.notebook import Notebook, Profiles, with_quick
from relcl_lib.lab.parameters import Device, ParameterError, Parameters, Seeds
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.strategies.proxies import with_pairs

#: data set -> (the paper's name of its stream, tasks, alpha of PCD)
STREAMS = {
    "digits": ("Split Digits", 5, 0.1),
    "mnist": ("Split MNIST", 5, 0.1),
    "cifar10": ("Split CIFAR10", 5, 0.01),
    "cifar100": ("Split CIFAR100", 10, 0.1),
    "mini_imagenet": ("Split MiniImageNet", 10, 0.1),
    "tiny_imagenet": ("Split TinyImageNet", 20, 0.1),
    "tiny_imagenet_100": ("Split TinyImageNet-100", 10, 0.1),
}
PAPER_STREAMS = ("cifar10", "cifar100", "mini_imagenet", "tiny_imagenet")
STAND_INS = ("digits", "mnist")

#: What ``variant="paper"`` changes: the printed form of each point where paper and release differ.
#: PCD is the released mean in both, the form that the released alpha belongs to.
VARIANTS: dict[str, dict[str, Any]] = {
    "released": {
        "hc_form": "released",
        "ht": "released",
        "ht_counter": "task",
        "scd": "released",
        "distil_from_task": 1,
        "joint_forward": False,
    },
    "paper": {
        "hc_form": "paper",
        "ht": "paper",
        "ht_counter": "run",
        "scd": "paper",
        "distil_from_task": 0,
        "joint_forward": True,
    },
}


class ReplayParameters(Parameters):
    """A run of one method on one stream, S seeds side by side.

    Fields that are None take the value of the method, the variant or the data set (``resolved``).
    """

    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {
            "dataset": "digits",
            "buffer_size": 20,
            "width": 8,
            "image_size": 16,
            "precision": "float32",  # the same numbers with and without bfloat16 in hardware
        },
        "reduced": {"dataset": "cifar10", "seeds": [0, 1, 2]},
        "full": {"dataset": "cifar10", "seeds": list(range(10))},
    }

    dataset: Literal[tuple(STREAMS)] = Field("cifar10", description="data set to split into tasks")
    data_root: str | None = Field(None, description="folder that holds the data set")
    method: Literal[tuple(METHODS)] = Field("HPCR", description="row of the paper's tables")
    variant: Literal["released", "paper"] = Field("released", description="code's or printed form")
    seeds: Seeds = Field([0, 1, 2], description="one run each, side by side")
    n_tasks: int | None = Field(None, ge=1, description="tasks the classes are split into")
    buffer_size: int = Field(200, ge=1, description="images the memory holds")
    stream_batch: int = Field(10, ge=1, description="images that arrive each step")
    memory_batch: int = Field(10, ge=1, description="images replayed each step")
    views: Literal[1, 2] = Field(2, description="2: clean and augmented, 1: clean only")
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(0.1, gt=0)
    temperature: float = Field(0.09, gt=0, description="tau inside the softmax")
    head: Literal["cosine", "linear"] | None = Field(None, description="None: the method's own")
    hc: Literal["auto", "on", "off"] | None = Field(None, description="pairs between samples")
    hc_form: Literal["released", "paper"] | None = Field(None, description="form of Eq. 18")
    ht: Literal["released", "paper", "off"] | None = Field(None, description="temperature schedule")
    ht_period: int = Field(500, ge=1, description="steps per cycle, the paper's S")
    ht_counter: Literal["task", "run"] | None = Field(None, description="where s starts at 0")
    t_min: float = Field(0.05, gt=0)
    t_max: float = Field(0.16, gt=0, validate_default=True)  # also where only t_min is given
    pcd: bool | None = Field(None, description="distil stored logits")
    scd: Literal["released", "paper", "off"] | None = Field(None, description="distil relations")
    alpha: float | None = Field(None, ge=0, description="weight of PCD")
    beta: float = Field(0.5, ge=0, description="weight of SCD; of replayed labels in DER++")
    distil_from_task: int | None = Field(None, ge=0, description="first task with distillation")
    joint_forward: bool | None = Field(None, description="stream and memory in one pass")
    width: int = Field(20, ge=1, description="first channels of the reduced ResNet-18")
    image_size: int | None = Field(None, ge=8, description="resize to this side; None keeps it")
    flip: bool | None = Field(None, description="horizontal flips; None: not for digits")
    options: dict[str, int | float] = Field({}, description="the method's own constants, by name")
    mask: Literal["seen", "all"] = Field("seen", description="classes that a test may name")
    hold_out: float = Field(0.0, ge=0, lt=1, description="train share to test on, for tuning")
    reencode: Literal["none", "jpeg75"] = Field(
        "none", description="encoding of the training images, those held out among them"
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Device = "auto"
    cuda_graph: bool = Field(False, description="on a GPU, repeat a task's step as one CUDA graph")

    @field_validator("t_max")
    @classmethod
    def _ordered(cls, t_max: float, info: Any) -> float:
        if "t_min" in info.data and t_max < info.data["t_min"]:
            raise ValueError(f"t_max={t_max} lies below t_min={info.data['t_min']}")
        return t_max

    def resolved(self) -> ReplayParameters:
        """Return the parameters with every None filled in: what the run does and its record keeps."""
        method, forms = METHODS[self.method], VARIANTS[self.variant]
        _, n_tasks, alpha = STREAMS[self.dataset]
        filled = {
            "n_tasks": 1 if method.iid else n_tasks,
            "alpha": alpha,
            "head": method.head,
            "flip": self.dataset not in STAND_INS,
            "hc": "off",
            "ht": "off",
            "pcd": False,
            "scd": "off",
            **{name: forms[name] for name in ("ht_counter", "distil_from_task", "joint_forward")},
            **{
                name: forms[name] if value == "variant" else value
                for name, value in method.switches.items()
            },
            **method.fixed,
        }
        left_out = set(method.switches) - self.model_fields_set  # the method's value wins
        given = self.model_dump(exclude=left_out, exclude_none=True)
        if unknown := sorted(set(self.options) - set(method.options)):
            known = ", ".join(method.options) or "none"
            raise ParameterError(f"{self.method} has no option {unknown[0]!r}; it has: {known}")
        given["options"] = {**method.options_of(self.dataset), **self.options}
        if method.iid and given.get("n_tasks", 1) != 1:
            raise ParameterError(f"{self.method} sees all classes at once; leave n_tasks out")
        for name, value in method.fixed.items():
            if given.get(name, value) != value:
                raise ParameterError(f"{self.method} needs {name}={value}; leave {name} out")
        chosen = {**filled, **given}
        if with_pairs(chosen["hc"], self.stream_batch + self.memory_batch):
            chosen.setdefault("hc_form", forms["hc_form"])
        else:  # no step has pairs
            chosen["hc_form"] = None
        return type(self).model_validate(chosen)

    @property
    def as_before(self) -> tuple[str, ...]:
        """Settings that came after the first records and with which the run is what it was before.

        A record leaves them out, so that such a run has one name and its old records are found.
        """
        before = {"options": {}, "hc_form": None, "mask": "seen"}
        if not self.hold_out:  # the arms of a comparison on held-out images both say theirs
            before["reencode"] = "none"
        return tuple(name for name, value in before.items() if getattr(self, name) == value)


class HPCRNotebook(Notebook, ReplayParameters):
    """What `hpcr.ipynb` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = ReplayParameters
    # The digits are few and a run is short: means of three seeds change places by chance. A task has
    # 28 steps, where the paper's have 500 or 1000: whole periods of the temperature, as 28 is here.
    profiles: ClassVar[Profiles] = with_quick(ReplayParameters, seeds=list(range(8)), ht_period=28)
