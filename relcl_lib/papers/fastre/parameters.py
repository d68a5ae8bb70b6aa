"""Parameters of FastRE and CasRel runs: the methods, the variants and the three profiles."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from relcl_lib.lab.notebook import Notebook, Profiles, with_quick
from relcl_lib.lab.parameters import Device, FolderName, ParameterError, Parameters, Seeds
from relcl_lib.lab.schedule import warm_up_then_fall
from relcl_lib.papers.fastre.methods import CASREL_METHODS, METHODS

#: The released code; what it leaves out stands in section 17 of the lesson.
RELEASED: dict[str, Any] = {
    "gate": "released",
    "residual": True,
    "block_dropout": "gate",
    "embedding_dropout": 0.25,
    "taggers": "convolution",
    "position_tables": 2,
    "heads": "one",
    "loss_scale": "token",
    "loss_epsilon": 1e-7,
    "mask_pads": False,
    "schedule": "released",
    "relation_mask": "none",
    "keep_last_token": False,
    "bucket": 0,
}
#: What the defaults change of it: padding must not reach a token or the loss (else the batch size
#: changes the triples), no cap on the loss of a positive, a schedule that fits any number of steps,
#: the paper's type-relation map when triples are read off, entities at the end of a sentence. And
#: batches of sentences of like length, with few pads.
CORRECTIONS: dict[str, Any] = {
    "loss_epsilon": 0.0,
    "mask_pads": True,
    "schedule": "paper",
    "relation_mask": "infer",
    "keep_last_token": True,
    "bucket": 50,
}
#: What the paper prints.
PAPER: dict[str, Any] = {
    **RELEASED,
    **CORRECTIONS,
    "gate": "paper",
    "block_dropout": "between",
    "embedding_dropout": 0.0,
    "taggers": "linear",
    "position_tables": 1,
    "heads": "sum",
    "loss_scale": "sentence",
    "relation_mask": "train+infer",
}
VARIANTS = {"released": {**RELEASED, **CORRECTIONS}, "paper": PAPER}

#: data set -> (steps of warm-up W, steps D of the decay line, steps that the paper's data give)
RELEASED_SCHEDULE = {
    "nyt10": (3000, 150_000, 131_940),
    "nyt11": (2000, 120_000, 117_480),
    "nyt24": (2000, 120_000, 105_420),
}
OTHER_SCHEDULE = RELEASED_SCHEDULE["nyt24"]

#: Settings of the official CasRel; a batch of 6 and early stopping belong to it. Not its own are
#: batches of like length (`bucket`), and patience that counts any gain, not only one above 1e-4.
CASREL_TRAINING = {
    "epochs": 100,
    "patience": 7,
    "batch_size": 6,
    "learning_rate": 1e-5,
    "weight_decay": 0.0,
}
FASTRE_TRAINING = {"epochs": 60, "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.01}


class FastreParameters(Parameters):
    """Runs of one method on one data set, one a seed.

    Fields that are None take the value of the method or the variant (`resolved`). `exact_release`
    with the released variant keeps the release's faults too.
    """

    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"dataset": "synthetic", "epochs": 15, "min_count": 2, "learning_rate": 2e-3},
        "reduced": {"dataset": "webnlg", "seeds": [0, 1, 2], "min_count": 2, "reduced_data": True},
        "full": {"dataset": "nyt10", "seeds": [0, 1, 2]},
    }

    dataset: FolderName = Field(
        "nyt10", description="nyt10, nyt11, nyt24, webnlg, or one of your own"
    )
    data_root: str | None = Field(None, description="folder that holds the data set")
    reduced_data: bool = Field(False, description="without a training file use the others")
    train_limit: int | None = Field(None, ge=2, description="keep this many training sentences")
    words: Literal["auto", "spaces", "punctuation"] = Field(
        "auto", description="plain text is split at punctuation (auto: where marks touch words)"
    )
    allow_lost: bool = Field(False, description="train though over 10 % of the triples are lost")
    method: Literal[tuple(METHODS)] = Field("FastRE", description="row of the paper's tables")
    variant: Literal["released", "paper"] = Field("released", description="code's or printed form")
    exact_release: bool = Field(False, description="as released, with its faults")
    seeds: Seeds = Field([0, 1, 2], description="one run for each")
    encoder: str | None = Field(None, description="CasRel's: hub name or folder")
    encoder_precision: Literal["auto", "float32", "bfloat16"] = Field(
        "float32", description="of CasRel's encoder"
    )
    word_vectors: str | None = Field(None, description="GloVe text file; folder of an encoder")
    start_from: str | None = Field(None, description="folder of a saved tagger to start from")
    vector_size: int = Field(300, ge=1, description="of random word vectors")
    train_vectors: bool | None = Field(None, description="default: only where they start random")
    all_words: bool = Field(
        False, description="keep vectors of words outside the data; `train`: yes, with a file"
    )
    min_count: int = Field(1, ge=1, description="random vectors: rarer words are unknown")
    type_map: str | None = Field(None, description="auto, paper, inferred, any, or a JSON file")
    unknown_relations: Literal["error", "skip"] = Field("error", description="not in the map")
    hidden: int = Field(128, ge=8, description="d")
    type_size: int = Field(64, ge=1, description="d_t")
    attention_heads: int = Field(8, ge=1, description="of each tagger's self-attention")
    max_tokens: int = Field(100, ge=1, description="longer sentences are cut")
    dilations: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, min_length=1, description="one for each block"
    )
    gate: Literal["released", "paper", "none"] | None = Field(None, description="of a block")
    residual: bool | None = Field(None, description="whether a block keeps its input")
    block_dropout: Literal["gate", "between"] | None = Field(
        None, description="on the gate, or between the blocks"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="inside the blocks")
    embedding_dropout: float | None = Field(None, ge=0, lt=1, description="before the blocks")
    taggers: Literal["convolution", "linear"] | None = Field(
        None, description="what comes before the scores"
    )
    position_tables: Literal[1, 2] | None = Field(None, description="relative positions")
    threshold: Literal["adaptive", "global"] | None = Field(
        None, description="one per position, or one for all"
    )
    mask_pads: bool | None = Field(None, description="keep padding out of features and loss")
    loss_epsilon: float | None = Field(None, ge=0, description="inside the logarithm")
    loss_scale: Literal["token", "sentence"] | None = Field(None, description="loss is divided by")
    heads: Literal["one", "mean", "sum"] | None = Field(None, description="gold heads per sentence")
    relation_mask: Literal["none", "infer", "train+infer"] | None = Field(
        None, description="where the type map drops relations"
    )
    keep_last_token: bool | None = Field(None, description="tails on the last token")
    max_head_gap: int | None = Field(19, ge=0, description="end - start of heads")
    max_tail_gap: int | None = Field(20, ge=0, description="end - start of tails")
    epochs: int | None = Field(None, ge=1, description="passes over the training sentences")
    batch_size: int | None = Field(None, ge=1, description="sentences per step")
    learning_rate: float | None = Field(None, gt=0, description="peak")
    weight_decay: float | None = Field(None, ge=0, description="not of biases")
    schedule: Literal["paper", "released", "constant"] | None = Field(
        None, description="of the learning rate"
    )
    warmup: float = Field(0.06, ge=0, le=1, description="share of the steps (paper)")
    bucket: int | None = Field(
        None, ge=0, description="batches sorted by length together; 0: in random order"
    )
    augment: bool | None = Field(None, description="swap entities; default: for nyt11 only")
    patience: int | None = Field(None, ge=1, description="epochs without gain before stopping")
    threshold_curve: bool = Field(
        False, description="tune the threshold after every epoch, too, for the record's curves"
    )
    device: Device = Field("auto", description="auto, cpu or cuda")

    @property
    def casrel(self) -> bool:
        """Whether the tagger is CasRel's."""
        return self.method in CASREL_METHODS

    def resolved(self) -> FastreParameters:
        """Return the parameters with every None filled in that the run needs.

        Raises:
            ParameterError: settings that contradict one another.
        """
        if self.exact_release and self.variant != "released":
            raise ParameterError("exact_release goes with variant='released'")
        if self.method == "CasRel" and self.encoder is None:
            raise ParameterError(
                "encoder is not set: method='CasRel' needs a pretrained one, a hub name such as "
                "'bert-base-cased', or a folder"
            )
        if self.method != "CasRel" and self.encoder is not None:
            raise ParameterError(
                f"encoder={self.encoder!r} is read by method='CasRel' only, not by {self.method}"
            )
        if self.method == "CasRel" and self.start_from:
            raise ParameterError("start_from: method='CasRel' starts from its encoder")
        form = RELEASED if self.exact_release else VARIANTS[self.variant]
        filled = {
            "dilations": [1, 2, 4, 1, 1, 1],
            "threshold": "adaptive",
            "type_map": "auto",
            "augment": self.dataset == "nyt11",
            "train_vectors": self.word_vectors is None,
            **(CASREL_TRAINING if self.method == "CasRel" else FASTRE_TRAINING),
            **form,
            **METHODS[self.method],
        }
        if self.method == "CasRel":
            filled |= {"schedule": "constant", "train_vectors": False}
        given = self.model_dump(exclude_none=True)
        # None means "no limit" for these, not "take the default".
        free = {name: getattr(self, name) for name in ("max_head_gap", "max_tail_gap")}
        chosen = type(self).model_validate({**filled, **given, **free})
        if chosen.casrel and (chosen.type_map != "any" or chosen.threshold != "global"):
            raise ParameterError("CasRel tags without types and thresholds: leave both out")
        if chosen.threshold == "global" and chosen.loss_epsilon:
            chosen = chosen.model_copy(update={"loss_epsilon": 0.0})
        if chosen.hidden % chosen.attention_heads:
            raise ParameterError(
                f"hidden={chosen.hidden} must be a multiple of attention_heads="
                f"{chosen.attention_heads}"
            )
        return chosen


