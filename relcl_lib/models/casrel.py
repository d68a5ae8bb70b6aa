"""CasRel on any encoder that gives one vector per word: the baseline FastRE is measured against.

The sigmoid cascade of Wei et al. (2020): each word has a start and an end score for head entities, then
one of each per relation for the tail entities of a given head. It tags words, by the first piece of
each, so that its spans, rules and scores are those of FastRE; the original tags pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relcl_lib.data.ragged import pad_rows
from relcl_lib.models.tagger import ConvEncoder, token_mask, two_linears


@dataclass(frozen=True)
class CasRelConfig:
    """Sizes of the cascade; `n_types` is 1, as heads are tagged without a type."""

    n_relations: int
    max_tokens: int = 100
    n_types: int = 1
    threshold: str = "global"

    @property
    def columns(self) -> tuple[int, int]:
        """Logits per position of the head and the tail tagger."""
        return self.n_types, self.n_relations


class PieceReader:
    """Turns words into the pieces of a pretrained tokenizer and the place of each word's first one.

    A text is cut to `max_tokens` words and to `max_pieces` pieces, specials among them; the words of
    pieces cut are cut too. The tokenizer is a fast one of transformers.
    """

    def __init__(self, tokenizer: Any, max_tokens: int = 100, max_pieces: int = 512) -> None:
        self.tokenizer, self.max_tokens, self.max_pieces = tokenizer, max_tokens, max_pieces

    def read(self, texts: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """`pieces` (N, m), `piece_lengths` (N,), `first` (N, n) and `lengths` (N,), int64."""
        cut = [list(words[: self.max_tokens]) for words in texts]
        if not any(cut):
            empty = torch.zeros(len(cut), dtype=torch.long)
            none = empty.new_zeros(len(cut), 0)
            return {"pieces": none, "piece_lengths": empty, "first": none, "lengths": empty}
        encoded = self.tokenizer(
            cut, is_split_into_words=True, truncation=True, max_length=self.max_pieces
        )
        firsts = []
        for row, words in enumerate(cut):
            found: dict[int, int] = {}
            for place, word in enumerate(encoded.word_ids(row)):
                if word is not None:
                    found.setdefault(word, place)
            kept = max(found, default=-1) + 1
            # A word of control characters only has no piece; the opening special stands in.
            firsts.append([found.get(i, 0) for i in range(min(kept, len(words)))])
        return {
            "pieces": pad_rows(encoded["input_ids"], self.tokenizer.pad_token_id or 0),
            "piece_lengths": torch.tensor([len(ids) for ids in encoded["input_ids"]]),
            "first": pad_rows(firsts, 0),
            "lengths": torch.tensor([len(row) for row in firsts]),
        }


class PretrainedEncoder(nn.Module):
    """A Transformer encoder (see `load_encoder`), read at the first piece of each word.

    `precision` is that of its matrix products; its weights and its output are float32 in any case.
    """

    def __init__(self, network: nn.Module, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network, self.size = network, network.config.hidden_size
        self.precision = precision

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """H (B, n, d), 0 at pads, from `pieces`, `piece_lengths` and `first`."""
        pieces = inputs["pieces"]
        attended = token_mask(inputs["piece_lengths"], pieces.shape[1])[..., 0].long()
        lower = self.precision != torch.float32
        with torch.autocast(pieces.device.type, self.precision, enabled=lower):
            out = self.network(input_ids=pieces, attention_mask=attended).last_hidden_state
        out = out.float()  # (B, pieces, d)
        first = inputs["first"].unsqueeze(-1).expand(-1, -1, out.shape[-1])
        return out.gather(1, first) * mask


class CasRel(nn.Module):
    """The cascade on an encoder of this module or on FastRE's `ConvEncoder`."""

    threshold = 0.5

    def __init__(self, config: CasRelConfig, encoder: PretrainedEncoder | ConvEncoder) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.head_start, self.head_end = nn.Linear(encoder.size, 1), nn.Linear(encoder.size, 1)
        self.tail_start = nn.Linear(encoder.size, config.n_relations)
        self.tail_end = nn.Linear(encoder.size, config.n_relations)

    def encode(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """H (B, n, d) and the mask (B, n, 1) of a batch."""
        words = inputs["first"] if "first" in inputs else inputs["words"]
        mask = token_mask(inputs["lengths"], words.shape[1])
        return self.encoder(inputs, mask), mask

    def head_logits(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end logits, each (B, n, 1)."""
        return two_linears(self.head_start, self.head_end, hidden)

    def tail_logits(
        self, hidden: Tensor, mask: Tensor, heads: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Start and end logits, each (M, n, R), of heads (M, 4): row, start, end, type.

        The average of the head's two end vectors is added to every word; the layer after it is
        linear, so the sum is taken behind it, where a sentence's part is shared by its heads.
        """
        rows, start, end, _ = heads.unbind(1)
        average = (hidden[rows, start] + hidden[rows, end]) / 2  # (M, d)
        pairs = zip(
            two_linears(self.tail_start, self.tail_end, hidden),
            (average @ self.tail_start.weight.T, average @ self.tail_end.weight.T),
            strict=True,
        )
        start_logits, end_logits = (word[rows] + own.unsqueeze(1) for word, own in pairs)
        return start_logits, end_logits
