"""What every memory promises, and what each kind keeps: checks 12 of HPCR and 8 of CRECL."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.continual.memory import (
    ChosenMemory,
    ExemplarMemory,
    ExperienceMemory,
    GradientMemory,
    ReservoirMemory,
    nearest_to_centres,
)

sizes = st.integers(1, 23)


def generators(seeds, start=0):
    return [torch.Generator().manual_seed(start + s) for s in range(seeds)]


def rows(ids, seeds=1):
    """Four fields of different types and shapes that all carry the sample's id."""
    ids = torch.as_tensor(ids).expand(seeds, -1)
    return {
        "image": ids.remainder(256).byte()[:, :, None, None].expand(-1, -1, 3, 2),
        "label": ids,
        "logits": ids.float()[:, :, None].expand(-1, -1, 4),
        "features": ids.double(),
    }


def assert_aligned(fields):
    ids = fields["label"]
    assert (fields["image"] == ids.remainder(256)[:, :, None, None]).all()
    assert (fields["logits"] == ids[:, :, None]).all()
    assert (fields["features"] == ids).all()


def offer(memory, draws, batches):
    """Offer ids 0, 1, 2, ... in batches of the sizes given; return how many were offered."""
    start = 0
    for size in batches:
        memory.add(draws, **rows(range(start, start + size), memory.seeds))
        start += size
    return start


def test_what_is_drawn_can_be_replaced():
    memory = ReservoirMemory(8, 2)
    memory.add(generators(2), **rows(range(6), 2))
    slots = memory.draw(4, generators(2, 3))
    assert slots.shape == (2, 4) and all(len(set(row)) == 4 for row in slots.tolist())
    same = memory.sample(4, generators(2, 3))
    assert torch.equal(memory.take(slots)["label"], same["label"])
    memory.replace(slots, features=same["features"] + 100)
    changed = memory.fields["features"] >= 100
    assert torch.equal(changed, torch.zeros_like(changed).scatter(1, slots, True))
    assert memory.draw(40, generators(2)).shape == (2, 6)
    for wrong in (same["features"].long(), same["features"].unsqueeze(-1)):  # as `add` would
        with pytest.raises(ValueError, match="'features' has rows of"):
            memory.replace(slots, features=wrong)
    with pytest.raises(ValueError, match=r"'label' has rows of torch\.uint8"):
        memory.replace(slots, label=same["label"].byte())


