"""CasRel on any encoder of words: the baseline FastRE is measured against.

The sigmoid cascade of Wei et al. (2020): each word has a start and an end score for head entities, then
one of each per relation for the tail entities of a given head. It tags words, so that its spans, rules
and scores are those of FastRE; the original tags pieces.

As there, a token follows each word: an entity starts at the first piece of its first word and ends at
the token after its last one. With one state for both, the logits of (A, r, B) and (B, r, A) would be
equal for entities of one word: the head's average is added to the tail's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relcl_lib.data.ragged import pad_rows
from relcl_lib.models.fast_dropout import fast_dropout
from relcl_lib.models.tagger import ConvEncoder, token_mask
from relcl_lib.text.pretrained import usable_positions

#: follows each word
MARKER = "[unused1]"


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
    """Turns words into the pieces of a pretrained tokenizer, a marker after each word.

    The marker is `[unused1]`, as in the original, or the tokenizer's separator where its vocabulary
    has none. A text is cut to `max_tokens` words and to `max_pieces` pieces, markers and specials
    among them, or to what `network`, the encoder's configuration, reads if that is less; a word of
    which not even a piece fits is cut with all after it. The tokenizer is a fast one of
    transformers.
    """

    def __init__(
        self, tokenizer: Any, max_tokens: int = 100, max_pieces: int = 512, network: Any = None
    ) -> None:
        self.tokenizer, self.max_tokens, self.max_pieces = tokenizer, max_tokens, max_pieces
        if network is not None:
            self.max_pieces = min(max_pieces, usable_positions(network))
        self.marker = tokenizer.get_vocab().get(MARKER, tokenizer.sep_token_id)

    def read(self, texts: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """`pieces` (N, m), `piece_lengths` (N,), `first` and `after` (N, n), `lengths` (N,), int64.

        `first` is the place of a word's first piece, `after` that of the marker behind it.
        """
        cut = [list(words[: self.max_tokens]) for words in texts]
        words = [word for row in cut for word in row]
        encoded = self.tokenizer(
            words or [""], add_special_tokens=False, return_attention_mask=False
        )
        pieces_of = iter(encoded["input_ids"])
        rows, firsts, afters = [], [], []
        for row in cut:
            pieces, first, after = [self.tokenizer.cls_token_id], [], []
            for own in [next(pieces_of) for _ in row]:
                room = self.max_pieces - len(pieces) - 2  # less its marker and the closing special
                if room < min(len(own), 1):
                    break
                first.append(len(pieces))
                pieces += own[:room]
                after.append(len(pieces))
                pieces.append(self.marker)  # of a word of control characters only, all there is
            rows.append([*pieces, self.tokenizer.sep_token_id])
            firsts.append(first)
            afters.append(after)
        return {
            "pieces": pad_rows(rows, self.tokenizer.pad_token_id or 0),
            "piece_lengths": torch.tensor([len(row) for row in rows], dtype=torch.long),
            "first": pad_rows(firsts, 0),
            "after": pad_rows(afters, 0),
            "lengths": torch.tensor([len(row) for row in firsts], dtype=torch.long),
        }


class PretrainedEncoder(nn.Module):
    """A Transformer encoder (see `load_encoder`), read at each word's first piece and after it.

    `precision` is that of its matrix products; its weights and its output are float32 in any case.
    """

    def __init__(self, network: nn.Module, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network, self.size = network, network.config.hidden_size
        self.network.pooler = None  # nothing reads it
        self.precision = precision

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """H (B, n, 2, d), 0 at pads, from `pieces`, `piece_lengths`, `first` and `after`."""
        pieces = inputs["pieces"]
        attended = token_mask(inputs["piece_lengths"], pieces.shape[1])[..., 0].long()
        lower = self.precision != torch.float32
        low = torch.autocast(pieces.device.type, self.precision, enabled=lower)
        with low, fast_dropout(pieces.device):
            out = self.network(input_ids=pieces, attention_mask=attended).last_hidden_state
        out = out.float()  # (B, pieces, d)
        places = torch.stack([inputs["first"], inputs["after"]], dim=-1)  # (B, n, 2)
        rows = torch.arange(len(out), device=out.device)[:, None, None]
        return out[rows, places] * mask.unsqueeze(-1)


class CasRel(nn.Module):
    """The cascade on an encoder of this module or on FastRE's `ConvEncoder`.

    On the latter the next word's state stands for the token after a word, and 0 after the last one.
    """

    threshold = 0.5

    def __init__(self, config: CasRelConfig, encoder: PretrainedEncoder | ConvEncoder) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.head_start, self.head_end = nn.Linear(encoder.size, 1), nn.Linear(encoder.size, 1)
        self.tail_start = nn.Linear(encoder.size, config.n_relations)
        self.tail_end = nn.Linear(encoder.size, config.n_relations)

    def encode(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """H (B, n, 2, d), for starts and for ends, and the mask (B, n, 1) of a batch."""
        words = inputs["first"] if "first" in inputs else inputs["words"]
        mask = token_mask(inputs["lengths"], words.shape[1])
        hidden = self.encoder(inputs, mask)
        if hidden.dim() == 3:
            hidden = torch.stack([hidden, F.pad(hidden[:, 1:], (0, 0, 0, 1))], dim=2)
        return hidden, mask

    def head_logits(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end logits, each (B, n, 1)."""
        start, end = hidden.unbind(2)
        return self.head_start(start), self.head_end(end)

    def tail_logits(
        self, hidden: Tensor, mask: Tensor, heads: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Start and end logits, each (M, n, R), of heads (M, 4): row, start, end, type.

        The average of the head's start and end states is added to every word; the layer after it is
        linear, so the sum is taken behind it, where a sentence's part is shared by its heads.
        """
        rows, first, last, _ = heads.unbind(1)
        average = (hidden[rows, first, 0] + hidden[rows, last, 1]) / 2  # (M, d)
        start, end = (
            layer(states)[rows] + (average @ layer.weight.T).unsqueeze(1)
            for layer, states in zip(
                (self.tail_start, self.tail_end), hidden.unbind(2), strict=True
            )
        )
        return start, end
