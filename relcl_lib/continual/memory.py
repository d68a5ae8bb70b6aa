"""Episodic memories, for S seeds side by side: what to keep of a stream, and what to replay.

Every memory stores named fields of one sample (image, label, and whatever a method adds, such as the
logits recorded when the sample came) in tensors of shape (S, capacity, ...), so the fields of one
slot always belong together. Random choices come from the generators given, one a seed, so a seed's
memory is the same alone or beside others.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

Generators = Sequence[torch.Generator]


class Memory:
    """Common ground: storage, sampling without replacement, saving and loading.

    Args:
        capacity: samples kept a seed, at least 1.
        seeds: number of seeds S side by side.
    """

    def __init__(self, capacity: int, seeds: int = 1) -> None:
        if capacity < 1:
            raise ValueError(f"capacity={capacity} must be at least 1")
        self.capacity, self.seeds = capacity, seeds
        self.filled = 0  # slots in use, the same for every seed
        self.n_seen = 0  # samples offered so far, a seed
        self.fields: dict[str, Tensor] = {}  # name -> (S, capacity, ...)

    def __len__(self) -> int:
        return self.filled

    def _rows(self, rows: dict[str, Tensor]) -> int:
        """Check one batch of rows, allocate storage at the first; return the batch size."""
        if not rows:
            raise ValueError("add() needs at least one field")
        sizes = {tuple(value.shape[:2]) for value in rows.values()}
        if len(sizes) != 1 or next(iter(sizes))[0] != self.seeds:
            raise ValueError(f"fields must share the shape ({self.seeds}, batch, ...); got {sizes}")
        if not self.fields:
            for name, value in rows.items():
                shape = (self.seeds, self.capacity, *value.shape[2:])
                self.fields[name] = value.new_zeros(shape)
        if set(rows) != set(self.fields):
            raise ValueError(
                f"add() got fields {sorted(rows)}, the memory has {sorted(self.fields)}"
            )
        for name, value in rows.items():  # a size of 1 would be spread over the slot unnoticed
            if value.shape[2:] != self.fields[name].shape[2:]:
                raise ValueError(
                    f"field {name!r} has rows of shape {tuple(value.shape[2:])}, the memory holds "
                    f"{tuple(self.fields[name].shape[2:])}"
                )
        return next(iter(sizes))[1]

    def _write(self, seed: Tensor, slot: Tensor, row: Tensor, rows: dict[str, Tensor]) -> None:
        """Copy rows[seed, row] to slot (seed, slot); all three index tensors are (n,) on the CPU."""
        for name, store in self.fields.items():
            index = [t.to(store.device, non_blocking=True) for t in (seed, slot, row)]
            store[index[0], index[1]] = rows[name].detach()[index[0], index[2]].to(store.dtype)

    def sample(self, n: int, generators: Generators) -> dict[str, Tensor] | None:
        """Draw min(n, filled) slots a seed, uniformly without replacement; None while empty.

        Returns:
            name -> (S, min(n, filled), ...), copies (later changes of the memory do not show).
        """
        if self.filled == 0:
            return None
        n = min(n, self.filled)
        slots = torch.stack([torch.randperm(self.filled, generator=g)[:n] for g in generators])
        return self.take(slots)

    def take(self, slots: Tensor) -> dict[str, Tensor]:
        """Return the fields of slots (S, n): name -> (S, n, ...)."""
        seed = torch.arange(self.seeds).unsqueeze(1).expand_as(slots)
        return {
            name: store[seed.to(store.device), slots.to(store.device)]
            for name, store in self.fields.items()
            if not name.startswith("_")
        }

    def contents(self) -> dict[str, Tensor]:
        """Return the filled part of every field: name -> (S, filled, ...), views."""
        return {
            name: store[:, : self.filled]
            for name, store in self.fields.items()
            if not name.startswith("_")
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything needed to go on: the fields and the two counters, as tensors."""
        state = {f"field.{name}": store for name, store in self.fields.items()}
        return {**state, "counters": torch.tensor([self.capacity, self.filled, self.n_seen])}

    def load_state_dict(self, state: dict[str, Tensor], device: torch.device | None = None) -> None:
        """Restore what ``state_dict`` returned, on ``device``; the capacity must agree."""
        capacity, filled, n_seen = state["counters"].tolist()
        if capacity != self.capacity:
            raise ValueError(f"the saved memory holds {capacity} samples, this one {self.capacity}")
        self.filled, self.n_seen = filled, n_seen
        self.fields = {
            name.removeprefix("field."): store.to(device, copy=True)
            for name, store in state.items()
            if name.startswith("field.")
        }

    def add(self, generators: Generators, **rows: Tensor) -> None:
        """Offer one batch: each field (S, batch, ...); what is kept depends on the memory."""
        raise NotImplementedError


