"""Parameters of CRECL and its baselines: the methods, the variants and the three profiles.

Spec differences that no switch covers, as they cannot change a number of ours: the release's
learning-rate decay never fires (its period is longer than any phase), its warm-up sums the loss
where Adam does not care about scale, ties in a softmax of real numbers do not happen, its dead code
and unread settings do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from relcl_lib.lab.notebook import Notebook, Profiles, with_quick
from relcl_lib.lab.parameters import Device, FolderName, ParameterError, Parameters, Seeds

#: data set -> (the paper's name or ours, tasks)
STREAMS = {
    "fewrel": ("FewRel", 10),
    "tacred": ("TACRED", 10),
    "fewrel_val": ("FewRel, 16 relations", 4),
    "synthetic": ("Synthetic", 4),
}
PAPER_STREAMS = ("fewrel", "tacred")

#: RP-CRE's own settings (its release), with our encoder, memory and data.
RP_CRE: dict[str, Any] = {
    "dropout": 0.5,
    "batch_size": 16,
    "epochs_classification": 10,
    "epochs_memory": 10,
    "max_grad_norm": 10.0,
}
#: EMAR's rounds are short; its first stage trained an LSTM for one epoch, a BERT needs more.
EMAR: dict[str, Any] = {"epochs_classification": 10, "max_grad_norm": 1.0}
#: RP-CRE on all of FewRel makes 380,000 gradient passes over sentences as printed, CRECL 862,000: so
#: many epochs of classification, in place of ten, make 884,000.
EPOCHS_AT_EQUAL_PASSES = 25
#: Only the classifier: what CRECL's variants set does not reach these methods.
_HEAD_ONLY: dict[str, Any] = {
    "head": "fixed",
    "head_bias": False,
    "prediction": "head",
    "epochs_warmup": 0,
    "classification_passes": 1,
    "consistency": False,
}

#: Row of the paper's tables, or curve of its Figure 3 -> what it changes. CRECL-CL only classifies:
#: it is the floor, sequential fine-tuning; JOINT is a reference with full memory, no proven upper
#: bound. RP-CRE (25 epochs) is ours: RP-CRE with as many gradient passes as CRECL makes.
METHODS: dict[str, dict[str, Any]] = {
    "CRECL": {},
    "CRECL+ATM": {"attention_memory": "trained"},
    "CRECL-MAG": {"lambda1": 1.0},
    "CRECL-CL1": {"contrast_current": False},
    "CRECL-CL2": {"contrast_memory": False},
    "CRECL-CL": {"prediction": "head"},
    "CRECL-K": {"memory_selection": "random"},
    "CRECL(C)": {"prediction": "head"},
    "RP-CRE": {**_HEAD_ONLY, **RP_CRE},
    "RP-CRE+MA": {**_HEAD_ONLY, **RP_CRE},
    "RP-CRE (25 epochs)": {
        **_HEAD_ONLY,
        **RP_CRE,
        "epochs_classification": EPOCHS_AT_EQUAL_PASSES,
    },
    "EMAR+BERT": {**_HEAD_ONLY, **EMAR},
    "JOINT": _HEAD_ONLY,
}

_CONTRAST = (
    *("projector_norm", "contrast_current", "contrast_memory", "refresh_prototypes"),
    *("temperature", "margin", "lambda1", "memory_passes", "epochs_current"),
)
_MEMORY = (
    *("memory_size", "memory_selection", "memory_dropout", "epochs_memory"),
    "attention_learning_rate",
)
_RP_CRE_UNREAD = (*_CONTRAST, "contrast_learning_rate", "epochs_joint")
#: Method -> settings it does not read. They keep the method's or the variant's value, whatever is
#: given, so that a run made before is found again.
UNREAD: dict[str, tuple[str, ...]] = {
    "CRECL-CL": (*_CONTRAST, *_MEMORY, "contrast_learning_rate", "epochs_joint"),
    "JOINT": (*_CONTRAST, *_MEMORY, "contrast_learning_rate"),
    "RP-CRE": _RP_CRE_UNREAD,
    "RP-CRE+MA": _RP_CRE_UNREAD,
    "RP-CRE (25 epochs)": _RP_CRE_UNREAD,
    "EMAR+BERT": (*_CONTRAST, "epochs_memory", "attention_learning_rate", "epochs_joint"),
}

#: The method as written; what the paper leaves open, or prints so that it would not train, is the
#: release's choice or (lambda1, m) ours.
PAPER: dict[str, Any] = {
    "order": "single",
    "memory_size": 10,
    "memory_selection": "kmeans",
    "memory_dropout": False,
    "dropout": 0.2,
    "pooling": "opening",
    "attend_pads": False,
    "head": "fixed",
    "head_bias": False,
    "projector_norm": True,
    "prediction": "prototypes",
    "attention_memory": "off",
    "contrast_current": True,
    "contrast_memory": True,
    "epochs_warmup": 0,
    "epochs_classification": 15,
    "epochs_current": 10,
    "epochs_memory": 5,
    "batch_size": 32,
    "warmup_batch_size": 16,
    "learning_rate": 1e-5,
    "head_learning_rate": 1e-3,
    "contrast_learning_rate": 4e-5,
    "lambda1": 0.5,
    "classification_passes": 1,
    "memory_passes": 10,
    "consistency": False,
}
#: What is printed, also where it hardly trains: `exact_paper`.
PRINTED: dict[str, Any] = {
    "pooling": "pairs",
    "head": "per_task",
    "head_bias": True,
    "projector_norm": False,
    "learning_rate": 5e-5,
    "head_learning_rate": 5e-5,
    "contrast_learning_rate": 5e-5,
}
#: The released code, to the letter.
RELEASED: dict[str, Any] = {
    **PAPER,
    "order": "double",
    "attend_pads": True,
    "epochs_warmup": 5,
    "epochs_current": 15,
    "epochs_memory": 10,
    "batch_size": 64,
    "lambda1": 1.0,
    "classification_passes": 10,
    "memory_passes": 1,
    "consistency": True,
}
VARIANTS = {"paper": PAPER, "released": RELEASED}
#: (variant, data set) -> what differs there
PER_DATASET: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "tacred"): {"epochs_classification": 10},
    ("released", "tacred"): {
        "epochs_classification": 10,
        "epochs_current": 10,
        "batch_size": 32,
        "warmup_batch_size": 8,
        "memory_size": 12,
    },
}


#: what a model of one's own has, see `classifier.py`: the head has rows for the relations that are learned now: how many will come nobody knows
OWN: dict[str, Any] = {"dataset": "own", "method": "CRECL", "head": "per_task"}
#: settings that a model of one's own does not take: they cut a benchmark, or make it another method
FOREIGN = (
    *("dataset", "data_root", "n_tasks", "order", "sizes", "train_limit", "validation"),
    *("method", "head", "prediction", "attention_memory", "attention_learning_rate"),
    *("memory_dropout", "skip_long", "exact_paper", "epochs_joint", "cuda_graph"),
)


class CreclParameters(Parameters):
    """Runs of one method on one stream of tasks, one a seed.

    Fields that are None take the value of the method or the variant (`resolved`). The seeds are the
    paper's 2021 + 100 i: they also make the order of the tasks and the split.
    """

    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        # The head learns ten times as fast as the encoder: in so few steps the encoder would
        # otherwise have to move so far that no memory brings it back.
        "quick": {
            "dataset": "synthetic",
            "encoder": "tiny",
            "max_length": 64,
            "seeds": [2021],
            "n_tasks": 4,
            "train_limit": 30,
            "memory_size": 5,
            "batch_size": 16,
            "epochs_classification": 4,
            "epochs_current": 2,
            "epochs_memory": 4,
            "epochs_joint": 2,
            "learning_rate": 5e-4,
            "head_learning_rate": 5e-3,
            "contrast_learning_rate": 5e-4,
            "attention_learning_rate": 1e-3,
            "precision": "float32",  # the same numbers everywhere, and on small tensors the faster
        },
        "reduced": {
            "encoder": "sentence-transformers/all-MiniLM-L6-v2",
            "seeds": [2021, 2121, 2221],
            "epochs_joint": 4,
            # A small encoder on few sentences, chosen on validation sentences (`fewrel_val`): a
            # larger rate for classification, and the release's ten epochs of CL2, not five.
            "learning_rate": 5e-5,
            "epochs_memory": 10,
        },
        "full": {},
    }

    dataset: FolderName = Field("fewrel", description=f"{', '.join(STREAMS)}, or one of your own")
    data_root: str | None = Field(None, description="folder that holds the data set")
    method: Literal[tuple(METHODS)] = Field("CRECL", description="row of the paper's tables")
    variant: Literal["paper", "released"] = Field("paper", description="printed or code's form")
    exact_paper: bool = Field(False, description="printed values also where they hardly train")
    seeds: Seeds = Field([2021, 2121, 2221, 2321, 2421], description="one run each")
    encoder: str = Field("bert-base-uncased", description="hub name or folder of a BERT, or tiny")
    n_tasks: int | None = Field(None, ge=1, description="tasks the relations are split into")
    order: Literal["single", "double"] | None = Field(None, description="shuffles of relations")
    sizes: list[int] | None = Field(
        None, min_length=3, max_length=3, description="train, validation, test of a relation"
    )
    train_limit: int | None = Field(None, ge=1, description="training sentences of a relation")
    validation: bool = Field(False, description="test on validation sentences, for tuning")
    max_length: int = Field(256, ge=8, description="tokens a sentence may have")
    skip_long: bool = Field(False, description="leave out sentences with an entity beyond them")
    size: int | None = Field(None, ge=2, description="d; None: the encoder's hidden size")
    dropout: float | None = Field(None, ge=0, lt=1, description="before W")
    pooling: Literal["opening", "pairs"] | None = Field(None, description="markers read")
    attend_pads: bool | None = Field(None, description="no mask, padded to max_length")
    head: Literal["fixed", "per_task"] | None = Field(None, description="rows of the classifier")
    head_bias: bool | None = None
    norm_group: Literal["encoder", "head"] = Field(
        "encoder", description="whose rate and clipping u's LayerNorm has"
    )
    projector_norm: bool | None = Field(None, description="LayerNorm in the projector")
    prediction: Literal["prototypes", "head"] | None = None
    attention_memory: Literal["off", "trained", "untrained"] | None = Field(
        None, description="untrained: random at the test, as released"
    )
    memory_size: int | None = Field(None, ge=1, description="L, sentences kept of a relation")
    memory_selection: Literal["kmeans", "random"] | None = None
    memory_dropout: bool | None = Field(
        None, description="choose the memory and make prototypes with dropout, as RP-CRE's release"
    )
    contrast_current: bool | None = Field(None, description="CL1, on the task's sentences")
    contrast_memory: bool | None = Field(None, description="CL2, on the memory")
    refresh_prototypes: bool = Field(False, description="also between CL1 and CL2 (ours)")
    temperature: float = Field(0.08, gt=0, description="tau")
    margin: float = Field(0.3, ge=0, description="m")
    lambda1: float | None = Field(None, ge=0, le=1, description="share of L_cos; 1: no margin")
    classification_passes: int | None = Field(None, ge=1, description="dropout masks a sentence")
    memory_passes: int | None = Field(None, ge=1, description="M, of old relations in CL2")
    consistency: bool | None = Field(None, description="add the release's hidden loss")
    epochs_warmup: int | None = Field(None, ge=0)
    epochs_classification: int | None = Field(None, ge=0)
    epochs_current: int | None = Field(None, ge=0, description="of CL1")
    epochs_memory: int | None = Field(None, ge=0, description="of CL2, and of RP-CRE's memory")
    epochs_joint: int | None = Field(None, ge=1, description="JOINT, a task; None: as the others")
    batch_size: int | None = Field(None, ge=1)
    warmup_batch_size: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0, description="encoder, classification")
    head_learning_rate: float | None = Field(None, gt=0)
    contrast_learning_rate: float | None = Field(None, gt=0, description="CL1 and CL2")
    attention_learning_rate: float = Field(1e-4, gt=0, description="attention memory")
    max_grad_norm: float | None = Field(None, gt=0, description="a module; None: no clipping")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    cuda_graph: bool = Field(False, description="on a GPU, repeat a phase's step as CUDA graphs")
    device: Device = "auto"

    def resolved(self) -> CreclParameters:
        """Return the parameters with every None filled in that the run needs.

        Raises:
            ParameterError: settings that contradict one another.
        """
        if self.exact_paper and self.variant != "paper":
            raise ParameterError("exact_paper goes with variant='paper'")
        method = dict(METHODS[self.method])
        if self.variant == "released" and method.get("attention_memory") == "trained":
            method["attention_memory"] = "untrained"
        if self.variant == "released" and self.method.startswith("RP-CRE"):
            method["memory_dropout"] = True  # its release leaves no training mode for them
        filled: dict[str, Any] = {
            "n_tasks": STREAMS.get(self.dataset, STREAMS["fewrel"])[1],
            **VARIANTS[self.variant],
            **(PRINTED if self.exact_paper else {}),
            **PER_DATASET.get((self.variant, self.dataset), {}),
            **method,
        }
        if "head" in (filled["prediction"], self.prediction):  # old relations need their rows
            filled["head"] = "fixed"
        given = self.model_dump(exclude={*UNREAD.get(self.method, ())}, exclude_none=True)
        chosen = type(self).model_validate({**filled, **given})
        if chosen.prediction == "head" and chosen.head == "per_task":
            raise ParameterError(
                f"{chosen.method} predicts with the head, so old relations need their rows: head "
                "must be 'fixed'"
            )
        return chosen


def own_settings(profile: str, settings: Mapping[str, Any]) -> CreclParameters:
    """The parameters of a model of one's own: a profile, and settings on top of it.

    Raises:
        ParameterError: a setting is unknown, does not fit, or has no meaning here.
    """
    CreclParameters.check_names(settings, FOREIGN)
    if foreign := sorted(set(settings) & set(FOREIGN)):
        raise ParameterError(f"{', '.join(foreign)}: a setting of benchmarks, not of this model")
    given = {"seeds": [2021], **settings, **OWN, "profile": profile}
    chosen = CreclParameters.create(given).resolved()
    if len(chosen.seeds) > 1:
        raise ParameterError(f"seeds={chosen.seeds}: a model has one seed")
    return chosen


class CreclNotebook(Notebook, CreclParameters):
    """What `crecl.ipynb` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = CreclParameters
    #: fewer and smaller tasks, so that there is time for several seeds
    profiles: ClassVar[Profiles] = with_quick(
        CreclParameters,
        seeds=[2021, 2121, 2221, 2321, 2421, 2521],
        n_tasks=3,
        train_limit=15,
        epochs_memory=3,
    )

    n_tasks: int | None = Field(None, ge=2, description="tasks; the lesson compares two of them")
