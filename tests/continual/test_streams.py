import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from relcl_lib.continual.streams import class_incremental_stream, hold_out
from relcl_lib.lab.runtime import make_generator


def labels(counts, seed=0):
    """Return shuffled labels, counts[c] of class c."""
    ordered = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    order = torch.randperm(len(ordered), generator=torch.Generator().manual_seed(seed))
    return ordered[order]


def stream(n_tasks=3, classes=6, n=8, **more):
    return class_incremental_stream(labels([n] * classes), labels([4] * classes), n_tasks, **more)


class TestSplit:
    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=12), st.data(), st.integers(0, 2**31 - 1)
    )
    @settings(max_examples=60, deadline=None)
    def test_tasks_are_disjoint_and_cover_everything(self, counts, data, seed):
        n_tasks = data.draw(st.integers(1, len(counts)))
        train, test = labels(counts), labels([c + 1 for c in counts], 1)
        tasks = class_incremental_stream(train, test, n_tasks, torch.Generator().manual_seed(seed))
        assert len(tasks) == n_tasks
        assert [task.index for task in tasks] == list(range(n_tasks))
        assert sorted(tasks.class_order) == list(range(len(counts)))
        assert tuple(c for task in tasks for c in task.classes) == tasks.class_order
        widths = [len(task.classes) for task in tasks]
        assert max(widths) - min(widths) <= 1
        for part, of in (("train_indices", train), ("test_indices", test)):
            together = torch.cat([getattr(task, part) for task in tasks])
            assert together.sort().values.tolist() == list(range(len(of)))
            for task in tasks:
                assert set(of[getattr(task, part)].tolist()) == set(task.classes)

    def test_sizes_and_classes_seen(self):
        tasks = stream(generator=make_generator(0, "class order"))
        order = list(tasks.class_order)
        assert order != sorted(order)
        assert tasks.sizes() == [(16, 8)] * 3
        assert list(tasks[1].classes) == order[2:4]
        assert tasks.classes_seen(0) == order[:2]
        assert tasks.classes_seen(1) == order[:4]

    def test_a_class_order_from_the_generator_only(self):
        orders = [stream(generator=make_generator(s, "class order")).class_order for s in (0, 0, 1)]
        assert orders[0] == orders[1] != orders[2]
        assert stream().class_order == tuple(range(6))

    def test_labels_need_not_start_at_zero(self):
        tasks = class_incremental_stream(torch.tensor([7, 3, 7]), torch.tensor([3, 7]), 2)
        assert [task.classes for task in tasks] == [(3,), (7,)]

    @pytest.mark.parametrize("n_tasks", [0, 7, -1])
    def test_impossible_number_of_tasks(self, n_tasks):
        with pytest.raises(ValueError, match=rf"n_tasks={n_tasks} .* has 6 classes.*1 to 6 tasks"):
            stream(n_tasks)

    def test_over_translates_the_positions_of_a_subset(self):
        everything = labels([10] * 4)
        kept, held = hold_out(everything, 0.3, torch.Generator().manual_seed(0))
        tasks = class_incremental_stream(everything[kept], everything[held], 2).over(kept)
        for task in tasks:
            assert set(everything[task.train_indices].tolist()) == set(task.classes)
        together = torch.cat([task.train_indices for task in tasks])
        assert torch.equal(together.sort().values, kept)


class TestBatches:
    @given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 10**6))
    @settings(max_examples=60, deadline=None)
    def test_one_pass_no_sample_twice(self, n, batch_size, seed):
        task = class_incremental_stream(labels([n, 3]), labels([2, 2]), 2)[0]
        generator = torch.Generator().manual_seed(seed)
        if n < batch_size:
            with pytest.raises(ValueError, match=rf"task 0 has {n} .* fewer than .* {batch_size}"):
                task.batches(batch_size, generator)
            return
        batches = task.batches(batch_size, generator)
        assert batches.shape == (n // batch_size, batch_size)
        shown = batches.flatten().tolist()
        assert len(set(shown)) == len(shown)
        assert set(shown) <= set(task.train_indices.tolist())
        if n % batch_size == 0:
            assert set(shown) == set(task.train_indices.tolist())

    def test_the_order_depends_on_the_generator_only(self):
        task = stream()[0]
        first, again, other = (
            task.batches(4, make_generator(s, "data order", 0)).tolist() for s in (0, 0, 1)
        )
        assert first == again != other
        assert first != task.train_indices.view(4, 4).tolist()


class TestHoldOut:
    @given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.floats(0.01, 0.99))
    @settings(max_examples=60, deadline=None)
    def test_the_same_share_of_every_class(self, counts, fraction):
        # Away from fractions so near 0 or 1 that rounding leaves a side empty (refused, see below).
        assume(any(n * fraction > 0.51 for n in counts))
        assume(any(n * (1 - fraction) > 0.51 for n in counts))
        of = labels(counts)
        kept, held = hold_out(of, fraction, torch.Generator().manual_seed(0))
        assert torch.cat([kept, held]).sort().values.tolist() == list(range(len(of)))
        assert torch.equal(kept, kept.sort().values)
        found = torch.bincount(of[held], minlength=len(counts))
        for count, n in zip(counts, found.tolist(), strict=True):
            assert abs(n - count * fraction) <= 0.5 + 1e-4

    def test_drawn_by_the_generator(self):
        of = labels([20, 20])
        held = [hold_out(of, 0.5, torch.Generator().manual_seed(s))[1].tolist() for s in (0, 0, 1)]
        assert held[0] == held[1] != held[2]

    @pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
    def test_impossible_fraction(self, fraction):
        with pytest.raises(ValueError, match="between 0 and 1"):
            hold_out(labels([3, 3]), fraction, torch.Generator())


def test_hold_out_that_would_leave_a_side_empty():
    for fraction in (0.05, 0.95):
        with pytest.raises(ValueError, match="leaves one side empty"):
            hold_out(labels([5, 5, 5, 5]), fraction, torch.Generator())