class FastreNotebook(Notebook, FastreParameters):
    """What `fastre.ipynb` takes: a run's parameters, and where the notebook writes.

    Its quick profile trains several networks, so they have half the paper's width and few epochs.
    """

    runs: ClassVar[type[Parameters]] = FastreParameters
    profiles: ClassVar[Profiles] = with_quick(
        FastreParameters, hidden=64, type_size=32, epochs=6, learning_rate=8e-3, seeds=[0, 1, 2]
    )

    def run(self, method: str, **changes: Any) -> FastreParameters:
        """The parameters of one run; `encoder` goes to CasRel only, no other method has one."""
        if method != "CasRel":
            changes = {"encoder": None, **changes}
        return super().run(method, **changes)


def learning_rate(
    step: int,
    steps: int,
    *,
    peak: float = 1e-3,
    schedule: str = "paper",
    warmup: float = 0.06,
    dataset: str = "nyt10",
) -> float:
    """Learning rate of a step, counted from 0.

    `paper`: rises linearly from 0 to the peak at the share `warmup` of the steps, then falls
    linearly, to reach 0 after the last. `released`: rises over W steps, then lies on the line
    peak (1 - t/D) drawn from step 0, so it jumps down at W and does not reach 0; W and D depend on the
    data set. They are laid out for the paper's data: in a run of fewer steps they shrink in proportion.
    """
    if schedule == "constant":
        return peak
    if schedule == "released":
        rise, span, full = RELEASED_SCHEDULE.get(dataset, OTHER_SCHEDULE)
        share = min(1, steps / full)
        rise, span = rise * share, span * share
        return peak * step / rise if step < rise else peak * (1 - min(step, span) / span)
    return warm_up_then_fall(step, steps, peak=peak, warmup=warmup)
