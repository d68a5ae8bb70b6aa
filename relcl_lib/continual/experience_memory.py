"""A memory of groups, one an experience: what DRL's Shuffle, ER and BER replay from."""

from __future__ import annotations

import torch
from torch import Tensor

from relcl_lib.continual.memory import Generators, Memory


class ExperienceMemory(Memory):
    """Keep a uniform sample of each experience, as a group of its own that later ones leave alone.

    Args:
        capacity: samples kept a seed.
        seeds: number of seeds S side by side.
        per_experience: samples kept of each experience, as released (the paper's "episodic memory"
            is this number). None: the capacity is a budget that the experiences share evenly, and
            each new one makes the older ones shrink.
    """

    def __init__(self, capacity: int, seeds: int = 1, *, per_experience: int | None = None) -> None:
        super().__init__(capacity, seeds)
        if per_experience is not None and not 1 <= per_experience <= capacity:
            raise ValueError(
                f"per_experience={per_experience} must lie between 1 and capacity={capacity}"
            )
        self.per_experience = per_experience

    @property
    def group_sizes(self) -> Tensor:
        """Samples kept of each experience, (G,) int64 on the CPU; the same for every seed."""
        if not self.filled:
            return torch.zeros(0, dtype=torch.int64)
        return torch.bincount(self.fields["_group"][0, : self.filled])

    def add(self, generators: Generators, **rows: Tensor) -> None:
        """Store a sample of one whole experience, each field (S, n, ...), drawn without replacement.

        Raises:
            ValueError: the memory is full, or the budget is smaller than the number of experiences.
        """
        count = next(iter(rows.values())).shape[1] if rows else 0
        sizes = self.group_sizes
        share = self.per_experience or self.capacity // (len(sizes) + 1)
        if not share:
            raise ValueError(
                f"a budget of {self.capacity} samples cannot be shared by {len(sizes) + 1} "
                "experiences; give the memory a larger capacity"
            )
        rows["_group"] = torch.full((self.seeds, count), len(sizes))
        self._rows(rows)
        if self.per_experience is None:
            self._shrink(sizes, share)
        kept = min(share, count)
        if self.filled + kept > self.capacity:
            raise ValueError(
                f"the memory holds {self.capacity} samples and {self.filled} are in use: no room "
                f"for {kept} of another experience"
            )
        chosen = torch.stack([torch.randperm(count, generator=g)[:kept] for g in generators])
        seed = torch.arange(self.seeds).unsqueeze(1).expand_as(chosen).flatten()
        slot = torch.arange(self.filled, self.filled + kept).repeat(self.seeds)
        self._write(seed, slot, chosen.flatten(), rows)
        self.filled += kept
        self.n_seen += count

    def _shrink(self, sizes: Tensor, share: int) -> None:
        """Keep the first ``share`` of each group: the order within a group is random already."""
        starts = sizes.cumsum(0) - sizes
        place = torch.arange(self.filled) - torch.repeat_interleave(starts, sizes)
        keep = (place < share).nonzero()[:, 0]
        for store in self.fields.values():
            store[:, : len(keep)] = store[:, keep.to(store.device)]
        self.filled = len(keep)

    def sample_groups(self, n: int, generators: Generators) -> dict[str, Tensor] | None:
        """Draw ``n`` of each group with replacement (Algorithm 1): name -> (S, G n, ...), or None."""
        sizes = self.group_sizes
        if not len(sizes) or n < 1:
            return None
        starts = sizes.cumsum(0) - sizes
        draws = torch.stack(
            [torch.rand(len(sizes), n, generator=g, dtype=torch.float64) for g in generators]
        )
        slots = starts.unsqueeze(1) + (draws * sizes.unsqueeze(1)).long()
        return self.take(slots.flatten(1))

    def sample_union(self, n: int, generators: Generators) -> dict[str, Tensor] | None:
        """Draw ``n`` of all groups together with replacement: name -> (S, n, ...), or None."""
        if not self.filled:
            return None
        draws = [torch.randint(self.filled, (n,), generator=g) for g in generators]
        return self.take(torch.stack(draws))
