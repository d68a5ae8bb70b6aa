"""A tiny image data set, made in a moment: coloured oriented gratings, one orientation a class."""

import math

import torch

from relcl_lib.data.images import ImageData
from relcl_lib.lab.runtime import make_generator
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.run import ReplayRun
from relcl_lib.papers.hpcr.strategy import Batch, Step


def gratings(n_train=20, n_test=10, classes=6, side=16, seed=0, extra=0):
    """Return classes x n_train and classes x n_test images; ``extra`` more training ones of class 0."""
    generator = torch.Generator().manual_seed(seed)
    ramp = torch.arange(side) / side
    y, x = torch.meshgrid(ramp, ramp, indexing="ij")

    def split(counts):
        labels = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts))
        labels = labels[torch.randperm(len(labels), generator=generator)]
        angle = (labels * math.pi / classes)[:, None, None]
        phase = 2 * math.pi * torch.rand(len(labels), 1, 1, generator=generator)
        wave = 0.5 + 0.5 * torch.sin(6 * math.pi * (x * angle.cos() + y * angle.sin()) + phase)
        colour = 0.2 + 0.6 * torch.rand(classes, 3, generator=torch.Generator().manual_seed(7))
        images = colour[labels][:, :, None, None] * wave.unsqueeze(1)
        images = images + 0.1 * torch.rand(images.shape, generator=generator)
        return (255 * images).clamp(0, 255).byte(), labels

    train = split([n_train + (extra if c == 0 else 0) for c in range(classes)])
    names = tuple(f"grating {c}" for c in range(classes))
    return ImageData("cifar10", *train, *split([n_test] * classes), names, "made up")


def parameters(**changes):
    """Return parameters of a run that takes about a second: 3 tasks of 4 steps, float32 on the CPU."""
    small = {
        "profile": "full",
        "seeds": [0],
        "n_tasks": 3,
        "buffer_size": 20,
        "width": 4,
        "precision": "float32",
        "device": "cpu",
    }
    return ReplayParameters.create({**small, **changes})


def make_run(data=None, work_dir=None, **changes):
    return ReplayRun(parameters(**changes), gratings() if data is None else data, work_dir)


def batch_of(run, task):
    """A task's first ten images as the batch of its second step, with fresh generators."""
    draws = {p: [make_generator(s, p, task) for s in run.seeds] for p in run.strategy.purposes}
    indices = torch.stack([stream[task].train_indices[:10] for stream in run.streams])
    images, labels = run.images[indices], run.labels[indices]
    return Batch(images, labels, task, 1, run.total_step, run.seen(task), draws)


def step_of(run, batch):
    """The batch after retrieval and the forward passes."""
    stored = run.strategy.retrieve(batch) or {}
    return Step(batch, *run.strategy.rows(batch, stored), stored)


def losses_of(run):
    """Train a run; return the loss of every step, None where there was none."""
    losses, step = [], run.training_step
    run.training_step = lambda *given: losses.append(step(*given))
    run.train()
    del run.training_step
    return losses
