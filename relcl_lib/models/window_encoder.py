"""A Transformer for documents longer than its positions: two overlapping windows, or more positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from relcl_lib.models.fast_dropout import fast_dropout
from relcl_lib.text.pretrained import usable_positions

ROW_EPSILON = 1e-10  # added to the sum of an attention row of two windows
DOUBLE_END = ("roberta", "xlm-roberta")  # their windows end with two specials


class WindowEncoder(nn.Module):
    """A Transformer read in one window, or in two that overlap where a document is longer.

    The network is one of transformers, with eager attention, so that it returns attention maps;
    `ends` are the ids of the opening and the closing special; the last `layers` are averaged.
    """

    def __init__(self, network: nn.Module, ends: tuple[int, int], layers: int = 1) -> None:
        super().__init__()
        self.network, self.layers = network, layers
        config = network.config
        self.size = config.hidden_size
        double = config.model_type in DOUBLE_END
        self.window = usable_positions(config)
        self.start, self.end = (ends[0],), (ends[1],) * (2 if double else 1)

    def forward(
        self, ids: Tensor, lengths: Tensor, rows: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (b, T, D) and the attention rows (m, heads, T) of m places.

        `ids` (b, T) are padded; `rows` (m,) says the document of each place, `places` (m,) where in it.
        Where both windows cover a piece its states are averaged; attention rows are added and
        brought back to sum 1. Pieces of different windows do not attend to one another. A document
        of more than twice the window less the specials has pieces in the middle that no window
        covers: their vectors are 0.
        """
        steps = torch.arange(ids.shape[1], device=ids.device)
        if ids.shape[1] <= self.window:
            hidden, attention = self._run(ids, steps < lengths.unsqueeze(1))
            return hidden, attention[rows, :, places]
        pieces, mask, origin, owner = self._windows(ids, lengths)
        hidden, attention = self._run(pieces, mask)  # (w, W, D), (w, heads, W, W)
        inside = origin >= 0
        window, column = inside.nonzero(as_tuple=True)
        merged = hidden.new_zeros(*ids.shape, hidden.shape[-1])  # (b, T, D)
        cover = hidden.new_zeros(*ids.shape, 1)
        at = (owner[window], origin[window, column])
        merged = merged.index_put(at, hidden[window, column], accumulate=True)
        cover = cover.index_put(at, cover.new_ones(len(window), 1), accumulate=True)
        return merged / cover.clamp(min=1), self._merge_rows(
            attention, origin, owner, rows, places, ids.shape[1]
        )

    def _run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        with fast_dropout(ids.device):
            out = self.network(
                input_ids=ids,
                attention_mask=mask.long(),
                output_attentions=True,
                output_hidden_states=self.layers > 1,
            )
        if self.layers == 1:
            return out.last_hidden_state, out.attentions[-1]
        states, attentions = out.hidden_states[-self.layers :], out.attentions[-self.layers :]
        return torch.stack(states).mean(0), torch.stack(attentions).mean(0)

    def _windows(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pieces, mask, origin (w, W) and owner (w,) of all windows; origin -1: no piece.

        The first b windows are the documents' first ones, the others the second ones of the long
        documents.
        """
        size, s, e = self.window, len(self.start), len(self.end)
        steps = torch.arange(size, device=ids.device)
        long = lengths > size
        first = torch.where(long, size - e, lengths.clamp(max=size)).unsqueeze(1)
        second = long.nonzero()[:, 0]
        shift = (lengths[second] - size).unsqueeze(1)
        origin = torch.cat(
            [
                torch.where(steps < first, steps, -1),
                torch.where(steps >= s, steps + shift, -1),
            ]
        )
        owner = torch.cat([torch.arange(len(ids), device=ids.device), second])
        pieces = ids[owner].gather(1, origin.clamp(min=0))
        pieces[: len(ids), size - e :][long] = ids.new_tensor(self.end)
        pieces[len(ids) :, :s] = ids.new_tensor(self.start)
        mask = (origin >= 0) | torch.cat([long, long.new_ones(len(second))]).unsqueeze(1)
        return pieces, mask, origin, owner

    def _merge_rows(
        self,
        attention: Tensor,
        origin: Tensor,
        owner: Tensor,
        rows: Tensor,
        places: Tensor,
        length: int,
    ) -> Tensor:
        """Add the attention rows of both windows, in positions of the document."""
        count = int(owner.max()) + 1
        other = torch.full((count,), -1, device=owner.device)
        other[owner[count:]] = torch.arange(count, len(owner), device=owner.device)
        total = attention.new_zeros(len(rows), attention.shape[1], length + 1)
        for window in (rows, other[rows]):  # a document's first window, then its second
            matches = (origin[window.clamp(min=0)] == places.unsqueeze(1)) & (window >= 0)[:, None]
            mention, column = matches.nonzero(as_tuple=True)
            found = attention[window[mention], :, column]  # (k, heads, W)
            target = origin[window[mention]]
            target = torch.where(target < 0, length, target)  # the specials' share goes nowhere
            added = found.new_zeros(len(mention), found.shape[1], length + 1)
            added = added.scatter(2, target.unsqueeze(1).expand_as(found), found)
            total = total.index_add(0, mention, added)
        total = total[..., :length]
        return total / (total.sum(-1, keepdim=True) + ROW_EPSILON)


#: how many times as many positions the release has
POSITION_BLOCKS = 3


def extend_positions(network: nn.Module, blocks: int = POSITION_BLOCKS, alpha: float = 0.4) -> None:
    """Make room for `blocks` times as many positions, in place (released, for long documents).

    With p the table of n rows and u_j = (p_j - alpha p_0) / (1 - alpha), row n i + j becomes
    alpha u_i + (1 - alpha) u_j; block i = 0 is p itself.
    """
    table = network.embeddings.position_embeddings
    old = table.weight.detach()
    base = (old - alpha * old[:1]) / (1 - alpha)
    rows = alpha * base[:blocks].unsqueeze(1) + (1 - alpha) * base.unsqueeze(0)
    new = nn.Embedding(blocks * len(old), old.shape[1], device=old.device, dtype=old.dtype)
    new.weight = nn.Parameter(rows.flatten(0, 1))
    network.embeddings.position_embeddings = new
    network.config.max_position_embeddings = len(new.weight)
    steps = torch.arange(len(new.weight), device=old.device).unsqueeze(0)
    network.embeddings.position_ids = steps
    if hasattr(network.embeddings, "token_type_ids"):
        network.embeddings.token_type_ids = torch.zeros_like(steps)