class ReservoirMemory(Memory):
    """Reservoir: at any time close to a uniform sample of all that was offered.

    The batched form of the released code: rows that meet a full memory each draw a place in
    [0, n_seen), n_seen counted before the batch, and are kept if the place is a slot; of two rows on
    one slot the later wins. With ``exact=True`` row i draws from [0, n_seen + i + 1), the textbook
    reservoir, which is exactly uniform.
    """

    def __init__(self, capacity: int, seeds: int = 1, *, exact: bool = False) -> None:
        super().__init__(capacity, seeds)
        self.exact = exact

    def add(self, generators: Generators, **rows: Tensor) -> None:
        """Offer one batch of rows, each field (S, batch, ...)."""
        batch = self._rows(rows)
        fill = min(batch, self.capacity - self.filled)
        if fill:
            for name, store in self.fields.items():
                store[:, self.filled : self.filled + fill] = rows[name][:, :fill].detach()
            self.filled += fill
            self.n_seen += fill
        rest = batch - fill
        if not rest:
            return
        highest = torch.full((rest,), self.n_seen)
        if self.exact:
            highest += torch.arange(1, rest + 1)
        # floor(u * n) with a double u: n is far below 2^53, so every place is equally likely.
        draws = torch.stack(
            [torch.rand(rest, generator=g, dtype=torch.float64) for g in generators]
        )
        slot = (draws * highest).long()  # (S, rest)
        self.n_seen += rest
        later = torch.ones(rest, rest, dtype=torch.bool).triu(1)
        overwritten = ((slot.unsqueeze(2) == slot.unsqueeze(1)) & later).any(2)
        seed, row = ((slot < self.capacity) & ~overwritten).nonzero(as_tuple=True)
        self._write(seed, slot[seed, row], row + fill, rows)


class BalancedMemory(Memory):
    """Class-balanced: classes share the capacity as evenly as what was offered allows.

    Each sample gets a random key when it comes; of a class the samples with the smallest keys stay.
    A class's share only shrinks once the memory is full, so what stays of a class is at any time a
    uniform sample of all that was offered of it. ``label`` must be among the fields.
    """

    def add(self, generators: Generators, *, label: Tensor, **rows: Tensor) -> None:
        """Offer one batch: ``label`` (S, batch) int64 and further fields (S, batch, ...)."""
        batch = label.shape[1]
        keys = torch.stack(
            [torch.rand(batch, generator=g, dtype=torch.float64) for g in generators]
        )
        rows = {**rows, "label": label, "_key": keys.to(label.device)}
        self._rows(rows)
        joined = {
            name: torch.cat([store[:, : self.filled], rows[name].detach().to(store.dtype)], 1)
            for name, store in self.fields.items()
        }
        self.n_seen += batch
        self.filled = min(self.filled + batch, self.capacity)
        rank = _rank_in_class(joined["label"], joined["_key"])
        # Water filling: every class's first sample, then every class's second, ... up to capacity.
        order = torch.argsort(rank + joined["_key"], dim=1)[:, : self.filled]
        keep = order.sort(dim=1).values
        seed = torch.arange(self.seeds, device=keep.device).unsqueeze(1)
        for name, store in self.fields.items():
            store[:, : self.filled] = joined[name][seed, keep]


