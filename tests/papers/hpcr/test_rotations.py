"""OCM: its turns and their labels, its loss by loops, and its first task."""

import copy

import pytest
import torch
import torch.nn.functional as F
from gratings import batch_of, make_run, step_of
from states import same

from relcl_lib.lab.runtime import make_generator
from relcl_lib.losses import normalise
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.strategies.rotations import labels_of_turns, turned


def naive_turns(image):
    """The sixteen turns of one image (3, H, H), pixel by pixel."""
    _, height, width = image.shape
    half, found = width // 2, []
    for quarter in (0, 2, 1, 3):
        for upside_down in ((False, False), (True, False), (True, True), (False, True)):
            inner = torch.empty_like(image)
            for y in range(height):
                for x in range(width):
                    part = x >= half
                    start = half * part
                    if upside_down[part]:
                        inner[:, y, x] = image[:, height - 1 - y, start + half - 1 - (x - start)]
                    else:
                        inner[:, y, x] = image[:, y, x]
            for _ in range(quarter):  # counter-clockwise
                around = torch.empty_like(inner)
                for y in range(height):
                    for x in range(width):
                        around[:, y, x] = inner[:, x, width - 1 - y]
                inner = around
            found.append(inner)
    return found


def test_turns_and_their_labels():
    images = torch.rand(2, 3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = turned(images)
    assert found.shape == (2, 48, 3, 4, 4)
    for s in range(2):
        for i in range(3):
            for turn, expected in enumerate(naive_turns(images[s, i])):
                assert torch.equal(found[s, 3 * turn + i], expected)
    labels = torch.tensor([[0, 4, 2], [1, 1, 3]])
    shifted = labels_of_turns(labels, 5)
    assert shifted[1].tolist() == [label + 5 * turn for turn in range(16) for label in (1, 1, 3)]
    assert shifted[0].unique().numel() == 48


def contrast(similarity, labels, views):
    """The released contrast, a row at a time."""
    n, total = len(labels), 0.0
    for i in range(n):
        weights = ((similarity[i] - similarity[i].max()) / 0.07).exp()
        if views:
            weights = weights * (torch.arange(n) != i)
        costs = -(weights / (weights.sum() + 1e-8) + 1e-8).log()
        own = costs[labels == labels[i]].mean()
        total = total + (2 * own + costs[(i + n // 2) % n] if views else own)
    return total / n


@pytest.mark.parametrize("task", [0, 1])
def test_loss_equals_loops_over_rows(task):
    """Width 4 has 32 features: a projection of 20 leaves 12 places for a slice."""
    run = make_run(method="OCM", options={"projection": 20, "similarity": 0.5}, memory_batch=4)
    for done in range(task):
        run.train_task(done)
    run.network.train()
    assert make_run(method="OCM").strategy.length == 32
    with torch.no_grad():
        run.network.head.weight *= 1.5  # not the former network's any more
    batch = batch_of(run, task)
    step = step_of(run, batch)
    views, one_view = [], run.strategy.one_view
    run.strategy.one_view = lambda *a: views.append(one_view(*a)) or views[-1]
    network, former = copy.deepcopy(run.network), copy.deepcopy(run.strategy.former)
    found = run.strategy.loss(step)

    slices = make_generator(0, "slices", task)
    head = run.strategy.projection

    def group(rows, weight, views):
        start = int(torch.randint(12, (1,), generator=slices))
        z = normalise(head(rows.features))[0]
        stretch = normalise(rows.features)[0, :, start : start + 20]
        return contrast(weight * (z @ z.T + z @ stretch.T), rows.labels[0], views)

    expected = group(step.stream, 0.5 if task else 1.0, True)
    assert step.stream.features.shape[1] == 2 * 16 * 10
    if not task:
        assert step.memory is None and len(views) == 1
        expected = expected + F.cross_entropy(network(views[0])[0][0], batch.labels[0])
    else:
        assert step.memory.labels.shape == (1, 2 * 16 * 4)
        expected = expected + group(step.memory, 0.5, False)
        clean = turned(step.stored["image"]).float() / 255
        before = normalise(run.strategy.former_projection(former(clean)[1]))[0]
        now = normalise(head(step.memory.features[:, :64]))[0]
        expected = expected + contrast(now @ before.T, step.memory.labels[0, :64], False)
        logits, old = network(views[0])[0][0], former(views[1])[0][0]
        expected = expected + F.cross_entropy(logits, step.stored["label"][0])
        known = run.streams[0].classes_seen(0)
        assert len(known) == 2
        expected = expected + F.mse_loss(logits[:, known], old[:, known])
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)


def test_the_former_network_is_that_of_the_last_task():
    run = make_run(method="OCM")
    run.train_task(0)
    assert same(run.strategy.former, run.network)
    assert same(run.strategy.former_projection, run.strategy.projection)
    assert torch.equal(run.strategy.known, run.seen(0))
    run.train_task(1)
    assert same(run.strategy.former, run.network)


def test_the_first_task_replays_nothing_and_later_ones_little_of_few_classes():
    run = make_run(method="OCM", memory_batch=64, options={"per_class": 2})
    run.train_task(0)
    assert run.memory.filled == 20
    assert run.strategy.retrieve(batch_of(run, 0)) is None
    assert run.strategy.retrieve(batch_of(run, 1))["label"].shape == (1, 8)


def test_similarities_are_halved_on_cifar_10_alone():
    found = [
        ReplayParameters(method="OCM", dataset=name).resolved().options["similarity"]
        for name in ("cifar10", "cifar100", "mini_imagenet", "tiny_imagenet")
    ]
    assert found == [0.5, 1.0, 1.0, 1.0]
