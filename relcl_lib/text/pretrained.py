"""Pretrained Transformer encoders by name or folder, and the small one that the repository holds."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.text_files import read_text
from relcl_lib.data.weights import TINY, damage_named, tensors_in, weights_folder
from relcl_lib.lab.checkpoints import few_layers, known_ids
from relcl_lib.lab.runtime import is_watched
from relcl_lib.text.words import FIRST_WORD, RANDOM_SCALE, WordVectors

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = "pytorch_model.bin"
#: model types whose positions start after that of the padding
COUNTED_FROM_PADDING = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "mpnet"),
    *("longformer", "data2vec-text", "ibert", "esm"),
)


def load_encoder(
    name: str | os.PathLike[str], *, attention: str | None = None
) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    """Load a pretrained encoder and its tokenizer, the weights in float32.

    Only safetensors are read, and no code that comes with the weights is run. A vocabulary with
    capitals whose tokenizer has no setting of case (SciBERT's and BioBERT's `vocab.txt` alone) is
    read with its capitals, where transformers would lower every word; to have that,
    put `{"do_lower_case": true}` into `tokenizer_config.json`.

    Args:
        name: a folder in the layout of `save_pretrained`, a name on the Hugging Face hub, or `tiny`
            for the small encoder in the repository's `data/synthetic/encoder`.
        attention: the implementation; `eager` where the attention weights are wanted, None for
            transformers' own choice.
    """
    with warnings.catch_warnings():
        # tqdm misses ipywidgets in a notebook; its bars of text do.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from transformers import AutoConfig, AutoModel, AutoTokenizer

    with _bars_if_watched():
        folder = weights_folder(name)
    _expect_files(folder, "tokenizer", _TOKENIZER_FILES)
    _expect_files(folder, "weights", _WEIGHT_FILES, _how_to_convert(name, folder))
    _expect_files(folder, "configuration", ("config.json",))
    options = {} if attention is None else {"attn_implementation": attention}
    try:
        with _bars_if_watched(), damage_named(folder):
            few_layers(
                AutoConfig.from_pretrained(folder, trust_remote_code=False), tensors_in(folder)
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            if _lowers_unasked(tokenizer, folder):
                tokenizer = AutoTokenizer.from_pretrained(
                    folder, trust_remote_code=False, do_lower_case=False
                )
            options |= {"use_safetensors": True, "output_loading_info": True}
            model, found = AutoModel.from_pretrained(folder, trust_remote_code=False, **options)
            # A pooler may be missing, and is not used; of all else there would be random weights.
            if absent := sorted(n for n in found["missing_keys"] if not n.startswith("pooler.")):
                raise ValueError(f"{len(absent)} weights are not in the files, {absent[0]} first")
            tokenizer("a text")  # settings of a wrong kind are noticed only here
            known_ids(tokenizer, model.get_input_embeddings().num_embeddings, "network")
    except DataFormatError:
        raise
    except Exception as error:  # transformers and its tokenizers raise nearly anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise DataNotFoundError(
            f"encoder {str(name)!r} cannot be loaded ({type(error).__name__}: {reason}). Give a "
            "folder that save_pretrained wrote (config.json, tokenizer.json, model.safetensors), "
            f"a name on the Hugging Face hub (with a network), or {TINY!r}"
        ) from error
    # Half-precision files are loaded as such by newer transformers and as float32 by older ones.
    return tokenizer, model.float()


def encoder_vectors(folder: str | os.PathLike[str], wanted: Iterable[str]) -> WordVectors:
    """Take a word's vector as the mean of its pieces' input embeddings in a pretrained encoder.

    No Transformer layer is run: this is a table, a stand-in for GloVe where only an encoder is at
    hand. The vectors are scaled to the spread that the random ones have.
    """
    tokenizer, encoder = load_encoder(folder)
    table = encoder.get_input_embeddings().weight
    words = tuple(wanted)
    pieces = tokenizer(list(words), add_special_tokens=False)["input_ids"]
    owner = torch.tensor([i for i, ids in enumerate(pieces) for _ in ids], dtype=torch.long)
    flat = torch.tensor([p for ids in pieces for p in ids], dtype=torch.long)
    matrix = torch.zeros(len(words) + FIRST_WORD, table.shape[1])
    matrix.index_add_(0, owner + FIRST_WORD, table.detach()[flat])
    count = torch.zeros(len(matrix)).index_add_(0, owner + FIRST_WORD, torch.ones(len(owner)))
    matrix /= count.clamp(min=1).unsqueeze(1)
    matrix *= RANDOM_SCALE / matrix[FIRST_WORD:].std().clamp(min=1e-6)
    return WordVectors(words, matrix, f"input embeddings of {Path(folder).name}")


@contextlib.contextmanager
def _bars_if_watched() -> Iterator[None]:
    """Let transformers draw its progress bars only where somebody is likely to look."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    if not is_watched():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _lowers_unasked(tokenizer: PreTrainedTokenizerFast, folder: Path) -> bool:
    """Whether words would be lowered although the vocabulary has capitals and nothing says so."""
    if not getattr(tokenizer, "do_lower_case", False):
        return False
    # The special tokens stand in brackets, with capitals in every vocabulary.
    if all(word == word.lower() or word[:1] == "[" for word in tokenizer.get_vocab()):
        return False
    settings = folder / "tokenizer_config.json"
    said = settings.is_file() and "do_lower_case" in read_text(settings)
    return not said and not (folder / "tokenizer.json").is_file()


def usable_positions(config: PretrainedConfig) -> int:
    """The longest sequence an encoder reads: RoBERTa and its like count from the padding index on."""
    offset = config.model_type in COUNTED_FROM_PADDING
    return config.max_position_embeddings - (config.pad_token_id + 1 if offset else 0)


def _how_to_convert(name: str | os.PathLike[str], folder: Path) -> str:
    """What writes pickled weights as safetensors, where there is nothing else; "" if nothing hints at it."""
    command = (
        'python -c "from transformers import AutoModel; '
        "AutoModel.from_pretrained('{0}').save_pretrained('{0}')\""
    )
    if (folder / _PICKLED).is_file():
        pickle = f". It has {_PICKLED}, a pickle, which is not read; convert it by: "
        return pickle + command.format(folder)
    if Path(name).expanduser().is_dir() or name == TINY:
        return ""
    get = f"hf download {name} --local-dir FOLDER"
    return f". What the hub has as {_PICKLED} only: {get}, then {command.format('FOLDER')}"


def _expect_files(folder: Path, what: str, files: Sequence[str], advice: str = "") -> None:
    if not any((folder / file).is_file() for file in files):
        raise DataNotFoundError(
            f"{folder} holds no {what} of an encoder: it needs {' or '.join(files)}, as "
            f"save_pretrained writes them{advice}"
        )
