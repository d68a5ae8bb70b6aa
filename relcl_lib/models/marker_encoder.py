"""CRECL's encoder: a BERT read at the entity markers, dropout and one linear layer (Eq. 1)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from relcl_lib.losses.basic import without_autocast
from relcl_lib.models.packed_bert import Packing, apply_layer, split_layers

POOLINGS = ("opening", "pairs")


class MarkerEncoder(nn.Module):
    """h = W Dropout(e) + b, e the states at the two entities' markers side by side.

    Three things make a pass cheaper and change no number (beyond rounding): the last layer is
    computed at the markers alone, as nothing else of it is read; the layers see the tokens of a batch
    without its pads (`packed_bert`); and `only_tokens` trains a small table of embeddings in place of
    the large one. The first two need a network that is built as BERT is; others run as they are.

    Args:
        network: a BERT of transformers without heads; it is taken apart, so do not use it elsewhere.
        vocabulary: tokens of the tokenizer, markers included; new embedding rows are drawn from
            torch's own generator.
        size: d, the size of h; None for the encoder's hidden size H.
        dropout: p between e and the linear layer.
        pooling: `opening` reads `[E11]` and `[E21]`; `pairs` averages each with its closing marker.
        attend_pads: pads are attended to like words, as released; pad every batch to one length.
        groups: of like length, each padded by itself where attention needs padding; 0: see `Packing`.
        precision: number format of the BERT's matrix products; e and h are float32. A caller's
            autocast has no say.
    """

    def __init__(
        self,
        network: nn.Module,
        vocabulary: int,
        *,
        size: int | None = None,
        dropout: float = 0.2,
        pooling: str = "opening",
        attend_pads: bool = False,
        groups: int = 1,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling={pooling!r} must be one of {POOLINGS}")
        if network.get_input_embeddings().num_embeddings < vocabulary:
            network.resize_token_embeddings(vocabulary, mean_resizing=False)
        width = network.config.hidden_size
        self.network, self.layers = split_layers(network)
        self.size = size or width
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * width, self.size)
        self.pooling, self.attend_pads, self.groups = pooling, attend_pads, groups
        self.precision = precision
        self._places: Tensor | None = None  # token id -> row of the small table

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """h (B, d) of a batch of `MarkedTokens.batch`."""
        return self.represent(self.entities(batch))

    def represent(self, entities: Tensor) -> Tensor:
        """h (..., d) of e (..., 2H) with a dropout mask of its own for every row (Eq. 1)."""
        with without_autocast(entities.device):
            return self.linear(self.dropout(entities))

    def entities(self, batch: Mapping[str, Tensor]) -> Tensor:
        """e (B, 2H) in float32: the head's marker, then the tail's; one pass of the BERT.

        A batch has `input_ids` and `attention_mask` (B, n), `head` and `tail` (B,), the positions of
        the opening markers; with `pooling="pairs"` also `head_end` and `tail_end` (B,).
        """
        markers = [batch["head"], batch["tail"]]
        if self.pooling == "pairs":
            markers += [batch["head_end"], batch["tail_end"]]
        ids, mask, places = batch["input_ids"], batch["attention_mask"], torch.stack(markers, 1)
        reduced = self.precision != torch.float32
        with torch.autocast(ids.device.type, self.precision, enabled=reduced):
            states = self._states(ids, mask, places).float()  # (B, P, H)
        if self.pooling == "pairs":
            states = (states[:, :2] + states[:, 2:]) / 2
        return states.flatten(1)

    def _states(self, ids: Tensor, mask: Tensor, places: Tensor) -> Tensor:
        """The last layer's states (B, P, H) at `places` (B, P)."""
        mask = torch.ones_like(mask) if self.attend_pads else mask
        ids = ids.long() if self._places is None else self._places[ids.long()]
        given = mask if self.layers is None else None  # embeddings need none, and a GPU would wait
        hidden = self.network(input_ids=ids, attention_mask=given).last_hidden_state
        if self.layers is None:
            return hidden.gather(1, places.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        packing = Packing(mask, self.groups)
        x = packing.pack(hidden)  # (T, H)
        for layer in self.layers[:-1]:
            x = apply_layer(layer, x, packing)
        x = apply_layer(self.layers[-1], x, packing, packing.rows(places))
        return x[packing.order.argsort()]

    @contextlib.contextmanager
    def only_tokens(self, ids: Tensor) -> Iterator[None]:
        """Inside the block the embedding table holds the rows of these token ids alone.

        A row no sentence uses has gradient 0, so an Adam that starts afresh (no decay) never moves
        it: leaving it out changes nothing, and saves its gradient and its moments at every step.
        Optimizers must be made inside the block.
        """
        full = self.network.get_input_embeddings()
        pad = full.padding_idx  # longer padding may need it; its row gets no gradient in any table
        # With the rows before it the pad keeps its id: RoBERTa's kind tells positions by that.
        pads = [] if pad is None else [torch.arange(pad + 1).to(ids)]
        kept = torch.cat([ids.flatten(), *pads]).unique().long()
        # -1 has no row: a token that was not named is an error, not another token.
        places = torch.full((full.num_embeddings,), -1, device=kept.device)
        places[kept] = torch.arange(len(kept), device=kept.device)
        small = nn.Embedding.from_pretrained(
            full.weight.detach()[kept],
            freeze=False,
            padding_idx=pad,
        )
        self.network.set_input_embeddings(small)
        self._places = places
        try:
            yield
        finally:
            with torch.no_grad():
                full.weight[kept] = small.weight
            self.network.set_input_embeddings(full)
            self._places = None
