"""Training that starts from a saved tagger: its words and vectors, its weights, by name.

Relations and types that both have keep their rows of the taggers' last layers; new ones start as
they would, and so do words that the tagger does not know.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from relcl_lib.lab.parameters import ParameterError
from relcl_lib.models.casrel import CasRel
from relcl_lib.models.tagger import ConvEncoder, FastRE
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.text.schema import Schema
from relcl_lib.text.words import FIRST_WORD, WordVectors


def load_start(folder: str) -> Extractor:
    """The tagger to start from; one on a pretrained encoder is refused."""
    tagger = Extractor.load(folder, device="cpu")  # as a new network is, before it is moved
    if not isinstance(tagger.model.encoder, ConvEncoder):
        raise ParameterError(
            f"start_from={folder!r}: a tagger on a pretrained encoder starts from that: set encoder"
        )
    return tagger


def known_and_new(tagger: Extractor, vectors: WordVectors) -> WordVectors:
    """The tagger's words with its vectors, then the words that it lacks with those given."""
    known = tagger.model.encoder.vectors.detach()
    if known.shape[1] != vectors.matrix.shape[1]:
        raise ParameterError(
            f"start_from: its word vectors have {known.shape[1]} numbers, the run's "
            f"{vectors.matrix.shape[1]}; set vector_size, or give word_vectors of that size"
        )
    words = tagger.reader.words
    have = set(words)
    new = [at for at, word in enumerate(vectors.words) if word not in have]
    matrix = torch.cat([known, vectors.matrix[[at + FIRST_WORD for at in new]]])
    return WordVectors(
        (*words, *(vectors.words[at] for at in new)),
        matrix,
        f"a tagger's, {vectors.source}",
        vectors.in_file,
        vectors.note,
    )


def take_over(model: FastRE | CasRel, schema: Schema, tagger: Extractor) -> None:
    """Give a new network the tagger's weights.

    Raises:
        ParameterError: the networks differ in more than words, types and relations.
    """
    if other := sorted(_other_form(model, tagger.model)):
        raise ParameterError(
            f"start_from: the tagger's network is another one ({'; '.join(other)}); set method, variant "
            "and what else shapes the network as it was trained"
        )
    ours, theirs = model.state_dict(), tagger.model.state_dict()
    for name in ours.keys() - {"encoder.vectors"}:
        if (field := _classes(name)) is None:
            ours[name].copy_(theirs[name])
        else:
            _take_rows(
                ours[name], theirs[name], getattr(schema, field), getattr(tagger.schema, field)
            )


def _other_form(mine: FastRE | CasRel, other: FastRE | CasRel) -> set[str]:
    """The settings in which two networks differ, but for their classes and dropout.

    Networks with other gates or thresholds can have weights of the same names and shapes.
    """
    if type(mine) is not type(other):
        return {f"method: {type(other).__name__} there, {type(mine).__name__} here"}
    ours, theirs = ({**vars(m.encoder.config), **vars(m.config)} for m in (mine, other))
    free = ("n_types", "n_relations", "dropout", "embedding_dropout")
    return {
        f"{name}: {theirs[name]} there, {value} here"
        for name, value in ours.items()
        if name not in free and value != theirs[name]
    }


def _classes(name: str) -> str | None:
    """The field of a schema that names the rows of a weight; None where they are no classes."""
    layer = name.rpartition(".")[0]
    if layer in ("heads.start", "heads.end", "tails.types"):
        return "types"
    if layer in ("tails.start", "tails.end", "tail_start", "tail_end"):
        return "relations"
    return None


def _take_rows(mine: Tensor, other: Tensor, names: Sequence[str], theirs: Sequence[str]) -> None:
    """Copy the rows of the classes that both have, and those before them: the threshold's, if any."""
    first = len(other) - len(theirs)
    places = {name: first + at for at, name in enumerate(theirs)}
    mine[:first] = other[:first]
    for at, name in enumerate(names, start=len(mine) - len(names)):
        if name in places:
            mine[at] = other[places[name]]
