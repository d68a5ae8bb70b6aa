"""Sentences as tokens with the two entities marked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relcl_lib.data.ragged import pad_rows
from relcl_lib.data.sentences import MarkedSentence, RelationSentences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: Before and after the head entity, before and after the tail entity.
MARKERS = ("[E11]", "[E12]", "[E21]", "[E22]")
#: what a batch calls their positions
PLACES = ("head", "head_end", "tail", "tail_end")


@dataclass(frozen=True)
class MarkedTokens:
    """Marked sentences as an encoder reads them, in the order of the data.

    `ids` (N, n) int64, filled up on the right with `pad_id`; `lengths` (N,) tokens of each;
    `places` (N, 4) positions of the `MARKERS`; `labels` (N,). `usable` (k,) are the places of the
    sentences that have all their markers: of the others nothing may be read.
    """

    ids: Tensor
    lengths: Tensor
    places: Tensor
    labels: Tensor
    usable: Tensor
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> MarkedTokens:
        """The same tokens on a device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **moved)

    def batch(self, indices: Tensor, pad_to: int | None = None) -> dict[str, Tensor]:
        """The rows at `indices` (B,), cut to the longest of them or filled up to `pad_to`.

        `input_ids` and `attention_mask` (B, m), the latter 1 at tokens and 0 at pads; `head`,
        `head_end`, `tail`, `tail_end`, the markers' positions, and `labels` (B,); all int64.
        """
        indices = indices.to(self.ids.device)
        lengths = self.lengths[indices]
        longest = int(lengths.max()) if len(indices) else 0
        if pad_to is not None and pad_to < longest:
            raise ValueError(f"pad_to={pad_to} is less than the longest row of {longest} tokens")
        ids = self.ids[indices, :longest]
        if pad_to is not None:
            ids = torch.nn.functional.pad(ids, (0, pad_to - longest), value=self.pad_id)
        places = torch.arange(ids.shape[1], device=ids.device)
        return {
            "input_ids": ids,
            "attention_mask": (places < lengths.unsqueeze(1)).long(),
            **dict(zip(PLACES, self.places[indices].unbind(1), strict=True)),
            "labels": self.labels[indices],
        }


def marked_text(sentence: MarkedSentence) -> str:
    """A sentence's tokens, joined by single spaces, with the markers around its two entities.

    The markers stand in place, whichever entity is first. Overlapping entities nest: the longer one
    is marked outside. (Two that cross are marked crosswise.)
    """
    marks: list[tuple[int, int, int, int, str]] = []
    for which, (start, end) in enumerate((sentence.head, sentence.tail)):
        # Beside one token what closes stands first, and the longer entity is the outer one.
        marks.append((end, 0, -start, -which, MARKERS[2 * which + 1]))
        marks.append((start, 1, -end, which, MARKERS[2 * which]))
    words = list(sentence.tokens)
    for place, *_, marker in sorted(marks, reverse=True):
        words.insert(place, marker)
    return " ".join(words)


def add_markers(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Add the markers to a tokenizer where they are not yet, and return their four ids.

    An encoder then needs `resize_token_embeddings(len(tokenizer))`.
    """
    tokenizer.add_tokens(list(MARKERS), special_tokens=True)
    return tokenizer.convert_tokens_to_ids(list(MARKERS))


def mark_sentences(
    data: RelationSentences,
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int = 256,
    room: int | None = None,
    skip_long: bool = False,
) -> MarkedTokens:
    """Tokenise all sentences with their entities marked; the markers are added to the tokenizer.

    A sentence is cut to `max_length` tokens, [CLS] and [SEP] among them.

    Args:
        data: the sentences.
        tokenizer: the encoder's.
        max_length: tokens a sentence may have.
        room: the encoder's positions, which no advice then exceeds; None: not known.
        skip_long: a sentence of which a marker was cut off is not `usable`, and no error.

    Raises:
        ValueError: a marker of a sentence was cut off, or its own text holds one; the message names
            the sentence and says what to do. Or the tokenizer cannot pad.
    """
    if tokenizer.pad_token_id is None:
        raise ValueError(
            "the tokenizer has no padding token, as encoders of BERT's kind have; use one of those"
        )
    ids_of_markers = add_markers(tokenizer)
    texts = [marked_text(sentence) for sentence in data.sentences]
    rows = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"] if texts else []
    ids = pad_rows(rows, tokenizer.pad_token_id)
    at = torch.stack([ids == number for number in ids_of_markers], 1) if texts else ids[:, None]
    counts = at.sum(2)  # (N, 4)
    _refuse(data, counts > 1, "the text itself holds {marker}. Remove it from the data")
    if not skip_long and (counts == 0).any():
        lost = (counts == 0).any(1).nonzero().squeeze(1).tolist()
        needed = _needed([texts[place] for place in lost], tokenizer, ids_of_markers)
        problem = f"{{marker}} lies beyond max_length={max_length} tokens. {_advice(needed, room)}"
        _refuse(data, counts == 0, problem)
    places = at.int().argmax(2) if texts else ids.new_zeros(0, 4)
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    usable = (counts == 1).all(1).nonzero().squeeze(1)
    pad = tokenizer.pad_token_id
    return MarkedTokens(ids, lengths, places, data.labels, usable, pad)


def _refuse(data: RelationSentences, wrong: Tensor, problem: str) -> None:
    """Name the first sentence that is wrong (N, 4) at a marker, and how many are."""
    if not wrong.any():
        return
    sentence, marker = wrong.nonzero()[0].tolist()
    problem, count = problem.format(marker=MARKERS[marker]), int(wrong.any(1).sum())
    raise ValueError(f"{data.describe(sentence)}: {problem} ({count} sentences in all).")


def _needed(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, markers: Sequence[int]
) -> list[int]:
    """The `max_length` at which each text would keep all its markers."""
    rows = tokenizer(list(texts), verbose=False)["input_ids"]
    ends = tokenizer.num_special_tokens_to_add() - 1  # a cut text ends in [SEP] as well
    return [max(place for place, id in enumerate(row) if id in markers) + 1 + ends for row in rows]


def _advice(needed: Sequence[int], room: int | None) -> str:
    """What to do about sentences that need so many tokens each."""
    fit = [count for count in needed if room is None or count <= room]
    out = "take such sentences out of the data, or set skip_long to have them left out"
    if not fit:
        return f"The encoder has no more than {room} positions: {out}"
    raised = f"Set max_length to {max(fit)}"
    if len(fit) < len(needed):
        raised += f" for {len(fit)} of them (the others exceed the encoder's {room} positions)"
    return f"{raised}, or {out}"
