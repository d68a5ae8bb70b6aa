"""A step with its choices drawn before it is the step itself; nothing of the CPU's is in what is captured."""

from types import SimpleNamespace

import pytest
import torch
from gratings import gratings, make_run
from no_cpu import META, NothingOfTheCPU
from states import kept, same

from relcl_lib.continual.memory import ReservoirMemory
from relcl_lib.lab import run as run_module
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.protocol import protocol
from relcl_lib.lab.runtime import make_generator
from relcl_lib.papers.hpcr import tables
from relcl_lib.papers.hpcr.captured import NOT_CAPTURED, CapturedStep, padded
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.parameters import ReplayParameters

#: the rest are one of these with other switches
ALIKE = ("PCR+HC+HT", "PCR+HC+HT+PCD", "PCR+HC+HT+SCD", "FINE-TUNE")
CAPTURED = [
    name for name in METHODS if name not in (*NOT_CAPTURED, *ALIKE) and not name.endswith("(HC on)")
]


def train(run, tasks, how):
    """Train tasks by `how(run, task, seen, draws)`, a function of the images and the step's number."""
    for task in range(tasks):
        order = [make_generator(seed, "data order", task) for seed in run.seeds]
        batches = torch.stack(
            [s[task].batches(10, g) for s, g in zip(run.streams, order, strict=True)]
        )
        draws = {p: [make_generator(s, p, task) for s in run.seeds] for p in run.strategy.purposes}
        seen, losses = run.seen(task), []
        run.network.train()
        step = how(run, task, seen, draws)
        for number in range(batches.shape[1]):
            losses.append(step(batches[:, number], number))
            run.total_step += 1
        run.strategy.end_task(task, seen)
    return losses


def plain(run, task, seen, draws):
    return lambda indices, number: run.training_step(indices, task, number, seen, draws)


def made(method, images=30, **changes):
    tasks = None if METHODS[method].iid else 3
    return make_run(gratings(images), method=method, seeds=[0, 1], n_tasks=tasks, **changes)


@pytest.mark.parametrize("method", CAPTURED)
def test_it_trains_as_the_plain_step_does(method):
    ours, theirs = (made(method) for _ in range(2))
    tasks = min(2, ours.total)
    losses = [train(run, tasks, how)[-1] for run, how in ((ours, CapturedStep), (theirs, plain))]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)  # HT's weight is a tensor
    torch.testing.assert_close(
        ours.network.state_dict(), theirs.network.state_dict(), rtol=1e-4, atol=1e-5
    )
    assert ours.memory.n_seen == theirs.memory.n_seen
    if len(ours.memory):
        same_images = [run.memory.contents()["image"] for run in (ours, theirs)]
        torch.testing.assert_close(*same_images, rtol=1e-4, atol=1e-3)
        assert torch.equal(*(run.memory.contents()["label"] for run in (ours, theirs)))


def test_the_numbers_are_the_same_to_the_last_bit_without_a_weight():
    ours, theirs = (made("PCR") for _ in range(2))
    for run, how in ((ours, CapturedStep), (theirs, plain)):
        train(run, 2, how)
    assert same(kept(ours.network), theirs.network)
    assert same(kept(ours.memory.fields), theirs.memory.fields)


@pytest.mark.parametrize("method", CAPTURED)
def test_what_is_captured_takes_nothing_from_the_cpu(method):
    run = made(method, images=10)
    train(run, 1, plain)
    task = min(1, run.total - 1)
    draws = {p: [make_generator(s, p, task) for s in run.seeds] for p in run.strategy.purposes}
    step = CapturedStep(run, task, run.seen(task).to(META), draws)
    step.done = step.warm_up
    for module in (run.network, run.strategy):
        module.to(META)
    run.images, run.labels, run.device = run.images.to(META), run.labels.to(META), META
    run.proxy_gradients = run.proxy_gradients.to(META)
    run.memory.fields = {name: field.to(META) for name, field in run.memory.fields.items()}
    step.choices.device = META
    indices = torch.zeros(2, 10, dtype=torch.long, device=META)
    step(indices, 4)
    step.choices.renew()
    with NothingOfTheCPU():
        assert step._step().is_meta
    assert step.choices.place == len(step.choices.asked)


@pytest.mark.parametrize("capacity, n", [(20, 10), (12, 10), (10, 10)])
def test_rows_that_are_not_kept_have_slots_of_their_own(capacity, n):
    memory = ReservoirMemory(capacity, seeds=3)
    generators = [torch.Generator().manual_seed(s) for s in range(3)]
    memory.add(generators, label=torch.zeros(3, capacity, dtype=torch.long))
    some = False
    for _ in range(20):
        slots = memory.places(n, generators)
        found = padded(slots, memory)
        assert torch.equal(found["kept"], slots >= 0)
        assert torch.equal(found["slots"][found["kept"]], slots[found["kept"]])
        assert all(len(set(row)) == n for row in found["slots"].tolist())
        assert found["slots"].min() >= 0 and found["slots"].max() < capacity
        some |= bool(found["kept"].any() and not found["kept"].all())
    assert some


def test_the_setting_needs_a_gpu_and_is_no_part_of_a_run(monkeypatch):
    with pytest.raises(ParameterError, match="cuda_graph needs a GPU, this run is on cpu"):
        made("PCR", cuda_graph=True)
    with monkeypatch.context() as there:
        there.setattr(run_module, "resolve_device", lambda name: SimpleNamespace(type="cuda"))
        with pytest.raises(ParameterError, match="a step of ASER cannot be captured"):
            made("ASER", cuda_graph=True)
    run = made("PCR")
    captured = run.settings.model_copy(update={"cuda_graph": True})
    before = run.identity(), run.configuration(0)
    run.settings = captured
    assert before == (run.identity(), run.configuration(0))
    cell = {"dataset": "cifar10", "method": "PCR", "cuda_graph": True}
    assert protocol(ReplayParameters.create(cell, profile="full"), "paper", tables) == "paper"
