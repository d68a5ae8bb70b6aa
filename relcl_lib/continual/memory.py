"""Episodic memories, for S seeds side by side: what to keep of a stream, and what to replay.

Every memory stores named fields of one sample (image, label, and whatever a method adds, such as the
logits recorded when the sample came) in tensors of shape (S, capacity, ...), so the fields of one
slot always belong together. Random choices come from the generators given, one per seed, so a
seed's memory is the same alone or beside others. A field whose name begins with `_` is the memory's
own and is not given out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

Generators = Sequence[torch.Generator]

#: score of the first samples in a `GradientMemory`, which have no reference yet
GSS_FIRST_SCORE = 0.1


class Memory:
    """Common ground: storage, sampling without replacement, saving and loading.

    `capacity` samples are kept per seed, for `seeds` seeds S side by side.
    """

    def __init__(self, capacity: int, seeds: int = 1) -> None:
        if capacity < 1:
            raise ValueError(f"capacity={capacity} must be at least 1")
        self.capacity, self.seeds = capacity, seeds
        self.filled = 0  # slots in use, the same for every seed
        self.n_seen = 0  # samples offered so far, per seed
        self.fields: dict[str, Tensor] = {}  # name -> (S, capacity, ...)

    def __len__(self) -> int:
        return self.filled

    def add(self, generators: Generators, **rows: Tensor) -> None:
        """Offer one batch: each field (S, batch, ...); what is kept depends on the memory."""
        raise NotImplementedError

    def _rows(self, rows: dict[str, Tensor]) -> int:
        """Check one batch of rows, allocate storage at the first; return the batch size."""
        if all(name.startswith("_") for name in rows):
            raise ValueError("add() needs at least one field")
        sizes = {tuple(value.shape[:2]) for value in rows.values()}
        if len(sizes) != 1 or next(iter(sizes))[0] != self.seeds:
            raise ValueError(f"fields must share the shape ({self.seeds}, batch, ...); got {sizes}")
        if not self.fields:
            for name, value in rows.items():
                self.fields[name] = value.new_zeros(self.seeds, self.capacity, *value.shape[2:])
        if set(rows) != set(self.fields):
            raise ValueError(
                f"add() got fields {sorted(rows)}, the memory has {sorted(self.fields)}"
            )
        self._fit(rows)
        return next(iter(sizes))[1]

    def _fit(self, rows: dict[str, Tensor]) -> None:
        """Refuse fields that would be written as something else."""
        for name, value in rows.items():
            store = self.fields[name]
            if value.shape[2:] != store.shape[2:]:  # a size of 1 would be spread over the slot
                raise ValueError(
                    f"field {name!r} has rows of shape {tuple(value.shape[2:])}, the memory holds "
                    f"{tuple(store.shape[2:])}"
                )
            # As bytes [0, 1] is all 0, and 300 is 44.
            floats = value.is_floating_point() and store.is_floating_point()
            if value.dtype != store.dtype and not floats:
                raise ValueError(
                    f"field {name!r} has rows of {value.dtype}, the memory holds {store.dtype}"
                )

    def _one_each(self, generators: Generators) -> Generators:
        """The generators, of which there must be one per seed: fewer would be spread unnoticed."""
        if len(generators) != self.seeds:
            raise ValueError(f"{len(generators)} generators, {self.seeds} seeds: it takes one each")
        return generators

    def _fill(self, batch: int, rows: dict[str, Tensor]) -> int:
        """Put the first rows into the free slots; return how many they were."""
        fill = min(batch, self.capacity - self.filled)
        for name, store in self.fields.items():
            store[:, self.filled : self.filled + fill] = rows[name][:, :fill].detach()
        self.filled += fill
        return fill

    def _write(self, seed: Tensor, slot: Tensor, row: Tensor, rows: dict[str, Tensor]) -> None:
        """Copy rows[seed, row] to slot (seed, slot); all three index tensors are (n,)."""
        for name, store in self.fields.items():
            index = [t.to(store.device, non_blocking=True) for t in (seed, slot, row)]
            store[index[0], index[1]] = rows[name].detach()[index[0], index[2]].to(store.dtype)

    def sample(self, n: int, generators: Generators) -> dict[str, Tensor] | None:
        """Draw min(n, filled) slots per seed, uniformly without replacement; None while empty.

        What comes, name -> (S, min(n, filled), ...), is a copy: later changes do not show.
        """
        return self.take(self.draw(n, generators)) if self.filled else None

    def draw(self, n: int, generators: Generators) -> Tensor:
        """Slots (S, min(n, filled)), uniformly without replacement."""
        n = min(n, self.filled)
        return torch.stack(
            [torch.randperm(self.filled, generator=g)[:n] for g in self._one_each(generators)]
        )

    def take(self, slots: Tensor) -> dict[str, Tensor]:
        """The fields of slots (S, n): name -> (S, n, ...)."""
        seed = torch.arange(self.seeds, device=slots.device).unsqueeze(1).expand_as(slots)
        return {
            name: store[seed.to(store.device), slots.to(store.device)]
            for name, store in self.fields.items()
            if not name.startswith("_")
        }

    def replace(self, slots: Tensor, **rows: Tensor) -> None:
        """Write fields (S, n, ...) into slots (S, n)."""
        self._fit(rows)
        seed = torch.arange(self.seeds, device=slots.device).unsqueeze(1).expand_as(slots)
        for name, value in rows.items():
            store = self.fields[name]
            store[seed.to(store.device), slots.to(store.device)] = value.detach().to(store.dtype)

    def contents(self) -> dict[str, Tensor]:
        """The filled part of every field: name -> (S, filled, ...), views."""
        return {
            name: store[:, : self.filled]
            for name, store in self.fields.items()
            if not name.startswith("_")
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on: the fields, the capacity and two counters, as tensors."""
        state = {f"field.{name}": store for name, store in self.fields.items()}
        return {**state, "counters": torch.tensor([self.capacity, self.filled, self.n_seen])}

    def load_state_dict(self, state: dict[str, Tensor], device: torch.device | None = None) -> None:
        """Restore what `state_dict` returned, on `device`; the capacity must agree."""
        capacity, filled, n_seen = state["counters"].tolist()
        if capacity != self.capacity:
            raise ValueError(f"the saved memory holds {capacity} samples, this one {self.capacity}")
        found = {
            name.removeprefix("field."): store
            for name, store in state.items()
            if name.startswith("field.")
        }
        seeds = {len(store) for store in found.values()}
        if seeds - {self.seeds}:
            raise ValueError(f"the saved memory is of {max(seeds)} seeds, this one of {self.seeds}")
        self.filled, self.n_seen = filled, n_seen
        # What begins with _ is the memory's own account, kept on the CPU, where it draws.
        self.fields = {
            name: store.to("cpu" if name.startswith("_") else device, copy=True)
            for name, store in found.items()
        }


