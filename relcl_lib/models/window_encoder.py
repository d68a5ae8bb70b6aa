"""A Transformer for documents longer than its positions: two overlapping windows, or more positions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relcl_lib.models.fast_dropout import fast_dropout
from relcl_lib.text.pretrained import usable_positions

ROW_EPSILON = 1e-10  # added to the sum of an attention row of two windows
DOUBLE_END = ("roberta", "xlm-roberta")  # their windows end with two specials
#: name of `attention_rows` among transformers' implementations, and the models that take one by name
ROWS = "relcl_attention_rows"
TAKE_ROWS = ("bert", "roberta", "xlm-roberta")


def attention_rows(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    places: tuple[Tensor, Tensor],
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Fused attention, and the weights of some places alone, as an implementation of transformers.

    Whole maps take most of the memory and half of the time of a prediction; the base module reads
    the rows of mentions.

    Args:
        module: the attention's.
        query: (b, heads, T, e), as are `key` and `value`.
        key: of what is read.
        value: the same.
        attention_mask: (b, 1, T, T) bool, or None.
        places: rows (m,) and columns (m,) of what is wanted.
        scaling: of scores.
        options: of the model; there is no dropout.

    Returns:
        The output (b, T, heads, e), and weights (m, heads, T).
    """
    del module, options
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scaling
    ).transpose(1, 2)
    rows, columns = places
    count = rows.bincount(minlength=len(query))
    order = rows.argsort(stable=True)
    slot = torch.empty_like(rows)  # the place of each among those of its document
    first = (count.cumsum(0) - count)[rows[order]]
    slot[order] = torch.arange(len(rows), device=rows.device) - first
    most = int(count.max()) if len(rows) else 0
    column = columns.new_zeros(len(query), most).index_put((rows, slot), columns)
    at = torch.arange(len(query), device=rows.device).unsqueeze(1)
    chosen = query.transpose(1, 2)[at, column].transpose(1, 2)  # (b, heads, most, e)
    scores = chosen @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    if attention_mask is not None:  # it is the same for every query
        scores = scores.masked_fill(~attention_mask[:, :, :1], -torch.inf)
    return out, scores.softmax(-1).transpose(1, 2)[rows, slot]


def _register() -> None:
    """Make `attention_rows` known to transformers, which takes an implementation by its name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ROWS, attention_rows)
    AttentionMaskInterface.register(ROWS, sdpa_mask)


class WindowEncoder(nn.Module):
    """A Transformer read in one window, or in two that overlap where a document is longer.

    The network is one of transformers, with eager attention, so that it returns attention maps;
    `ends` are the ids of the opening and the closing special; the last `layers` are averaged.
    """

    def __init__(self, network: nn.Module, ends: tuple[int, int], layers: int = 1) -> None:
        super().__init__()
        self.network, self.layers = network, layers
        config = network.config
        eager = getattr(config, "_attn_implementation", "") == "eager"
        # Earlier versions of transformers have no such choice for these models.
        able = getattr(network, "_supports_attention_backend", False)
        self.takes_rows = eager and able and config.model_type in TAKE_ROWS
        if self.takes_rows:
            _register()
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
            return self._run(ids, steps < lengths.unsqueeze(1), rows, places)
        pieces, mask, origin, owner = self._windows(ids, lengths)
        mention, *seen = self._seen(origin, owner, rows, places)
        hidden, attention = self._run(pieces, mask, *seen)  # (w, W, D), (k, heads, W)
        inside = origin >= 0
        window, column = inside.nonzero(as_tuple=True)
        merged = hidden.new_zeros(*ids.shape, hidden.shape[-1])  # (b, T, D)
        cover = hidden.new_zeros(*ids.shape, 1)
        at = (owner[window], origin[window, column])
        merged = merged.index_put(at, hidden[window, column], accumulate=True)
        cover = cover.index_put(at, cover.new_ones(len(window), 1), accumulate=True)
        target = origin[seen[0]]
        target = torch.where(target < 0, ids.shape[1], target)  # the specials' share goes nowhere
        spread = attention.new_zeros(len(mention), attention.shape[1], ids.shape[1] + 1)
        spread = spread.scatter(2, target.unsqueeze(1).expand_as(attention), attention)
        total = spread.new_zeros(len(rows), *spread.shape[1:]).index_add(0, mention, spread)
        total = total[..., : ids.shape[1]]
        return merged / cover.clamp(min=1), total / (total.sum(-1, keepdim=True) + ROW_EPSILON)

    def _run(
        self, ids: Tensor, mask: Tensor, rows: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (w, W, D) and the attention rows (m, heads, W), without a gradient fused."""
        config, options, keys = self.network.config, {}, mask.long()
        usual = config._attn_implementation
        if self.takes_rows and not torch.is_grad_enabled() and not self.training:
            config._attn_implementation, options = ROWS, {"places": (rows, places)}
        elif self.takes_rows and torch.is_autocast_enabled(ids.device.type):
            # In the scores' format: a float32 mask, transformers' own, makes the maps float32, too.
            low = torch.get_autocast_dtype(ids.device.type)
            keys = torch.where(mask, 0.0, torch.finfo(low).min).to(low)[:, None, None]
        try:
            with fast_dropout(ids.device):
                out = self.network(
                    input_ids=ids,
                    attention_mask=keys,
                    output_attentions=True,
                    output_hidden_states=self.layers > 1,
                    **options,
                )
        finally:
            config._attn_implementation = usual
        found = out.attentions[-self.layers :]
        found = list(found) if options else [attention[rows, :, places] for attention in found]
        if self.layers == 1:
            return out.last_hidden_state, found[0]
        states = out.hidden_states[-self.layers :]
        return torch.stack(states).mean(0), torch.stack(found).mean(0)

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

    def _seen(
        self, origin: Tensor, owner: Tensor, rows: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mention, window and column (k,) of places, twice where both windows cover one."""
        count = int(owner.max()) + 1
        other = torch.full((count,), -1, device=owner.device)
        other[owner[count:]] = torch.arange(count, len(owner), device=owner.device)
        found = []
        for window in (rows, other[rows]):  # a document's first window, then its second
            matches = (origin[window.clamp(min=0)] == places.unsqueeze(1)) & (window >= 0)[:, None]
            mention, column = matches.nonzero(as_tuple=True)
            found.append((mention, window[mention], column))
        mention, window, column = (torch.cat(parts) for parts in zip(*found, strict=True))
        return mention, window, column


#: how many times as many positions the release has
POSITION_BLOCKS = 3


def extend_positions(network: nn.Module) -> None:
    """Make room for `POSITION_BLOCKS` times as many positions, in place (released, for long documents).

    With p the table of n rows and u_j = (p_j - alpha p_0) / (1 - alpha), alpha = 0.4, row n i + j
    becomes alpha u_i + (1 - alpha) u_j; block i = 0 is p itself.
    """
    blocks, alpha = POSITION_BLOCKS, 0.4
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
