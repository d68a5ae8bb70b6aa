"""HPCR's step in float64 equals one shaped like the released code, with its own network and memory."""

import math

import pytest
import torch
from gratings import gratings, make_run
from naive_network import TAU, Network, relations, unit

from relcl_lib.lab.runtime import make_generator

RATE, PERIOD, ALPHA, BETA = 0.05, 8, 0.01, 0.5


def supervised_contrast(views, labels, mode):
    """Over rows [z, w_y] (N, 2, D): anchors z, contrasts the proxies ("proxy") or all ("one")."""
    z, w = views.unbind(1)
    contrast = w if mode == "proxy" else torch.cat([z, w])
    scores = z @ contrast.T / TAU
    same = (labels[:, None] == labels[None, :]).double().repeat(1, len(contrast) // len(z))
    keep = torch.ones_like(same)
    if mode == "one":  # an anchor is not its own contrast
        keep[range(len(z)), range(len(z))] = 0
    log_share = scores - (keep * scores.exp()).sum(1, keepdim=True).log()
    return -((keep * same * log_share).sum(1) / (keep * same).sum(1)).mean()


class Naive:
    """The released step, one image of the memory at a time."""

    def __init__(self, run, mode):
        self.mode, self.capacity = mode, run.settings.buffer_size
        self.network = Network(run.data.n_classes, run.settings.width).double().train()
        own, theirs = run.network.state_dict(), self.network.state_dict()
        values = [
            value.reshape(t.shape) for value, t in zip(own.values(), theirs.values(), strict=True)
        ]
        self.network.load_state_dict(dict(zip(theirs, values, strict=True)))
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=RATE)
        self.memory, self.n_seen = [], 0

    def __call__(self, stream, labels, slots, replayed, task, step, reservoir):
        logits, z = self.network(stream)
        if slots is not None:
            _, label, old_logits, old_z = zip(*(self.memory[slot] for slot in slots), strict=True)
            memory_logits, memory_z = self.network(replayed)
            label = torch.stack(label).repeat(2)
            every = torch.cat([label, labels.repeat(2)])
            features = torch.cat([memory_z, z])
            pair = torch.stack([unit(features), unit(self.network.proxies.weight[every])], 1)
            loss = supervised_contrast(pair, every, self.mode)
            loss = loss * (1.18125 - 0.61875 * math.cos(2 * math.pi * step / PERIOD))
            if task:
                old = torch.stack(old_logits).repeat(2, 1)
                loss = loss + ALPHA * (memory_logits[:, every] - old[:, every]).square().mean()
                teacher = relations(torch.stack(old_z).repeat(2, 1)).softmax(1)
                new = relations(memory_z).log_softmax(1)
                loss = loss - BETA * (teacher * new).sum(1).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        clean = stream[: len(labels)]
        rows = list(zip(clean, labels, logits.detach(), z.detach(), strict=False))
        room = max(0, self.capacity - len(self.memory))
        self.memory += rows[:room]
        self.n_seen += len(rows[:room])
        rest = rows[room:]
        if rest:
            draws = torch.rand(len(rest), generator=reservoir, dtype=torch.float64)
            for row, draw in zip(rest, draws.tolist(), strict=True):
                place = int(draw * self.n_seen)
                if place < self.capacity:
                    self.memory[place] = row
            self.n_seen += len(rest)


@pytest.mark.parametrize("method, mode", [("HPCR", "proxy"), ("HPCR (HC on)", "one")])
def test_two_tasks_give_the_weights_of_the_released_step(in_double, method, mode):
    run = make_run(
        gratings(side=32, n_train=30),
        method=method,
        ht_period=PERIOD,
        learning_rate=RATE,
    )
    naive = Naive(run, mode)
    seen, slots, forward, take = [], [], run.network.forward, run.memory.take
    run.network.forward = lambda x: seen.append(x[0].double()) or forward(x)
    run.memory.take = lambda chosen: slots.append(chosen[0].tolist()) or take(chosen)
    step = run.training_step
    reservoirs = [make_generator(0, "reservoir", task) for task in range(2)]

    def both(indices, task, number, *rest):
        seen.clear(), slots.clear()
        step(indices, task, number, *rest)
        chosen, replayed = (slots[0], seen[1]) if slots else (None, None)
        labels = run.labels[indices[0]]
        naive(seen[0], labels, chosen, replayed, task, number, reservoirs[task])

    run.training_step = both
    for task in range(2):
        run.train_task(task)
    assert run.total_step == 12 and naive.n_seen == 120 > 2 * run.settings.buffer_size
    for ours, theirs in zip(
        run.network.state_dict().values(), naive.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(
            ours.double().view(theirs.shape), theirs.double(), rtol=1e-7, atol=1e-7
        )
    stored = run.memory.contents()
    for slot, (_, label, logits, features) in enumerate(naive.memory):
        assert stored["label"][0, slot] == label
        torch.testing.assert_close(stored["logits"][0, slot], logits, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(stored["features"][0, slot], features, rtol=1e-6, atol=1e-6)