class ReservoirMemory(Memory):
    """Reservoir: at any time close to a uniform sample of all that was offered.

    The batched form of the released code: rows that meet a full memory each draw a place in
    [0, n_seen), n_seen the rows offered before the first of them, and are kept if the place is a
    slot; of two rows on one slot the later wins. With `exact=True` the i-th of them, from 0, draws
    from [0, n_seen + i + 1), the textbook reservoir, which is exactly uniform.
    """

    def __init__(self, capacity: int, seeds: int = 1, *, exact: bool = False) -> None:
        super().__init__(capacity, seeds)
        self.exact = exact

    def add(self, generators: Generators, **rows: Tensor) -> None:
        """Offer one batch of rows, each field (S, batch, ...)."""
        batch = self._rows(rows)
        fill = self._fill(batch, rows)
        self.n_seen += fill
        if rest := batch - fill:
            slot = self.places(rest, generators)
            seed, row = (slot >= 0).nonzero(as_tuple=True)
            self._write(seed, slot[seed, row], row + fill, rows)

    def places(self, n: int, generators: Generators) -> Tensor:
        """Offer `n` rows to the full memory: the slot of each, -1 for one that is not kept: (S, n)."""
        highest = torch.full((n,), self.n_seen)
        if self.exact:
            highest += torch.arange(1, n + 1)
        # floor(u * n) with a double u: n is far below 2^53, so every place is equally likely.
        draws = torch.stack(
            [torch.rand(n, generator=g, dtype=torch.float64) for g in self._one_each(generators)]
        )
        self.n_seen += n
        # The last row of each slot; those without one all share the place behind the last slot.
        slot = (draws * highest).long().clamp(max=self.capacity)  # (S, n)
        order, last = (
            torch.arange(n).expand_as(slot),
            torch.full((self.seeds, self.capacity + 1), -1),
        )
        kept = last.scatter_reduce(1, slot, order, "amax").gather(1, slot) == order
        return slot.where(kept & (slot < self.capacity), -1)


class ChosenMemory(Memory):
    """A memory whose user chooses what a full one gives up, by `swap`."""

    def add(self, generators: Generators, **rows: Tensor) -> None:
        """Fill free slots with a batch, each field (S, batch, ...); nothing is drawn."""
        batch = self._rows(rows)
        if batch > self.capacity - self.filled:
            raise ValueError(
                f"{batch} rows do not fit into {self.capacity - self.filled} free slots; use swap()"
            )
        self.n_seen += self._fill(batch, rows)

    def swap(self, seed: Tensor, slot: Tensor, row: Tensor, **rows: Tensor) -> None:
        """Offer a batch, each field (S, batch, ...): rows[seed, row] go to slots; all three (n,)."""
        self.n_seen += self._rows(rows)
        self._write(seed, slot, row, rows)


