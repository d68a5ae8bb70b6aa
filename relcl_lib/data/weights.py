"""Pretrained weights: the folder they lie in, what they are by content, and whose they are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from relcl_lib.data.download import (
    DataFormatError,
    DataNotFoundError,
    check_blob,
    patiently,
)
from relcl_lib.lab.digests import content_digest, file_digest
from relcl_lib.lab.files import packaged_data
from relcl_lib.lab.json_text import parse_json

#: name of the small encoder that the repository holds
TINY = "tiny"
#: files that shape what a pretrained network computes, tokenizers among them
_SHAPING = (
    "config.json",
    "tokenizer_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)


class Published(NamedTuple):
    """A published network: sizes that its configuration states, and its weights' SHA-256 if known."""

    layers: int
    hidden: int
    vocabulary: int
    sha256: str = ""


#: name on the hub, without its owner -> what it is
ENCODERS = {
    "bert-base-uncased": Published(
        12, 768, 30522, "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3"
    ),
    "bert-base-cased": Published(12, 768, 28996),
    "roberta-large": Published(24, 1024, 50265),
    "scibert_scivocab_cased": Published(12, 768, 31116),
    "scibert_scivocab_uncased": Published(12, 768, 31090),
}


#: whose names on the hub those are
OWNERS = ("google-bert", "FacebookAI", "allenai")


def weights_folder(name: str | os.PathLike[str]) -> Path:
    """The folder of pretrained weights: the one that is named, or the hub's copy on this machine.

    A name on the hub is downloaded once: configuration, safetensors and tokenizer. `tiny` is the
    small encoder in the repository's `data/synthetic/encoder`.

    Raises:
        DataNotFoundError: there is no such folder, and the hub has no such name or is out of reach.
    """
    folder = packaged_data() / "synthetic" / "encoder" if name == TINY else Path(name).expanduser()
    if name == TINY or folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    wanted = {"repo_id": str(name), "allow_patterns": list(_SHAPING)}
    try:
        with contextlib.suppress(LocalEntryNotFoundError):
            folder = Path(snapshot_download(**wanted, local_files_only=True))
            if any(folder.glob("model*.safetensors")):  # not just the configuration, say
                return folder

        def download() -> Path:
            found = Path(snapshot_download(**wanted))
            for file in found.glob("*.safetensors"):
                check_blob(file, f"{name}/{file.name}")
            return found

        return patiently(download, str(name))
    except DataFormatError:
        raise
    except (OSError, ValueError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise DataNotFoundError(
            f"the pretrained weights {str(name)!r} are no folder here, and the hub gave none "
            f"({type(error).__name__}: {reason}). Give a folder that save_pretrained wrote "
            "(config.json, tokenizer.json, model.safetensors), or a name on the Hugging Face hub "
            "(with a network)"
        ) from error


def weights_digest(folder: str | os.PathLike[str]) -> str:
    """What the weights in a folder are by content: a digest of configuration, weights, tokenizer."""
    files = {path for pattern in _SHAPING for path in Path(folder).glob(pattern)}
    return content_digest((path.name, file_digest(path)) for path in files if path.is_file())


@contextlib.contextmanager
def damage_named(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Inside the block weights of a folder are loaded; a DataFormatError names a damaged file."""
    try:
        yield
    except SafetensorError as error:
        raise DataFormatError(
            _first_damaged(Path(folder)),
            f"truncated or damaged ({error})",
            "Download it again, or save the network again",
        ) from error


def _first_damaged(folder: Path) -> Path:
    """The first file of weights that cannot be opened; else the folder."""
    for file in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError:
            return file
    return folder


def tensors_in(folder: str | os.PathLike[str]) -> set[str]:
    """The names of all tensors in a folder's weights; SafetensorError where a file is damaged."""
    names: set[str] = set()
    for file in Path(folder).glob("model*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            names.update(weights.keys())
    return names


def is_published(given: str | os.PathLike[str], name: str) -> bool:
    """Whether weights are those that were published as `name`, a key of `ENCODERS`.

    By the digest of the weights. Where none is known only the hub's own copy can be, which is asked
    for by its name, and has the published sizes: what a folder holds may have been trained further.
    """
    found, published = weights_folder(given), ENCODERS[name]
    if published.sha256:
        weights = found / "model.safetensors"
        return weights.is_file() and file_digest(weights) == published.sha256
    if str(given) not in (name, *(f"{owner}/{name}" for owner in OWNERS)) or Path(given).exists():
        return False
    try:
        config = parse_json((found / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(config, dict):
        return False
    sizes = [config.get(key) for key in ("num_hidden_layers", "hidden_size", "vocab_size")]
    return sizes == list(published[:3])
