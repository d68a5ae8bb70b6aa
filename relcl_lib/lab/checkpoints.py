"""Checkpoints: tensors as safetensors and progress as JSON, together or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from relcl_lib.lab.digests import check_sums, write_sums
from relcl_lib.lab.files import atomic_directory, locked, remove_leftovers
from relcl_lib.lab.json_text import parse_json

#: a pretrained encoder's config and tokenizer, in the folder of a model
ENCODER = "encoder"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; says which and what to do."""


def run_folder(
    work_dir: str | Path | None, name: str, identity: Callable[[], Mapping[str, Any]]
) -> Path | None:
    """Folder of a run's checkpoint below `work_dir`: a name, and 12 hex digits for what it is.

    Args:
        work_dir: None keeps no checkpoints; then the identity is not asked for.
        name: what the folder's name begins with.
        identity: returns everything that shapes the run's numbers, the seeds among it.
    """
    if work_dir is None:
        return None
    return Path(work_dir) / f"{name}-{run_digest(identity())}"


def run_digest(identity: Mapping[str, Any]) -> str:
    """12 hex digits for everything that shapes a run's numbers."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


#: where `train --out` puts a model of one seed, and what those of several begin with
ONE, OF_SEED = "model", "model-seed"


def model_folders(out: str | Path, seeds: Sequence[int]) -> dict[int, Path]:
    """Where training saves the model of each seed: `model`, or `model-seed0`, ... of several.

    Raises:
        CheckpointError: there is a model of the other kind, which would be taken for one of these.
    """
    out, single = Path(out), len(seeds) == 1
    other = sorted(out.glob(f"{OF_SEED}*" if single else ONE))
    if other:
        raise CheckpointError(
            f"{out} holds {', '.join(folder.name for folder in other)} of a training of "
            f"{'several seeds' if single else 'one seed'}, which would lie beside the new model. "
            "Name another --out, or move that away"
        )
    return {seed: out / (ONE if single else f"{OF_SEED}{seed}") for seed in seeds}


def find_model(folder: str | Path, about: str) -> Path:
    """Where a model lies: in a folder that has the file `about`, or in `model` of `train --out`.

    Raises:
        CheckpointError: `train` saved one model per seed there.
    """
    folder = Path(folder).expanduser()
    if (folder / about).exists():
        return folder
    if (folder / ONE).is_dir():
        return folder / ONE
    if each := sorted(path.name for path in folder.glob(f"{OF_SEED}*")):
        raise CheckpointError(
            f"{folder} holds one model per seed: {', '.join(each)}. Name one of these folders"
        )
    return folder


def refuse_other(folder: str | Path, about: str, run: Callable[[], str]) -> None:
    """Leave a folder alone that holds anything but the model of this run: saving replaces all of it.

    Args:
        folder: where the model is to be saved; it may be absent or empty.
        about: its JSON file whose `note` has the `run_digest` of the run as `run`.
        run: returns the digest; asked only where something is there.

    Raises:
        CheckpointError: it holds another run's model, or none.
    """
    folder = Path(folder)
    remove_leftovers(folder.parent)  # of a process killed while it saved: the model may be there
    if not (any(folder.iterdir()) if folder.is_dir() else folder.exists()):
        return
    try:
        note = dict(parse_json((folder / about).read_text(encoding="utf-8"))["note"])
    except (OSError, ValueError, KeyError, TypeError):
        note, what = {}, f"no model that can be read ({about})"
    else:
        what = "a model that does not say what it was trained with"
        if "run" in note:
            what = "a model that was trained on other data or with other settings"
    if note.get("run") != run():
        raise CheckpointError(
            f"{folder} holds {what}, and training would replace it. Name another --out, or move that "
            "folder away"
        )


def save_model(
    folder: str | Path,
    kind: str,
    about: Mapping[str, Any],
    state: Mapping[str, Tensor],
    pretrained: Iterable[Any] = (),
    *,
    what: str = "model",
) -> Path:
    """Write a trained model; the folder is the old one or the new one.

    Args:
        folder: is replaced whole.
        kind: names the files, `KIND.json` and `KIND.safetensors`.
        about: what JSON can hold, with a `format` that `read_model` looks at.
        state: the weights.
        pretrained: the encoder's config and tokenizer, which write themselves to `encoder/`.
        what: what the error calls it.

    Raises:
        CheckpointError: the folder cannot be written, or a weight is not finite, which `check_state`
            would refuse to read.
    """
    folder = Path(folder)
    remove_leftovers(folder.parent)
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    if wild := [n for n, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]:
        raise CheckpointError(
            f"the {what} is not saved to {folder}: {wild[0]} is not finite, as training diverged. Train "
            "with a lower learning rate"
        )
    try:
        with atomic_directory(folder) as temporary:
            for part in pretrained:
                part.save_pretrained(temporary / ENCODER)
            save_file(tensors, temporary / f"{kind}.safetensors")
            text = json.dumps(about, ensure_ascii=False, indent=1)
            (temporary / f"{kind}.json").write_text(text, encoding="utf-8")
            write_sums(temporary)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write the {what} to {folder}: {error}") from error
    return folder


def read_model(folder: Path, kind: str, version: int) -> tuple[Any, dict[str, Tensor]]:
    """What `save_model` wrote of a model: `about` and the weights; an Exception says what is wrong."""
    about = parse_json((folder / f"{kind}.json").read_text(encoding="utf-8"))
    if about["format"] != version:
        raise ValueError(f"format {about['format']!r} found, {version} expected")
    check_sums(folder)
    return about, load_file(folder / f"{kind}.safetensors")


def read_encoder(folder: Path, state: Collection[str]) -> tuple[Any, Any]:
    """What `save_model` wrote of an encoder: its config and tokenizer; no code in there is run.

    Raises:
        Exception: they cannot be read, or do not fit each other or the weights.
    """
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(folder / ENCODER, trust_remote_code=False)
    few_layers(config, state)
    tokenizer = AutoTokenizer.from_pretrained(folder / ENCODER, trust_remote_code=False)
    known_ids(tokenizer, config.vocab_size)
    return config, tokenizer


@contextlib.contextmanager
def model_named(folder: Path, what: str, files: str, command: str) -> Iterator[None]:
    """Inside the block a model is read; whatever fails, a CheckpointError names folder and files."""
    try:
        yield
    except Exception as error:  # safetensors and transformers have error classes of their own
        if not folder.is_dir():
            is_there = "is a file" if folder.exists() else "is not there"
            raise CheckpointError(
                f"{folder} {is_there}; name a folder that 'python -m relcl_lib {command}' wrote"
            ) from error
        raise CheckpointError(
            f"{folder} holds no {what} that can be read ({type(error).__name__}: {error}); it needs "
            f"{files}, as 'python -m relcl_lib {command}' writes them"
        ) from error


def save(folder: str | Path, state: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
    """Replace the checkpoint in `folder` in one step; a kill leaves the old one or the new one.

    Args:
        folder: `state.safetensors`, `progress.json` and their digests are written there.
        state: name -> tensor, on any device.
        progress: plain values.

    Raises:
        CheckpointError: the folder cannot be written or the disk is full.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    try:
        remove_leftovers(Path(folder).parent)
        with atomic_directory(folder) as temporary:
            save_file(tensors, temporary / "state.safetensors")
            (temporary / "progress.json").write_text(json.dumps(dict(progress), indent=1))
            write_sums(temporary)
    except (OSError, SafetensorError) as error:  # a full disk comes as either
        raise CheckpointError(
            f"cannot write the checkpoint {folder}: {error}. The last one is untouched; free some "
            "space or name another work folder, and start the run again: it goes on from there"
        ) from error