class ExemplarMemory(Memory):
    """Exemplars: of every class the few samples chosen when the class was learned.

    A class that is offered again has its exemplars chosen anew; those of other classes stay as they
    are. `features` is looked at and not stored.

    Args:
        per_class: L, exemplars of a class; a class with fewer samples gives all it has.
        classes: how many classes there is room for.
        seeds: number of seeds S side by side.
        selection: `kmeans` takes the samples nearest to the centres of L clusters, `random` any.
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

        `label` (S, batch) int64 are all samples of each class that occurs, `features` (S, batch, d)
        what is clustered, `rows` further fields (S, batch, ...).
        """
        rows = {**rows, "label": label}
        batch = self._rows(rows)
        sources = []  # per seed: places among its old slots, then among the rows
        for seed, generator in enumerate(self._one_each(generators)):
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
        """The places of one class's exemplars among its samples (n, d)."""
        count = len(features)
        if count <= self.per_class:
            return torch.arange(count, device=features.device)
        if self.selection == "random":
            drawn = torch.randperm(count, generator=generator)[: self.per_class]
            return drawn.to(features.device)
        return nearest_to_centres(features, self.per_class)


def nearest_to_centres(features: Tensor, clusters: int) -> Tensor:
    """The sample nearest to each centre of K-means, (clusters,) int64, from features (n, d).

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


class ExperienceMemory(Memory):
    """A uniform sample of each experience, as a group of its own that later ones leave alone.

    Args:
        capacity: samples kept per seed.
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
        chosen = torch.stack(
            [torch.randperm(count, generator=g)[:kept] for g in self._one_each(generators)]
        )
        seed = torch.arange(self.seeds).unsqueeze(1).expand_as(chosen).flatten()
        slot = torch.arange(self.filled, self.filled + kept).repeat(self.seeds)
        self._write(seed, slot, chosen.flatten(), rows)
        self.filled += kept
        self.n_seen += count

    def _shrink(self, sizes: Tensor, share: int) -> None:
        """Keep the first `share` of each group: the order within a group is random already."""
        starts = sizes.cumsum(0) - sizes
        place = torch.arange(self.filled) - torch.repeat_interleave(starts, sizes)
        keep = (place < share).nonzero()[:, 0]
        for store in self.fields.values():
            store[:, : len(keep)] = store[:, keep.to(store.device)]
        self.filled = len(keep)

    def sample_groups(self, n: int, generators: Generators) -> dict[str, Tensor] | None:
        """Draw `n` of each group with replacement (Algorithm 1): name -> (S, G n, ...), or None."""
        sizes = self.group_sizes
        if not len(sizes) or n < 1:
            return None
        starts = sizes.cumsum(0) - sizes
        draws = torch.stack(
            [
                torch.rand(len(sizes), n, generator=g, dtype=torch.float64)
                for g in self._one_each(generators)
            ]
        )
        slots = starts.unsqueeze(1) + (draws * sizes.unsqueeze(1)).long()  # (S, G, n)
        return self.take(slots.flatten(1))

    def sample_union(self, n: int, generators: Generators) -> dict[str, Tensor] | None:
        """Draw `n` of all groups together with replacement: name -> (S, n, ...), or None."""
        if not self.filled:
            return None
        draws = [torch.randint(self.filled, (n,), generator=g) for g in self._one_each(generators)]
        return self.take(torch.stack(draws))


class GradientMemory(Memory):
    """GSS-greedy: keep samples whose gradients differ from those of the samples kept.

    A sample's score is the largest cosine of its gradient with the gradients of a few random parts
    of the memory. The memory is filled first. Then, if a batch's own score is below 0, each of its
    samples challenges another stored one, drawn in proportion to s less the lowest s, and replaces it
    with probability (s + 1) / ((s + 1) + (s' + 1)), s the stored score and s' the challenger's.
    """

    def add(
        self,
        generators: Generators,
        *,
        score: Tensor | None = None,
        batch_score: Tensor | None = None,
        **rows: Tensor,
    ) -> None:
        """Offer one batch, each field (S, batch, ...).

        `score` (S, batch) is None while the memory is empty; `batch_score` (S,) is that of the
        batch's mean gradient, None admits every batch.
        """
        if score is None:
            batch = next(iter(rows.values())).shape[1] if rows else 0
            score = torch.full((self.seeds, batch), GSS_FIRST_SCORE)
        score = score.detach().float().cpu()
        rows = {**rows, "_score": score}
        batch = self._rows(rows)
        fill = self._fill(batch, rows)
        self.n_seen += batch
        challengers = min(batch - fill, self.filled)
        if not challengers:
            return
        places = torch.arange(fill, fill + challengers)
        for seed, generator in enumerate(self._one_each(generators)):
            stored = self.fields["_score"][seed, : self.filled]
            # The generator moves on even where the batch is refused: later draws stay the same.
            weight = stored - stored.min() + 1e-6
            slots = torch.multinomial(weight, challengers, generator=generator)
            draws = torch.rand(challengers, generator=generator)
            if batch_score is not None and float(batch_score[seed]) >= 0:
                continue
            old, new = stored[slots] + 1, score[seed, places] + 1
            won = draws < old / (old + new).clamp(min=1e-12)
            self._write(torch.full_like(slots, seed)[won], slots[won], places[won], rows)
