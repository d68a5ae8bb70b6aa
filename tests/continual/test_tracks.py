"""The tracks on a stand-in: experiences, test and validation sets (check 12), batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.continual.tracks import TRACKS, domain_stream, padded_batches
from relcl_lib.data.core50 import TEST_SESSIONS, TRAIN_SESSIONS, SessionData


def data(classes=10, per_video=3, name="CORe50-standin(cifar10)"):
    """Return every class in every session, shuffled, so that position says nothing."""
    pairs = torch.cartesian_prod(torch.arange(classes), torch.arange(1, 12))
    pairs = pairs.repeat(per_video, 1)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))
    labels, sessions = pairs[order].T.contiguous()
    images = torch.zeros(len(pairs), 1, 2, 2, dtype=torch.uint8)
    names = tuple(map(str, range(classes)))
    return SessionData(name, images, labels, sessions, names, "made up", video_length=per_video)


TEN, FIFTY = data(), data(50, 2)


def all_training(stream):
    return torch.cat([task.train_indices for task in stream]).sort().values


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("given_data", [TEN, FIFTY], ids=["ten", "fifty"])
def test_every_training_image_comes_once_and_no_test_image(track, given_data):
    stream = domain_stream(track, given_data)
    assert torch.equal(all_training(stream), (~given_data.is_test).nonzero()[:, 0])
    together = torch.cat(stream.tests).sort().values
    assert torch.equal(together, given_data.is_test.nonzero()[:, 0])
    for test, valid in zip(stream.tests, stream.validation, strict=True):
        assert torch.equal(valid, test[::5])
    assert [task.index for task in stream] == list(range(len(stream)))
    for task in stream:
        assert set(given_data.labels[task.train_indices].tolist()) == set(task.classes)
    assert sorted(stream.class_order) == list(range(given_data.n_classes))


def test_ni_is_one_session_an_experience():
    stream = domain_stream("NI", TEN)
    sessions = [set(TEN.sessions[task.train_indices].tolist()) for task in stream]
    assert sorted(s for (s,) in sessions) == list(TRAIN_SESSIONS)
    assert all(len(task.classes) == 10 for task in stream)
    orders = {
        tuple(domain_stream("NI", TEN, order).tasks[0].train_indices.tolist()) for order in range(8)
    }
    assert len(orders) > 2
    assert not stream.multi_head


@pytest.mark.parametrize("given_data, sizes", [(TEN, [2] * 5), (FIFTY, [10] + [5] * 8)])
def test_multi_task_nc_brings_classes_and_numbers_them_as_they_come(given_data, sizes):
    stream = domain_stream("Multi-Task-NC", given_data, 1)
    assert [len(task.classes) for task in stream] == sizes
    seen = 0
    for index, task in enumerate(stream):
        assert stream.task_classes(index) == list(range(seen, seen + len(task.classes)))
        assert stream.task_classes(index) == sorted(
            {stream.class_order.index(c) for c in task.classes}
        )
        assert set(given_data.sessions[task.train_indices].tolist()) == set(TRAIN_SESSIONS)
        assert set(given_data.sessions[task.test_indices].tolist()) == set(TEST_SESSIONS)
        seen += len(task.classes)
    assert stream.multi_head
    assert torch.equal(torch.tensor(stream.class_order)[stream.labels], given_data.labels)


@pytest.mark.parametrize("given_data, experiences", [(TEN, 79), (FIFTY, 391)])
def test_nic_brings_one_video_at_a_time(given_data, experiences):
    stream = domain_stream("NIC", given_data)
    assert len(stream) == experiences
    first = given_data.n_classes // 5
    assert stream[0].classes == tuple(range(first))
    assert set(given_data.sessions[stream[0].train_indices].tolist()) == {1}
    for task in list(stream)[1:]:
        assert len(task.classes) == 1
        assert len(set(given_data.sessions[task.train_indices].tolist())) == 1
        assert len(task.train_indices) == given_data.video_length
    assert torch.equal(stream.labels, given_data.labels)


def test_disjoint_is_two_classes_a_task_in_ascending_order():
    stream = domain_stream("Disjoint", TEN)
    assert [task.classes for task in stream] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert len(stream.tests) == 1
    assert [task.classes for task in domain_stream("Disjoint", data(5))] == [(0, 1, 2), (3, 4)]


def test_a_limit_keeps_as_many_images_of_each_experience():
    whole, part = (domain_stream("NI", TEN, limit=n) for n in (None, 7))
    for task, kept in zip(whole, part, strict=True):
        assert len(kept.train_indices) == 7
        assert set(kept.train_indices.tolist()) < set(task.train_indices.tolist())
    again = domain_stream("NI", TEN, limit=7)
    assert torch.equal(all_training(part), all_training(again))
    assert torch.equal(part.tests[0], whole.tests[0])


@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_padded_batches_show_every_image_and_the_first_ones_again(n, batch_size, seed):
    positions = torch.arange(100, 100 + n)
    batches = padded_batches(positions, batch_size, torch.Generator().manual_seed(seed))
    steps = -(-n // batch_size)
    assert batches.shape == (steps, batch_size)
    counts = torch.bincount(batches.flatten() - 100, minlength=n)
    expected = torch.bincount(torch.arange(steps * batch_size) % n, minlength=n)
    assert torch.equal(counts, expected)
    again = padded_batches(positions, batch_size, torch.Generator().manual_seed(seed))
    assert torch.equal(batches, again)


def test_bad_input():
    with pytest.raises(ValueError, match="track='NC' must be one of NI, Multi-Task-NC, NIC"):
        domain_stream("NC", TEN)
    with pytest.raises(ValueError, match="no lists for the track NI"):
        domain_stream("NI", data(name="core50"))
