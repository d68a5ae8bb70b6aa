"""A step reads nothing back from the device, so the CPU that starts its kernels never waits for a GPU."""

import pytest
import torch
from gratings import gratings

from relcl_lib.lab.runtime import make_generator
from relcl_lib.papers.hpcr.captured import NOT_CAPTURED
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.run import ReplayRun

#: What these choose depends on values: places in the memory, a branch on a maximum, classes by seed.
WAIT = ("ASER", "GSS", "OCM", "OnPro", "SS-IL")
META = torch.device("meta")


def after_one_task(method):
    tasks = {} if METHODS[method].iid else {"n_tasks": 2}
    given = {"profile": "quick", "method": method, "seeds": [0, 1], "device": "cpu", "width": 2}
    data = gratings(40, 4, classes=4, side=16)
    run = ReplayRun(ReplayParameters.create(given, **tasks), data)
    run.train_task(0)
    run.network.train()
    return run


def without_values(run):
    """The run with all that would be on a GPU as shapes alone."""
    for module in (run.network, run.strategy):
        module.to(META)
    run.images, run.labels, run.device = run.images.to(META), run.labels.to(META), META
    run.memory.fields = {name: field.to(META) for name, field in run.memory.fields.items()}
    return run


def step(run, device):
    task = min(1, run.total - 1)
    draws = {p: [make_generator(s, p, task) for s in run.seeds] for p in run.strategy.purposes}
    indices = torch.stack([stream[task].train_indices[:10] for stream in run.streams])
    return run.training_step(indices.to(device), task, 0, run.seen(task), draws)


# Methods that can be captured take such a step in test_captured.py; here, two of them and the others.
@pytest.mark.parametrize(
    "method", [*(name for name in NOT_CAPTURED if name not in WAIT), "FINE-TUNE", "HPCR"]
)
def test_a_step_reads_no_value(method):
    run = after_one_task(method)
    loss = step(run, torch.device("cpu"))
    assert torch.isfinite(loss).all()
    assert step(without_values(run), META).shape == loss.shape  # reading a value is an error here
    if len(run.memory):
        assert all(field.is_meta for field in run.memory.fields.values())