def _rank_in_class(labels: Tensor, keys: Tensor) -> Tensor:
    """Return (S, n): how many samples of the same class have a smaller key."""
    by_key = keys.argsort(dim=1)
    by_class = labels.gather(1, by_key).argsort(dim=1, stable=True)
    order = by_key.gather(1, by_class)  # sorted by class, within a class by key
    sorted_labels = labels.gather(1, order)
    position = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
    starts = torch.ones_like(labels, dtype=torch.bool)
    starts[:, 1:] = sorted_labels[:, 1:] != sorted_labels[:, :-1]
    first = torch.where(starts, position, 0).cummax(dim=1).values
    return torch.empty_like(labels).scatter_(1, order, position - first)


class ExemplarMemory(Memory):
    """Exemplars: of every class the few samples chosen when the class was learned.

    A class that is offered again has its exemplars chosen anew; those of other classes stay as they
    are. ``features`` is looked at and not stored.

    Args:
        per_class: L, exemplars of a class; a class with fewer samples gives all it has.
        classes: how many classes there is room for.
        seeds: number of seeds S side by side.
        selection: ``kmeans`` takes the samples nearest to the centres of L clusters, ``random`` any.
    """

    def __init__(
        self, per_class: int, classes: int, seeds: int = 1, *, selection: str = "kmeans"
    ) -> None:
        if selection not in ("kmeans", "random"):
            raise ValueError(f"selection={selection!r} must be 'kmeans' or 'random'")
        super().__init__(per_class * classes, seeds)
        self.per_class, self.selection = per_class, selection

    def add(
        self, generators: Generators, *, label: Tensor, features: Tensor, **rows: Tensor
    ) -> None:
        """Choose and keep the exemplars of the classes offered.

        Args:
            generators: of the random choice, one a seed.
            label: (S, batch) int64, all samples of each class that occurs.
            features: (S, batch, d) to cluster.
            rows: further fields (S, batch, ...) of the samples.
        """
        rows = {**rows, "label": label}
        batch = self._rows(rows)
        sources = []  # a seed: places among its old slots, then among the rows
        for seed, generator in enumerate(generators):
            old = self.fields["label"][seed, : self.filled]
            stay = (~torch.isin(old, label[seed])).nonzero().squeeze(1)
            chosen = [
                found[self._choose(features[seed, found], generator)]
                for found in ((label[seed] == c).nonzero().squeeze(1) for c in label[seed].unique())
            ]
            sources.append(torch.cat([stay, *(self.filled + found for found in chosen)]))
        if len({len(places) for places in sources}) > 1:
            raise ValueError("the seeds' exemplars differ in number; keep one memory for each seed")
        count = len(sources[0])
        if count > self.capacity:
            raise ValueError(
                f"{count} exemplars do not fit: there is room for {self.capacity}, "
                f"{self.per_class} of each of {self.capacity // self.per_class} classes"
            )
        places = torch.stack(sources)
        seed = torch.arange(self.seeds, device=places.device).unsqueeze(1)
        for name, store in self.fields.items():
            joined = torch.cat([store[:, : self.filled], rows[name].detach().to(store.dtype)], 1)
            store[:, :count] = joined[seed, places]
        self.filled, self.n_seen = count, self.n_seen + batch

    def _choose(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Return the places of one class's exemplars among its samples (n, d)."""
        count = len(features)
        if count <= self.per_class:
            return torch.arange(count, device=features.device)
        if self.selection == "random":
            drawn = torch.randperm(count, generator=generator)[: self.per_class]
            return drawn.to(features.device)
        return nearest_to_centres(features, self.per_class)


def nearest_to_centres(features: Tensor, clusters: int) -> Tensor:
    """Return the sample nearest to each centre of K-means, (clusters,) int64, from features (n, d).

    Ten starts, random state 0. Two centres may have the same nearest sample: it then comes twice,
    as in CRECL's released code. One thread, as several would add up in no fixed order.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    points = features.detach().cpu().double()
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct samples than clusters
        kmeans = KMeans(clusters, n_init=10, random_state=0).fit(points.numpy())
    centres = torch.from_numpy(kmeans.cluster_centers_)
    distances = torch.cdist(centres, points, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.argmin(1).to(features.device)
