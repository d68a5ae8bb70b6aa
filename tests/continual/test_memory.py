"""Check 12 of the HPCR specification, and what every memory promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.continual.memory import BalancedMemory, ReservoirMemory

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

    def test_a_seed_keeps_the_same_alone_and_beside_others(self):
        together = ReservoirMemory(9, 3)
        draws = generators(3)
        offer(together, draws, [4, 7, 10, 10, 3])
        drawn = together.sample(5, draws)
        for s in range(3):
            alone, own = ReservoirMemory(9), generators(1, s)
            offer(alone, own, [4, 7, 10, 10, 3])
            for name, store in together.contents().items():
                assert torch.equal(store[s], alone.contents()[name][0])
            assert torch.equal(drawn["label"][s], alone.sample(5, own)["label"][0])


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


class TestBalanced:
    @staticmethod
    def offer_labels(memory, draws, labels, batches):
        """Offer labelled ids; return per seed the (class, key, id) of all, keys drawn by a twin."""
        twins, start, offered = generators(memory.seeds), 0, [[] for _ in range(memory.seeds)]
        for size in batches:
            part = labels[start : start + size]
            ids = torch.arange(start, start + len(part)).expand(memory.seeds, -1)
            memory.add(draws, label=torch.tensor(part).expand(memory.seeds, -1), id=ids)
            for s, twin in enumerate(twins):
                keys = torch.rand(len(part), generator=twin, dtype=torch.float64).tolist()
                offered[s] += list(zip(part, keys, ids[s].tolist(), strict=True))
            start += len(part)
        return offered

    @given(
        st.integers(1, 40),
        st.lists(st.integers(0, 5), min_size=60, max_size=60),
        st.lists(st.integers(1, 20), min_size=1, max_size=3),
        st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_water_filling_and_the_smallest_keys(self, capacity, labels, batches, ordered):
        labels = (
            sorted(labels) if ordered else labels
        )  # ordered: the classes come one after another
        memory = BalancedMemory(capacity, 2)
        all_offered = self.offer_labels(memory, generators(2), labels, batches)
        contents = memory.contents()
        assert set(contents) == {"label", "id"}
        for s, offered in enumerate(all_offered):
            by_class = {}
            for c, key, i in sorted(offered):
                by_class.setdefault(c, []).append((key, i))
            # Reference: one sample a class and round, smallest keys first, until the memory is full.
            kept, rank = [], 0
            while len(kept) < min(capacity, len(offered)):
                layer = sorted(m[rank] for m in by_class.values() if len(m) > rank)
                kept += layer[: capacity - len(kept)]
                rank += 1
            assert sorted(contents["id"][s].tolist()) == sorted(i for _, i in kept)
            counts = torch.bincount(contents["label"][s], minlength=6)
            whole = torch.tensor([len(by_class.get(c, [])) for c in range(6)])
            cut = counts[counts < whole]  # classes that had more to offer than was kept
            if len(cut):
                assert counts.max() - cut.min() <= 1
            for label, i in zip(
                contents["label"][s].tolist(), contents["id"][s].tolist(), strict=True
            ):
                assert labels[i] == label

    def test_within_a_class_every_sample_has_the_same_chance(self):
        memory, draws = BalancedMemory(20, 1000), generators(1000)
        labels = [0] * 40 + [0, 1] * 40  # class 0 alone first, then both
        self.offer_labels(memory, draws, labels, [10] * 12)
        counts = torch.bincount(memory.fields["id"].flatten(), minlength=120) / 1000
        zero = torch.tensor([c == 0 for c in labels])
        for of_class, chance in ((counts[zero], 10 / 80), (counts[~zero], 10 / 40)):
            for third in of_class.tensor_split(4):
                assert third.mean().item() == pytest.approx(chance, abs=0.02)

    def test_a_seed_keeps_the_same_alone_and_beside_others(self):
        labels = [0, 1, 2, 0, 0, 0, 1, 0, 0, 2, 1, 1]
        together = BalancedMemory(5, 3)
        self.offer_labels(together, generators(3), labels, [5, 4, 3])
        for s in range(3):
            alone = BalancedMemory(5)
            draws = generators(1, s)
            for part in (labels[:5], labels[5:9], labels[9:]):
                ids = torch.arange(len(part)).unsqueeze(0) + (alone.n_seen)
                alone.add(draws, label=torch.tensor([part]), id=ids)
            assert torch.equal(alone.fields["id"][0], together.fields["id"][s])


@pytest.mark.parametrize("kind", [ReservoirMemory, BalancedMemory])
class TestCommonGround:
    def test_state_dict_round_trip_goes_on_alike(self, kind):
        first, draws = kind(6, 2), generators(2)
        offer(first, draws, [4, 5, 6])
        second = kind(6, 2)
        second.load_state_dict(first.state_dict())
        for memory, own in ((first, generators(2, 50)), (second, generators(2, 50))):
            memory.add(own, **rows(range(15, 25), 2))
        assert (second.filled, second.n_seen) == (first.filled, first.n_seen) == (6, 25)
        for name, store in first.fields.items():
            assert torch.equal(store, second.fields[name])
            assert store.data_ptr() != second.fields[name].data_ptr()

    def test_an_empty_one_can_be_saved_too(self, kind):
        memory = kind(6)
        memory.load_state_dict(kind(6).state_dict())
        assert memory.sample(1, generators(1)) is None

    def test_errors(self, kind):
        with pytest.raises(ValueError, match="capacity=0"):
            kind(0)
        memory, draws = kind(4, 2), generators(2)
        with pytest.raises(ValueError, match="share the shape"):
            memory.add(draws, label=torch.zeros(3, 5, dtype=torch.long))
        assert not memory.fields  # the refused batch left nothing behind
        memory.add(draws, label=torch.zeros(2, 3, dtype=torch.long), x=torch.ones(2, 3, 4))
        with pytest.raises(ValueError, match=r"got fields .*'y'"):
            memory.add(draws, label=torch.zeros(2, 3, dtype=torch.long), y=torch.ones(2, 3, 4))
        with pytest.raises(ValueError, match="share the shape"):
            memory.add(draws, label=torch.zeros(2, 3, dtype=torch.long), x=torch.ones(2, 2, 4))
        for wrong in (torch.ones(2, 3, 1), torch.ones(2, 3), torch.ones(2, 3, 5)):
            with pytest.raises(ValueError, match="'x' has rows of shape"):
                memory.add(draws, label=torch.zeros(2, 3, dtype=torch.long), x=wrong)
        assert (memory.filled, memory.n_seen) == (3, 3)

    def test_the_capacity_must_agree_on_loading(self, kind):
        small, large = kind(4), kind(5)
        offer(small, generators(1), [4])
        with pytest.raises(ValueError, match="holds 4 samples, this one 5"):
            large.load_state_dict(small.state_dict())
        assert large.filled == large.n_seen == 0

    def test_smaller_than_a_batch(self, kind):
        memory = kind(3, 2)
        offer(memory, generators(2), [10, 10])
        assert (memory.filled, memory.n_seen) == (3, 20)
        assert_aligned(memory.contents())


def test_a_memory_needs_a_field():
    with pytest.raises(ValueError, match="at least one field"):
        ReservoirMemory(3).add(generators(1))