class TestReservoir:
    @pytest.mark.parametrize("exact", [False, True])
    def test_every_sample_has_the_same_chance(self, exact):
        kept = torch.zeros(2000)
        for repeat in range(10):
            memory = ReservoirMemory(100, 200, exact=exact)
            draws = generators(200, 1000 * repeat)
            for start in range(0, 2000, 10):
                memory.add(draws, label=torch.arange(start, start + 10).expand(200, -1))
            kept += torch.bincount(memory.fields["label"].flatten(), minlength=2000)
        chance = kept / 2000
        for part in (slice(0, 100), slice(1000, 1100), slice(1900, 2000)):
            assert chance[part].mean().item() == pytest.approx(0.05, abs=0.004)

    @given(st.integers(1, 40), st.lists(sizes, min_size=1, max_size=12), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_fields_stay_together_and_capacity_holds(self, capacity, batches, exact):
        memory, draws = ReservoirMemory(capacity, 2, exact=exact), generators(2)
        offered = offer(memory, draws, batches)
        assert memory.n_seen == offered
        assert len(memory) == memory.filled == min(capacity, offered)
        contents = memory.contents()
        assert all(store.shape[:2] == (2, memory.filled) for store in contents.values())
        assert_aligned(contents)
        for ids in contents["label"].tolist():
            assert len(set(ids)) == len(ids)
            assert max(ids) < offered
        assert_aligned(memory.sample(7, draws))

    @given(st.integers(1, 15), st.lists(sizes, min_size=1, max_size=12), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_of_two_rows_on_one_slot_the_later_wins(self, capacity, batches, exact):
        memory, draws = ReservoirMemory(capacity, exact=exact), generators(1, 5)
        twin, slots, start = generators(1, 5)[0], [], 0
        for size in batches:
            memory.add(draws, **rows(range(start, start + size)))
            batch = list(range(start, start + size))
            while batch and len(slots) < capacity:
                slots.append(batch.pop(0))
            seen = start + size - len(batch)
            if batch:
                draw = torch.rand(len(batch), generator=twin, dtype=torch.float64).tolist()
                for i, (sample, u) in enumerate(zip(batch, draw, strict=True)):
                    place = int(u * (seen + (i + 1 if exact else 0)))
                    if place < capacity:
                        slots[place] = sample
            start += size
        assert memory.contents()["label"][0].tolist() == slots

    def test_a_large_batch_takes_no_square_of_it(self):
        """200,000 rows against one another would take 40 GB."""
        memory, ids = ReservoirMemory(3), torch.arange(200_003).unsqueeze(0)
        memory.add(generators(1, 5), label=ids)
        draw = torch.rand(200_000, generator=generators(1, 5)[0], dtype=torch.float64)
        slot = [0, 1, 2]
        for row, place in enumerate((draw * 3).long().tolist(), start=3):
            slot[place] = row
        assert memory.contents()["label"][0].tolist() == slot


class TestSampling:
    def test_empty_memory_gives_none(self):
        assert ReservoirMemory(3).sample(2, generators(1)) is None

    @given(st.integers(1, 30), st.integers(1, 40))
    @settings(max_examples=30, deadline=None)
    def test_no_sample_twice_and_never_more_than_there_is(self, filled, n):
        memory = ReservoirMemory(30, 2)
        offer(memory, generators(2), [filled])
        drawn = memory.sample(n, generators(2))["label"]
        assert drawn.shape == (2, min(n, filled))
        assert all(len(set(ids)) == len(ids) for ids in drawn.tolist())

    def test_every_slot_is_equally_likely(self):
        memory, draws = ReservoirMemory(10, 500), generators(500)
        offer(memory, draws, [10])
        drawn = torch.cat([memory.sample(3, draws)["label"] for _ in range(10)])
        share = torch.bincount(drawn.flatten(), minlength=10) / len(drawn)
        assert (share - 0.3).abs().max() < 0.03

    def test_samples_are_copies(self):
        memory, draws = ReservoirMemory(5), generators(1)
        offer(memory, draws, [5])
        drawn = memory.sample(5, draws)
        drawn["label"].fill_(-1)
        assert memory.contents()["label"].min() >= 0
        taken = memory.take(torch.tensor([[0, 1]]))
        memory.fields["label"].fill_(77)
        assert taken["label"].tolist() == [[0, 1]]

    def test_what_is_stored_does_not_follow_its_source(self):
        memory, source = ReservoirMemory(5), rows(range(3))
        source["logits"] = source["logits"].clone().requires_grad_()
        memory.add(generators(1), **source)
        with torch.no_grad():
            source["logits"].fill_(9)
        assert not memory.fields["logits"].requires_grad
        assert_aligned(memory.contents())


@pytest.mark.parametrize("kind", [ReservoirMemory, ExperienceMemory, GradientMemory])
class TestCommonGround:
    def test_state_dict_round_trip_goes_on_alike(self, kind):
        first, draws = kind(6, 2), generators(2)
        offer(first, draws, [4, 5, 6])
        second = kind(6, 2)
        second.load_state_dict(first.state_dict())
        for memory, own in ((first, generators(2, 50)), (second, generators(2, 50))):
            memory.add(own, **rows(range(15, 25), 2))
        assert (second.filled, second.n_seen) == (first.filled, first.n_seen)
        assert first.n_seen == 25
        for name, store in first.fields.items():
            assert torch.equal(store, second.fields[name])
            assert store.data_ptr() != second.fields[name].data_ptr()

    def test_an_empty_one_can_be_saved_too(self, kind):
        memory = kind(6)
        memory.load_state_dict(kind(6).state_dict())
        assert memory.sample(1, generators(1)) is None

    def test_a_seed_keeps_the_same_alone_and_beside_others(self, kind):
        together, draws = kind(9, 3), generators(3)
        offer(together, draws, [4, 7, 10, 10, 3])
        drawn = together.sample(5, draws)
        for s in range(3):
            alone, own = kind(9), generators(1, s)
            offer(alone, own, [4, 7, 10, 10, 3])
            for name, store in together.contents().items():
                assert torch.equal(store[s], alone.contents()[name][0])
            assert torch.equal(drawn["label"][s], alone.sample(5, own)["label"][0])

    def test_errors(self, kind):
        with pytest.raises(ValueError, match="capacity=0"):
            kind(0)
        memory, draws = kind(4, 2), generators(2)
        label = torch.zeros(2, 3, dtype=torch.long)
        with pytest.raises(ValueError, match="at least one field"):
            memory.add(draws)
        with pytest.raises(ValueError, match="share the shape"):
            memory.add(draws, label=torch.zeros(3, 5, dtype=torch.long))
        assert not memory.fields  # the refused batch left nothing behind
        memory.add(draws, label=label, x=torch.ones(2, 3, 4))
        with pytest.raises(ValueError, match=r"got fields .*'y'"):
            memory.add(draws, label=label, y=torch.ones(2, 3, 4))
        with pytest.raises(ValueError, match="share the shape"):
            memory.add(draws, label=label, x=torch.ones(2, 2, 4))
        for wrong in (torch.ones(2, 3, 1), torch.ones(2, 3), torch.ones(2, 3, 5)):
            with pytest.raises(ValueError, match="'x' has rows of shape"):
                memory.add(draws, label=label, x=wrong)
        with pytest.raises(ValueError, match=r"'x' has rows of torch\.int64"):
            memory.add(draws, label=label, x=torch.ones(2, 3, 4, dtype=torch.long))
        assert (memory.filled, memory.n_seen) == (3, 3)
        with pytest.raises(ValueError, match="1 generators, 2 seeds"):
            memory.sample(2, draws[:1])
        with pytest.raises(ValueError, match="of 2 seeds, this one of 1"):
            kind(4).load_state_dict(memory.state_dict())

    def test_the_capacity_must_agree_on_loading(self, kind):
        small, large = kind(4), kind(5)
        offer(small, generators(1), [4])
        with pytest.raises(ValueError, match="holds 4 samples, this one 5"):
            large.load_state_dict(small.state_dict())
        assert large.filled == large.n_seen == 0


# --- exemplars: check 8 of the CRECL specification -------------------------------------------------


def of_classes(counts, first=0, seed=0, d=6):
    """Rows of classes first, first + 1, ...: labels (1, n), features (1, n, d), ids (1, n)."""
    g = torch.Generator().manual_seed(seed)
    label = torch.cat([torch.full((n,), first + i) for i, n in enumerate(counts)])
    features = torch.randn(1, len(label), d, generator=g) + label[None, :, None]
    return {
        "label": label[None],
        "features": features,
        "sentence": 1000 * first + torch.arange(len(label))[None],
    }


def test_nearest_to_centres_equals_the_plain_construction():
    from sklearn.cluster import KMeans

    features = of_classes([40])["features"][0]
    found = nearest_to_centres(features, 7)
    points = features.double().numpy()
    centres = KMeans(7, n_init=10, random_state=0).fit(points).cluster_centers_
    for centre, place in zip(centres, found.tolist(), strict=True):
        distances = ((points - centre) ** 2).sum(1)
        # The two samples of a pair are equally far from its centre: either will do.
        assert distances[place] == pytest.approx(distances.min())
    assert torch.equal(nearest_to_centres(features, 7), found)


def test_one_exemplar_is_nearest_to_the_mean():
    rows = of_classes([30])
    features = rows["features"][0]
    memory = ExemplarMemory(1, 1)
    memory.add(generators(1), **rows)
    nearest = (features - features.mean(0)).norm(dim=1).argmin()
    assert memory.contents()["sentence"].tolist() == [[nearest.item()]]


@pytest.mark.parametrize("selection", ["kmeans", "random"])
def test_sizes_and_old_classes_stay(selection):
    memory = ExemplarMemory(10, 6, selection=selection)
    memory.add(generators(1), **of_classes([25, 4, 10]))
    assert len(memory) == 10 + 4 + 10
    first = {name: value.clone() for name, value in memory.contents().items()}
    small = first["sentence"][first["label"] == 1]
    assert sorted(small.tolist()) == [25, 26, 27, 28]  # all of a class that has fewer than L
    memory.add(generators(1), **of_classes([12, 30, 3], first=3, seed=1))
    assert len(memory) == 24 + 10 + 10 + 3
    for name, value in memory.contents().items():
        assert torch.equal(value[:, :24], first[name])
    counts = torch.bincount(memory.contents()["label"][0])
    assert counts.tolist() == [10, 4, 10, 10, 10, 3]
    assert "features" not in memory.contents()


def test_classes_offered_again_are_chosen_anew():
    memory = ExemplarMemory(3, 2)
    memory.add(generators(1), **of_classes([8, 8]))
    before = memory.contents()["sentence"].clone()
    again = of_classes([8], first=1, seed=3)
    memory.add(generators(1), **again)
    after = memory.contents()
    assert len(memory) == 6
    assert torch.equal(after["sentence"][:, :3], before[:, :3])
    assert (after["sentence"][:, 3:] >= 1000).all()


def test_random_selection_follows_its_generator():
    def chosen(start):
        memory = ExemplarMemory(5, 1, selection="random")
        memory.add(generators(1, start), **of_classes([40]))
        return memory.contents()["sentence"].tolist()

    assert chosen(0) == chosen(0)
    assert chosen(0) != chosen(1)


def test_samples_that_repeat_do_not_stop_it():
    rows = of_classes([9])
    rows["features"] = rows["features"][:, :1].expand(-1, 9, -1)
    memory = ExemplarMemory(3, 1)
    memory.add(generators(1), **rows)
    assert len(memory) == 3


def test_seeds_side_by_side_are_separate():
    parts = [of_classes([20, 15], seed=s) for s in (0, 1)]
    together = ExemplarMemory(4, 2, seeds=2)
    together.add(generators(2), **{k: torch.cat([p[k] for p in parts]) for k in parts[0]})
    for s, part in enumerate(parts):
        alone = ExemplarMemory(4, 2)
        alone.add(generators(1, s), **part)
        for name, value in alone.contents().items():
            assert torch.equal(together.contents()[name][s], value[0])
    assert together.sample(3, generators(2))["sentence"].shape == (2, 3)


def test_exemplar_memory_says_what_does_not_fit():
    with pytest.raises(ValueError, match="kmeans"):
        ExemplarMemory(3, 2, selection="best")
    memory = ExemplarMemory(3, 2)
    with pytest.raises(ValueError, match="9 exemplars do not fit: there is room for 6"):
        memory.add(generators(1), **of_classes([5, 5, 5]))
    uneven = [of_classes([9, 2], seed=0), of_classes([6, 5], seed=1)]
    side_by_side = ExemplarMemory(4, 2, seeds=2)
    with pytest.raises(ValueError, match="one memory for each seed"):
        side_by_side.add(generators(2), **{k: torch.cat([p[k] for p in uneven]) for k in uneven[0]})


# --- experiences --------------------------------------------------------------------------------------


def fill(memory, sizes, draws=None):
    """Offer experiences of the sizes given; sample i of experience k is named 1000 k + i."""
    draws = draws or generators(memory.seeds)
    for index, size in enumerate(sizes):
        names = (1000 * index + torch.arange(size)).expand(memory.seeds, -1)
        memory.add(draws, position=names, image=names.remainder(256).byte()[..., None])
    return memory


def groups(memory, seed=0):
    names = memory.contents()["position"][seed] // 1000
    return torch.bincount(names).tolist()


@given(st.integers(1, 9), st.lists(st.integers(1, 20), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_each_experience_keeps_its_own_number(m, sizes):
    memory = fill(ExperienceMemory(m * len(sizes), 2, per_experience=m), sizes)
    kept = [min(m, size) for size in sizes]
    for seed in range(2):
        assert groups(memory, seed) == kept
        names = memory.contents()["position"][seed]
        assert len(set(names.tolist())) == len(names)
        assert torch.equal(memory.contents()["image"][seed, :, 0], names.remainder(256).byte())
    assert memory.group_sizes.tolist() == kept
    assert set(memory.contents()) == {"position", "image"}


@given(st.integers(6, 40), st.lists(st.integers(1, 30), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_budget_is_never_passed_and_shared_evenly(budget, sizes):
    memory = ExperienceMemory(budget)
    for index in range(len(sizes)):
        before = None if not memory.filled else memory.contents()["position"][0].tolist()
        draws = generators(1, index)
        names = (1000 * index + torch.arange(sizes[index]))[None]
        memory.add(draws, position=names)
        share = budget // (index + 1)
        assert memory.filled <= budget
        assert groups(memory) == [min(size, share) for size in sizes[: index + 1]]
        if before is not None:  # what stays of an old experience was there before
            old = [n for n in memory.contents()["position"][0].tolist() if n < 1000 * index]
            assert set(old) <= set(before)


def test_every_sample_has_the_same_chance():
    kept = torch.zeros(40)
    for repeat in range(40):
        memory = ExperienceMemory(10, 100)
        draws = generators(100, 1000 * repeat)
        memory.add(draws, position=torch.arange(40).expand(100, -1))
        memory.add(draws, position=torch.arange(40, 80).expand(100, -1))  # now 5 and 5
        names = memory.contents()["position"]
        kept += torch.bincount(names[names < 40], minlength=40)
    torch.testing.assert_close(kept / 4000, torch.full((40,), 5 / 40), rtol=0, atol=0.02)


def test_draws_of_groups():
    memory = fill(ExperienceMemory(30, 2, per_experience=10), [10, 3, 20])
    drawn = memory.sample_groups(16, generators(2))["position"]
    assert drawn.shape == (2, 48)
    assert torch.equal(drawn // 1000, torch.arange(3).repeat_interleave(16).expand(2, -1))
    counts = torch.bincount(memory.sample_groups(9000, generators(2))["position"][0] % 1000)
    stored = memory.contents()["position"][0]
    inside = counts[stored[stored < 1000]]
    assert inside.sum() >= 9000  # with replacement: 9000 draws of ten samples
    assert (inside > 750).all()
    assert memory.sample_groups(0, generators(2)) is None
    assert ExperienceMemory(3).sample_groups(4, generators(1)) is None


def test_draws_of_all():
    memory = fill(ExperienceMemory(40, per_experience=20), [20, 5])
    drawn = memory.sample_union(20_000, generators(1))["position"][0]
    assert (drawn >= 1000).float().mean().item() == pytest.approx(5 / 25, abs=0.02)
    assert ExperienceMemory(3).sample_union(4, generators(1)) is None


def test_experience_memory_says_what_does_not_fit():
    with pytest.raises(ValueError, match="per_experience=0"):
        ExperienceMemory(5, per_experience=0)
    with pytest.raises(ValueError, match="holds 8 samples and 8 are in use"):
        fill(ExperienceMemory(8, per_experience=4), [4, 4, 4])
    with pytest.raises(ValueError, match=r"budget of 2 samples cannot be shared by 3"):
        fill(ExperienceMemory(2), [4, 4, 4])


class TestGss:
    def memory(self, scores, capacity=4):
        memory, draws = GradientMemory(capacity), generators(1)
        memory.add(draws, position=torch.arange(len(scores))[None], score=torch.tensor([scores]))
        return memory, draws

    def test_it_fills_first(self):
        memory, draws = GradientMemory(5), generators(1)
        memory.add(draws, position=torch.arange(3)[None])
        memory.add(draws, position=torch.arange(3, 5)[None], score=torch.ones(1, 2))
        assert memory.contents()["position"].tolist() == [[0, 1, 2, 3, 4]]
        stored = memory.fields["_score"][0]
        torch.testing.assert_close(stored, torch.tensor([0.1, 0.1, 0.1, 1.0, 1.0]))

    def test_a_batch_that_agrees_is_refused(self):
        memory, draws = self.memory([0.9] * 4)
        offer = {"position": torch.tensor([[7]]), "score": torch.tensor([[-1.0]])}
        memory.add(draws, batch_score=torch.tensor([0.0]), **offer)
        assert memory.contents()["position"].tolist() == [[0, 1, 2, 3]]

    def test_diverse_samples_replace_common_ones(self):
        kept = torch.zeros(5)
        for seed in range(300):
            memory, _ = self.memory([1.0, 1.0, -0.9, -0.9])
            memory.add(
                generators(1, seed),
                position=torch.tensor([[4]]),
                score=torch.tensor([[-0.5]]),
                batch_score=torch.tensor([-0.1]),
            )
            kept[memory.contents()["position"][0]] += 1 / 300
        # A stored score of 1 is challenged nearly always, and loses with (1+1)/((1+1)+(-0.5+1)).
        assert kept[4].item() == pytest.approx(2 / 2.5, abs=0.08)
        assert kept[2:4].min() > 0.99
        assert kept[0].item() == pytest.approx(1 - 0.4, abs=0.1)


def test_chosen_memory_gives_up_what_it_is_told_to():
    memory = ChosenMemory(6, seeds=2)
    memory.add((), **rows(range(4), 2))
    with pytest.raises(ValueError, match=r"3 rows do not fit into 2 free slots; use swap\(\)"):
        memory.add((), **rows(range(4, 7), 2))
    memory.add((), **rows([4, 5], 2))
    seed, slot, row = torch.tensor([[0, 0, 1], [3, 1, 5], [2, 0, 1]])
    memory.swap(seed, slot, row, **rows([10, 11, 12], 2))
    held = memory.contents()
    assert held["label"].tolist() == [[0, 10, 2, 12, 4, 5], [0, 1, 2, 3, 4, 11]]
    assert_aligned(held)
    assert memory.n_seen == 9 and len(memory) == 6