def load(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """State and progress of the last complete checkpoint, None if there is none.

    Raises:
        CheckpointError: the files are there and cannot be read, or are not those that were written.
    """
    folder = Path(folder)
    for _ in range(2):  # a process may be killed in the middle of replacing it after the first look
        remove_leftovers(folder.parent)
        with locked(folder.parent, shared=True):
            if folder.is_dir():
                return _read(folder)
    return None


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        check_sums(folder)
        progress = parse_json((folder / "progress.json").read_text())
        if not isinstance(progress, dict):
            raise ValueError(f"progress.json holds a {type(progress).__name__}, not an object")
        return load_file(folder / "state.safetensors"), progress
    except Exception as error:  # safetensors has an error class of its own
        raise CheckpointError(
            f"the checkpoint {folder} cannot be read ({error}); delete that folder to start over"
        ) from error


class _NothingDrawn(TorchFunctionMode):
    """Initialisers fill nothing: on the meta device there is nothing, and `normal_` would import for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") == "normal_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def check_state(build: Callable[[], torch.nn.Module], state: Mapping[str, Tensor]) -> None:
    """Compare the network that a saved folder describes with its tensors, before it takes memory.

    Raises:
        ValueError: names the first tensor that is missing, left over, of another shape or not finite.
    """
    with torch.device("meta"), _NothingDrawn():
        wanted = build().state_dict()
    for name in sorted({*wanted, *state}):
        shapes = [tuple(s[name].shape) if name in s else None for s in (wanted, state)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{name}: shape {shapes[0]} is described, {shapes[1]} is saved")
        if state[name].is_floating_point() and not state[name].isfinite().all():
            raise ValueError(f"{name}: not all its numbers are finite")


def few_layers(config: Any, state: Collection[str]) -> None:
    """ValueError where a Transformer's configuration has more layers than tensors are saved."""
    layers = getattr(config, "num_hidden_layers", 0)
    if type(layers) is not int or not 0 <= layers <= len(state):
        raise ValueError(f"num_hidden_layers is {layers!r}, but {len(state)} tensors are saved")


def known_ids(tokenizer: Any, rows: int, of: str = "encoder") -> None:
    """ValueError where a tokenizer has ids beyond the rows of the embeddings."""
    if not all(0 <= index < rows for index in tokenizer.get_vocab().values()):
        raise ValueError(f"the tokenizer has ids beyond the {rows} of the {of}")


def join(**parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of all parts in one mapping, each under its part's name and a dot."""
    return {f"{part}.{name}": v for part, entries in parts.items() for name, v in entries.items()}


def split(state: Mapping[str, Tensor]) -> defaultdict[str, dict[str, Tensor]]:
    """The parts that `join` was given; one that had no entries is an empty mapping."""
    parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, value in state.items():
        part, name = key.split(".", 1)
        parts[part][name] = value
    return parts


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's tensors by flat names; none for SGD without momentum."""
    return {
        f"{index}.{name}": value
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_state` returned."""
    restored = optimizer.state_dict()
    for index, entries in split(flat).items():
        restored["state"].setdefault(int(index), {}).update(entries)
    optimizer.load_state_dict(restored)
