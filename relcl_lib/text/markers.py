"""Sentences as tokens with the two entities marked."""

from __future__ import annotations

import dataclasses
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


@dataclass(frozen=True)
class MarkedTokens:
    """Marked sentences as an encoder reads them, in the order of the data.

    `ids` (N, n) int64, filled up on the right with `pad_id`; `lengths` (N,) tokens of each;
    `head` and `tail` (N,) positions of `[E11]` and `[E21]`; `labels` (N,).
    """

    ids: Tensor
    lengths: Tensor
    head: Tensor
    tail: Tensor
    labels: Tensor
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> MarkedTokens:
        """The same tokens on a device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **moved)

    def batch(self, indices: Tensor, pad_to: int | None = None) -> dict[str, Tensor]:
        """The rows at `indices` (B,), cut to the longest of them or filled up to `pad_to`.

        `input_ids` and `attention_mask` (B, m), the latter 1 at tokens and 0 at pads; `head`, `tail`
        and `labels` (B,); all int64.
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
            "head": self.head[indices],
            "tail": self.tail[indices],
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
    data: RelationSentences, tokenizer: PreTrainedTokenizerFast, *, max_length: int = 256
) -> MarkedTokens:
    """Tokenise all sentences with their entities marked; the markers are added to the tokenizer.

    A sentence is cut to `max_length` tokens, [CLS] and [SEP] among them. An error names the sentence
    of which a marker was cut off, or whose own text holds one, or a tokenizer that cannot pad.
    """
    if tokenizer.pad_token_id is None:
        raise ValueError(
            "the tokenizer has no padding token, as encoders of BERT's kind have; use one of those"
        )
    ids_of_markers = add_markers(tokenizer)
    texts = [marked_text(sentence) for sentence in data.sentences]
    rows = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"] if texts else []
    ids = pad_rows(rows, tokenizer.pad_token_id)
    places = []
    for marker, number in zip(MARKERS, ids_of_markers, strict=True):
        at = ids == number
        _expect_one(data, marker, at.sum(1), max_length)
        places.append(at.int().argmax(1) if len(ids) else ids.new_zeros(0))
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    return MarkedTokens(ids, lengths, places[0], places[2], data.labels, tokenizer.pad_token_id)


def _expect_one(data: RelationSentences, marker: str, counts: Tensor, max_length: int) -> None:
    wrong = (counts != 1).nonzero().squeeze(1)
    if not len(wrong):
        return
    first = int(wrong[0])
    if counts[first]:
        problem = f"the text itself holds {marker}. Remove it from the data"
    else:
        problem = (
            f"{marker} lies beyond max_length={max_length} tokens. Raise max_length as far as the "
            "encoder's positions go (512 in BERT), or take such sentences out of the data"
        )
    raise ValueError(f"{data.describe(first)}: {problem} ({len(wrong)} sentences in all).")
