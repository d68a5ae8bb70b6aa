"""OnPro: shares of class pairs, mixed images, prototypes, and the loss by loops."""

import dataclasses
import itertools

import pytest
import torch
from gratings import batch_of, make_run, step_of

from relcl_lib.losses import normalise, prototype_agreement_loss
from relcl_lib.papers.hpcr.strategies.onpro import pair_counts


def places(present, seed=0):
    g = torch.Generator().manual_seed(seed)
    vectors = torch.randn(*present.shape, 5, generator=g)
    keys = torch.rand(len(present), present.shape[1] ** 2, generator=g)
    return torch.cdist(vectors, vectors), keys


@pytest.mark.parametrize("number", [1, 3, 16, 50])
def test_shares_of_pairs_are_those_of_their_nearness(number):
    present = torch.tensor([[True, True, False, True, True], [True, False, False, True, True]])
    distances, keys = places(present)
    counts = pair_counts(distances, present, number, keys).view(2, 5, 5)
    assert (counts >= 0).all() and counts.sum((1, 2)).tolist() == [number, number]
    for s in range(2):
        classes = present[s].nonzero()[:, 0].tolist()
        pairs = list(itertools.combinations(classes, 2))
        nearness = torch.stack([1 / distances[s, a, b] for a, b in pairs]).softmax(0)
        rounded = [int((share * number).round()) for share in nearness]
        missing, off = number - sum(rounded), 0
        for (a, b), before in zip(pairs, rounded, strict=True):
            change = int(counts[s, a, b]) - before
            assert change in (0, missing and missing // abs(missing))
            off += abs(change)
            counts[s, a, b] = 0
        assert off == abs(missing)
    assert not counts.any()  # no other pair has any


def test_a_class_alone_is_mixed_with_itself():
    present = torch.tensor([[False, True, False]])
    distances, keys = places(present)
    assert pair_counts(distances, present, 4, keys).tolist() == [[0, 0, 0, 0, 4, 0, 0, 0, 0]]


def trained(**changes):
    run = make_run(
        **{
            "method": "OnPro",
            "memory_batch": 8,
            "options": {"random_share": 0.5, "mixing": 1.0, **changes.pop("options", {})},
            **changes,
        }
    )
    run.train_task(0)
    run.network.train()
    return run


def test_mixed_images_are_of_their_labels():
    run = trained(seeds=[0, 2])
    batch = batch_of(run, 1)
    stored = run.strategy.retrieve(batch)
    mixed = run.strategy._mix(batch, stored)
    assert mixed.images.shape[:2] == (2, 8)
    assert (mixed.share[:, :4] <= 0.6).all() and (mixed.share > 0).any()
    held = run.memory.contents()
    for s in range(2):
        images = held["image"][s].float()
        for i in range(8):
            a, b = int(mixed.first[s, i]), int(mixed.second[s, i])
            of_a, of_b = (images[held["label"][s] == c] for c in (a, b))
            share = mixed.share[s, i]
            every = (1 - share) * of_a.unsqueeze(1) + share * of_b.unsqueeze(0)
            assert ((every - mixed.images[s, i]).abs().amax((-3, -2, -1)) < 1e-2).any()
            if i >= 4:
                assert a < b and run.strategy.present[s, a] and run.strategy.present[s, b]


def test_without_mixing_images_stay_as_they_are():
    run = trained(options={"mixing": -1.0})
    batch = batch_of(run, 1)
    stored = run.strategy.retrieve(batch)
    mixed = run.strategy._mix(batch, stored)
    assert not mixed.share.any()
    assert torch.equal(mixed.images[:, :4], stored["image"][:, :4].float())
    assert torch.equal(mixed.first[:, :4], stored["label"][:, :4])


def test_prototypes_are_means_of_both_views_of_the_unmixed_memory():
    run = trained()
    batch = batch_of(run, 1)
    step = step_of(run, batch)
    rows, forward = [], run.forward
    run.forward = lambda groups: rows.append(forward(groups)) or rows[-1]
    views, one_view = [], run.strategy.one_view
    run.strategy.one_view = lambda *a: views.append(one_view(*a)) or views[-1]
    contrasts, contrast = [], run.strategy.contrast
    run.strategy.contrast = lambda *a, **k: contrasts.append(contrast(*a, **k)) or contrasts[-1]
    found = run.strategy.loss(step)
    ((memory,),) = rows
    z, labels = normalise(run.strategy.projection(memory.features))[0], step.stored["label"][0]
    means = [torch.zeros(2, 6, 32) for _ in range(2)]
    stream = normalise(run.strategy.projection(step.stream.features))[0]
    for c in range(6):
        for view in range(2):
            of_c = z[8 * view : 8 * view + 8][labels == c]
            if len(of_c):
                means[0][view, c] = of_c.mean(0)
            of_c = stream[160 * view : 160 * view + 10][batch.labels[0] == c]
            if len(of_c):
                means[1][view, c] = of_c.mean(0)
    torch.testing.assert_close(run.strategy.prototypes[0], means[0].mean(0))
    expected = sum(contrasts)[0]
    for pair in means:
        present = pair[0].abs().sum(1) > 0
        expected = expected + prototype_agreement_loss(*pair, present)
    shares = run.network(views[0])[0][0].log_softmax(1)
    mixed = run.strategy._mixed
    for i in range(8):
        share = mixed.share[0, i]
        cost = (1 - share) * shares[i, mixed.first[0, i]] + share * shares[i, mixed.second[0, i]]
        expected = expected - cost / 8
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)


def test_the_first_steps_mix_nothing():
    run = make_run(method="OnPro")
    batch = batch_of(run, 0)
    step = step_of(run, batch)
    assert step.memory is None and not step.stored
    assert run.strategy.loss(step).shape == (1,)
    assert not run.strategy.present.any()
    run = trained()
    first = dataclasses.replace(batch_of(run, 1), step=0)
    stored = run.strategy.retrieve(first)
    mixed = run.strategy._mix(first, stored)
    assert torch.equal(mixed.images, stored["image"].float()) and not mixed.share.any()
