"""Parameters of DocRE-II runs: the methods, the variants and the three profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from relcl_lib.lab.notebook import Notebook
from relcl_lib.lab.parameters import Device, FolderName, ParameterError, Parameters, Seeds

#: Row of the paper's Tables 4, 6 and 8 -> what it changes.
METHODS: dict[str, dict[str, Any]] = {
    "DocRE-II": {},
    "ATLOP (base)": {"stage2_epochs": 0},
    "w/o fusion sub-layer": {"fusion": False},
    "w/o ECA": {"attention": "all"},
    "w/o contrastive loss": {"contrast": "none"},
    "w/ negative pairs": {"contrast": "negatives"},
    "w/o pre-training": {"stage1_epochs": 0},
    "w/ freeze base module": {"freeze_base": True},
}

#: not the paper's: the floor that a base has to beat, see `linear`
LINEAR = "logistic regression"

#: What the paper prints, and the release where the paper is silent (FNN of the base, reduction to
#: 512, M_l through a linear layer, own cell in every head without the release's +1, the predicted
#: set in place of its argmax).
PAPER: dict[str, Any] = {
    "markers": None,
    "mention": "opening",
    "encoder_layers": 1,
    "document_vector": False,
    "base_classifier": "linear",
    "long_documents": "windows",
    "own_bonus": 0.0,
    "inference_classifier": "linear",
    "feedback": "predicted",
    "noise": 0.4,
    "spurious": False,
    "sum_logits": False,
    "inference_layers": 2,
}
#: The released code, as far as it is reproduced. Not reproduced are its sampling of negative pairs,
#: its four passes a step and the factor common to its losses; noise drawn for a batch, where ours is
#: for a document; and an optimizer of stage 2 that lacks the base's pair projections, extractor and
#: classifier, but not its encoder (`freeze_base` holds the encoder, too). Its losses amount to
#: L_C : L_R = 1 : 5 with L_C as the paper prints it, which is `contrast_weight` = 0.2;
#: contrast_scale="released" would double that. Its noise spares gold, which is what it starts from, so
#: there that is the same as sparing what is fed (`noise_draw="blind"`); on CDR and GDA it has no
#: spurious relations. Batch sizes, epochs, plain shuffling and the choice of the epoch by dev F1 stay
#: those of `paper`.
RELEASED: dict[str, Any] = {
    "markers": "typed",
    "mention": "both",
    "encoder_layers": 3,
    "document_vector": True,
    "base_classifier": "normalised",
    "long_documents": "positions",
    "own_bonus": 1.0,
    "inference_classifier": "projected",
    "feedback": "gold",
    "noise": [0.2, 0.5],
    "spurious": True,
    "sum_logits": True,
    "inference_layers": 1,
}
VARIANTS = {"paper": PAPER, "released": RELEASED}

_NAMES = (
    *("batch_size", "stage1_epochs", "stage2_epochs", "encoder_rate", "classifier_rate"),
    *("base_rate", "inference_rate"),
)
#: settings that shape nothing of stage 1
STAGE_2 = (
    *("method", "variant", "inference_size", "inference_layers", "iterations", "attention"),
    *("fusion", "mixing", "own_bonus", "relation", "inference_classifier", "sum_logits"),
    *("feedback", "noise", "spurious", "noise_draw", "contrast", "contrast_scale"),
    *("contrast_weight", "temperature", "freeze_base", "training_scores", "dropout"),
    *("stage2_epochs", "base_rate", "inference_rate"),
)
#: Table 7: what each data set is trained with (RoBERTa-large: `roberta`).
TRAINING = {
    name: dict(zip(_NAMES, values, strict=True))
    for name, values in {
        "docred": (8, 30, 15, 5e-5, 1e-4, 1e-5, 1e-4),
        "roberta": (4, 30, 15, 5e-5, 1e-4, 5e-6, 1e-4),
        "cdr": (8, 20, 10, 1e-5, 5e-5, 1e-6, 5e-5),
        "gda": (6, 10, 5, 2e-5, 8e-5, 2e-6, 8e-5),
    }.items()
}
#: What a data set is read with unless told otherwise.
ENCODERS = dict.fromkeys(("cdr", "gda"), "allenai/scibert_scivocab_cased")
ENCODER = "bert-base-cased"
#: Encoders of the paper; a run with another one is `reduced`.
PAPER_ENCODERS = {
    "docred": ("bert-base-cased", "bert-base-uncased", "roberta-large"),
    "cdr": ("scibert_scivocab_cased", "scibert_scivocab_uncased"),
    "gda": ("scibert_scivocab_cased", "scibert_scivocab_uncased"),
}
#: type of a share, of pairs for instance
Share = Annotated[float, Field(ge=0, le=1)]
TwoShares = Annotated[list[Share], Field(min_length=2, max_length=2)]


class DocreParameters(Parameters):
    """Runs of one method on one data set, one a seed.

    Fields that are None take the value of the data set, the variant or the method (`resolved`).
    """

    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {
            "dataset": "synthetic",
            "encoder": "tiny",
            "seeds": [0],
            "generated": 160,
            "encoder_dropout": 0.0,
            "pair_size": 64,
            "block": 16,
            "inference_size": 64,
            "batch_size": 1,
            "stage1_epochs": 3,
            "stage2_epochs": 1,
            "encoder_rate": 5e-4,
            "classifier_rate": 2e-3,
            "base_rate": 3e-5,
            "inference_rate": 2e-3,
            "dropout": 0.0,
        },
        "reduced": {
            "dataset": "cdr",
            "encoder": "sentence-transformers/all-MiniLM-L6-v2",
            "pair_size": 384,
            "inference_size": 256,
            # The base is the best on CDR's development documents, by F1 and by average precision, of 15
            # in seed 0 and of 5 in seed 1 (`data/tries/docre_ii/cdr_base_search.jsonl`), on a GPU in float32;
            # `precision=auto` is bfloat16 on a CPU that has it. The mean of three layers and the
            # document's vector are the release's, the rates and epochs ours, as 500 documents make few
            # steps. Earlier records were made with encoder_layers=1, document_vector=False,
            # stage1_epochs=20, classifier_rate=2e-4.
            "encoder_layers": 3,
            "document_vector": True,
            "stage1_epochs": 10,
            "stage2_epochs": 10,
            "encoder_rate": 1e-4,
            "classifier_rate": 1e-3,
            "base_rate": 1e-5,
            "inference_rate": 2e-3,
            "precision": "auto",
            "reduced_data": True,
        },
        "full": {"dataset": "docred", "seeds": [0, 1, 2, 3, 4]},
    }

    dataset: FolderName = Field(
        "docred", description="docred, redocred, cdr, gda, synthetic or your own"
    )
    data_root: str | None = Field(None, description="folder that holds the data set")
    reduced_data: bool = Field(False, description="without a training file use the dev file")
    train_limit: int | None = Field(None, ge=1, description="keep this many training documents")
    generated: int = Field(0, ge=0, description="further training documents of synthetic")
    orientation: Literal["document", "kind"] = Field(
        "document", description="of CDR's, GDA's pairs"
    )
    method: Literal[(*METHODS, LINEAR)] = Field("DocRE-II", description="row of the tables")
    base: Literal["atlop", "stated_facts"] = Field(
        "atlop", description="whose predictions are refined; stated_facts has no stage 1"
    )
    variant: Literal["paper", "released"] = Field("paper", description="printed or code's form")
    seeds: Seeds = Field([0, 1, 2], description="one run each")
    encoder: str | None = Field(
        None, description="hub name, folder, or tiny; None: SciBERT for CDR and GDA, else BERT"
    )
    markers: Literal["boundary", "mention", "typed"] | None = Field(None, description="of mentions")
    max_pieces: int = Field(1024, ge=8, description="longer documents are cut")
    long_documents: Literal["windows", "positions"] | None = Field(
        None, description="two overlapping windows, or an extended position table"
    )
    mention: Literal["opening", "both", "first"] | None = Field(
        None, description="markers that are read, or the first piece"
    )
    encoder_layers: int | None = Field(None, ge=1, description="last layers that are averaged")
    encoder_dropout: float | None = Field(None, ge=0, lt=1, description="None: the encoder's own")
    document_vector: bool | None = Field(None, description="in the pair projections")
    pair_size: int = Field(768, ge=4, description="width of z_s, z_o and F_0")
    pair_network: Literal["bilinear", "concat"] = Field("bilinear", description="FNN of F_0")
    block: int = Field(64, ge=1, description="width of a group of the bilinear form")
    base_classifier: Literal["linear", "normalised"] | None = None
    inference_size: int = Field(512, ge=4, description="d")
    inference_layers: int | None = Field(None, ge=1, description="N_I")
    iterations: int = Field(3, ge=0, description="K at test time")
    attention: Literal["crossed", "all"] = Field("crossed", description="all: w/o ECA")
    fusion: bool = Field(True, description="the gate")
    mixing: Literal["projected", "concat"] = Field("projected", description="keys' input M_l")
    own_bonus: float | None = Field(None, description="score of a pair's own cell gets this")
    relation: Literal["set", "argmax"] = Field("set", description="what is embedded")
    inference_classifier: Literal["linear", "projected"] | None = None
    sum_logits: bool | None = Field(None, description="add up the iterations' logits")
    feedback: Literal["predicted", "gold"] | None = Field(None, description="R_0 in training")
    noise: Share | TwoShares | None = Field(
        None, description="range of the share of changed relations: its upper end, or both ends"
    )
    spurious: bool | None = Field(
        None, description="noise gives relations to pairs without one too"
    )
    noise_draw: Literal["blind", "not_gold"] = Field(
        "blind",
        description="wrong relations come from those not predicted; not_gold: nor gold, which leaks "
        "the labels: our first records",
    )
    contrast: Literal["agreement", "negatives", "none"] = "agreement"
    contrast_scale: Literal["paper", "released"] = Field("paper", description="released: twice L_C")
    contrast_weight: float = Field(0.2, ge=0)
    temperature: float = Field(0.1, gt=0, description="of contrast='negatives'; not printed")
    freeze_base: bool = Field(False, description="in stage 2")
    training_scores: Literal["own", "out_of_fold", "early"] = Field(
        "own",
        description="whose R_0 and F_0 of training documents stage 2 reads: the base's, those of "
        "bases that have not seen the document (five folds), of another base, trained a third as long",
    )
    chosen_by: Literal["F1", "AP"] = Field("F1", description="dev score that chooses an epoch")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="the encoder's rate falls by it with each layer downwards"
    )
    frozen_layers: int = Field(
        0, ge=0, description="lowest layers of the encoder that are not trained, nor its embeddings"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="of the inference module")
    batch_size: int | None = Field(None, ge=1, description="documents")
    bucket: int = Field(50, ge=0, description="batches sorted by length together; 0: none")
    stage1_epochs: int | None = Field(None, ge=0)
    stage2_epochs: int | None = Field(None, ge=0)
    encoder_rate: float | None = Field(None, gt=0, description="peak, stage 1")
    classifier_rate: float | None = Field(None, gt=0, description="peak, stage 1, new layers")
    base_rate: float | None = Field(None, gt=0, description="peak, stage 2, the whole base")
    inference_rate: float | None = Field(None, gt=0, description="peak, stage 2")
    warmup: float = Field(0.06, ge=0, le=1, description="share of a stage's steps")
    weight_decay: float = Field(1e-4, ge=0, description="not of biases and norms")
    clip: float = Field(1.0, gt=0, description="norm of the trained parameters' gradient")
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    device: Device = "auto"

    def resolved(self) -> DocreParameters:
        """Return the parameters with every None filled in that the run needs.

        Raises:
            ParameterError: settings that contradict one another.
        """
        form = VARIANTS[self.variant]
        standard = TRAINING["docred"] if self.dataset not in TRAINING else TRAINING[self.dataset]
        encoder = self.encoder or ENCODERS.get(self.dataset, ENCODER)
        if "roberta" in encoder.lower() and self.dataset not in ("cdr", "gda"):
            standard = TRAINING["roberta"]
        filled = {
            **form,
            **standard,
            "encoder": encoder,
            # What is given stands above what the method would take, but not above what it is.
            **self.model_dump(exclude_none=True),
            **METHODS.get(self.method, {}),
        }
        pairs_are_listed = self.dataset in ("cdr", "gda")
        if filled["markers"] is None:
            filled["markers"] = "mention" if pairs_are_listed else "boundary"
        elif encoder == "tiny" and self.markers is None:
            filled["markers"] = "boundary"  # the variant's need a vocabulary like BERT's
        if self.spurious is None and pairs_are_listed:
            filled["spurious"] = False
        if self.base == "stated_facts":
            filled["stage1_epochs"] = 0  # it has nothing to train
        if not filled["stage1_epochs"] + filled["stage2_epochs"]:
            raise ParameterError("stage1_epochs and stage2_epochs are both 0: nothing to train")
        if filled["inference_size"] % 4:
            raise ParameterError("inference_size must be a multiple of 4, one part a head")
        if filled["pair_network"] == "bilinear" and filled["pair_size"] % filled["block"]:
            raise ParameterError(
                f"pair_size={filled['pair_size']} must be a multiple of block={filled['block']}"
            )
        if filled["training_scores"] != "own" and not (
            filled["stage1_epochs"] and filled["stage2_epochs"]
        ):
            raise ParameterError(
                f"training_scores={filled['training_scores']} needs both stages: bases are trained "
                "as in stage 1, and read in stage 2"
            )
        if not filled["stage1_epochs"] and filled["freeze_base"]:
            raise ParameterError("freeze_base with stage1_epochs=0 would freeze an untrained base")
        found = type(self).model_validate(filled)
        low, high = found.noise_range
        if low > high:
            raise ParameterError(
                f"noise={found.noise} must not fall from its lower to its upper end"
            )
        return found

    @classmethod
    def create(cls, values: Mapping[str, Any] | None = None, **named: Any) -> Self:
        """As of every paper; documents that a profile generates are for the generated set alone."""
        given = {**(values or {}), **named}
        if given.get("dataset") not in (None, "synthetic") and given.get("generated") is None:
            given["generated"] = 0
        return super().create(given)

    @property
    def as_before(self) -> tuple[str, ...]:
        """Settings that came after the first records and with which the run is what it was before.

        Records and checkpoints leave them out, so that such a run is found under its old name.
        """
        names = ("training_scores", "chosen_by", "layer_decay", "frozen_layers")
        usual = {name: type(self).model_fields[name].default for name in names}
        return tuple(name for name, value in usual.items() if getattr(self, name) == value)

    @property
    def noise_range(self) -> tuple[float, float]:
        """Lowest and highest share of changed relations, of settings that are resolved."""
        return tuple(self.noise) if isinstance(self.noise, list) else (0.0, self.noise)


class DocreNotebook(Notebook, DocreParameters):
    """What `docre_ii.ipynb` takes: a run's parameters, and where the notebook writes."""

    runs: ClassVar[type[Parameters]] = DocreParameters

    alone_epochs: int = Field(3, ge=1, description="of the inference module on stated facts alone")
