"""What CRECL puts on its encoder: the classifier's head, the projector and the attention memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relcl_lib.models.marker_encoder import MarkerEncoder


class ClassificationHead(nn.Module):
    """logits = W_1 LN(GELU(h)) + b_1 (Eq. 2, before the softmax); the release leaves b_1 out."""

    def __init__(self, size: int, rows: int, *, bias: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.linear = nn.Linear(size, rows, bias=bias)

    def hidden(self, h: Tensor) -> Tensor:
        """u = LN(GELU(h)), (..., d): RP-CRE's representation."""
        return self.norm(F.gelu(h))

    def forward(self, h: Tensor) -> Tensor:
        """Logits (..., rows) of h (..., d)."""
        return self.linear(self.hidden(h))


class Projector(nn.Module):
    """s = norm_2( W_3 A(W_2 x + b_2) + b_3 ), one for both towers (Eq. 5).

    With `norm` A is LN(GELU(.)) as released, else the printed GELU.
    """

    def __init__(self, size: int, *, norm: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size) if norm else nn.Identity()
        self.second = nn.Linear(size, size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Unit vectors (..., d // 2) of x (..., d)."""
        return F.normalize(self.second(self.norm(F.gelu(self.first(x)))), dim=-1)


class AttentionMemory(nn.Module):
    """RP-CRE's attention memory: x attends to the prototypes P and to itself.

    The last position of a self-attention over [p_1; ...; p_C; x]. Only that position's query is
    computed, and the prototypes' keys and values once for all rows. Keys have 256 numbers per head,
    values d.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        heads, key_size = 4, 256
        self.heads, self.scale = heads, key_size**-0.5
        self.query = nn.Linear(size, heads * key_size)
        self.key = nn.Linear(size, heads * key_size)
        self.value = nn.Linear(size, heads * size)
        # Over heads and sizes together.
        self.query_norm = nn.LayerNorm((heads, key_size))
        self.key_norm = nn.LayerNorm((heads, key_size))
        self.value_norm = nn.LayerNorm((heads, size))
        self.merge = nn.Linear(heads * size, size)
        self.merge_norm = nn.LayerNorm(size)
        self.attention_norm = nn.LayerNorm(size)
        self.feed_forward = nn.Linear(size, size)
        self.output_norm = nn.LayerNorm(size)

    def _heads(self, part: str, states: Tensor) -> Tensor:
        split = getattr(self, part)(states).unflatten(-1, (self.heads, -1))
        return getattr(self, f"{part}_norm")(split)  # (..., heads, size)

    def weights(self, x: Tensor, prototypes: Tensor) -> Tensor:
        """The attention (B, heads, C + 1) of x (B, d) to P (C, d) and, last, to itself."""
        query = self._heads("query", x) * self.scale  # (B, h, k)
        to_memory = torch.einsum("bhk,chk->bhc", query, self._heads("key", prototypes))
        to_self = (query * self._heads("key", x)).sum(-1, keepdim=True)  # (B, h, 1)
        return torch.cat([to_memory, to_self], dim=-1).softmax(-1)

    def forward(self, x: Tensor, prototypes: Tensor) -> Tensor:
        """ATM(x; P) (B, d) of x (B, d) and prototypes P (C, d)."""
        weights = self.weights(x, prototypes)
        mixed = torch.einsum("bhc,chv->bhv", weights[..., :-1], self._heads("value", prototypes))
        mixed = mixed + weights[..., -1:] * self._heads("value", x)  # (B, h, v)
        a = self.merge_norm(self.merge(mixed.flatten(1)))
        o1 = self.attention_norm(a + x)
        return self.output_norm(F.gelu(self.feed_forward(o1)) + o1)


class CreclNetwork(nn.Module):
    """The shared encoder with both networks on it: a head of `rows` outputs, and the projector."""

    def __init__(
        self,
        encoder: MarkerEncoder,
        rows: int,
        *,
        head_bias: bool = False,
        projector_norm: bool = True,
        attention_memory: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = ClassificationHead(encoder.size, rows, bias=head_bias)
        self.projector = Projector(encoder.size, norm=projector_norm)
        self.attention_memory = AttentionMemory(encoder.size) if attention_memory else None

    def similarities(self, h: Tensor, prototypes: Tensor, *, attend: bool = False) -> Tensor:
        """z (B, C), cosines of h (B, d) and p (C, d) after the projector (Eq. 6 and 9).

        Prototypes, of all relations seen, are constants: the encoder has its gradient from h, the
        projector from both. `attend` puts the attention memory between h or p and the projector
        (CRECL+ATM).
        """
        prototypes = prototypes.detach()
        left = prototypes
        if attend:
            h = self.attention_memory(h, prototypes)
            left = self.attention_memory(prototypes, prototypes)
        return self.projector(h) @ self.projector(left).T
