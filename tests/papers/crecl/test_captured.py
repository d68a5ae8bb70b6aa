"""A step over padded batches trains as one without pads; nothing of the CPU's is in what is captured."""

import contextlib
from types import SimpleNamespace

import pytest
import torch
from crecl_data import make_run
from no_cpu import META, NothingOfTheCPU

from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.protocol import protocol
from relcl_lib.models.packed_bert import Packing
from relcl_lib.papers.crecl import tables
from relcl_lib.papers.crecl.captured import WIDTHS, CapturedSteps
from relcl_lib.papers.crecl.network import parameter_groups
from relcl_lib.papers.crecl.parameters import CreclParameters

#: M rows in CL2; an attention memory, trained; clipping; losses of their own; several passes
CASES = {
    "CRECL": {"memory_passes": 4},
    "CRECL+ATM": {"method": "CRECL+ATM", "memory_passes": 4},
    "RP-CRE": {"method": "RP-CRE", "epochs_classification": 1, "epochs_memory": 2},
    "EMAR+BERT": {"method": "EMAR+BERT", "epochs_classification": 1},
    "per task, pairs": {"head": "per_task", "pooling": "pairs"},
    "released": {"variant": "released", "epochs_warmup": 1, "max_length": 64},
}


def made(padded=True, **changes):
    """A run whose memory no rounding changes."""
    run = make_run(n_tasks=2, memory_selection="random", **changes)
    if padded:  # asked for as it is on a GPU
        run.settings = run.settings.model_copy(update={"cuda_graph": True})
    return run


def without_dropout(run):
    """Its masks are drawn over all places, so those of a padded batch are others."""
    for module in run.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return run


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


def plain_sgd(groups, **options):
    """Where Adam divides a gradient that is all rounding by its size, this does not."""
    return torch.optim.SGD([{**group, "lr": 50 * group["lr"]} for group in groups])


@pytest.mark.parametrize("case", CASES)
def test_it_trains_as_the_step_without_pads(case, monkeypatch):
    monkeypatch.setattr(torch.optim, "Adam", plain_sgd)
    ours, theirs = (without_dropout(made(padded, **CASES[case])) for padded in (True, False))
    assert (ours.network.encoder.groups, theirs.network.encoder.groups) == (0, 3)
    before = weights(ours)
    for run in (ours, theirs):
        run.train()
    assert (weights(theirs) - before).abs().max() > 1e-2
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=0, atol=1e-6)
    for mine, other in zip(ours.history, theirs.history, strict=True):
        assert mine == {**other, "loss": pytest.approx(other["loss"], rel=1e-5)}


def test_it_trains_with_adam_as_well():
    ours, theirs = (without_dropout(made(padded)).train() for padded in (True, False))
    losses = [[entry["loss"] for entry in run.history] for run in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_what_is_captured_takes_nothing_from_the_cpu(case, monkeypatch):
    """Tensors without values cannot be read, nor can a shape depend on them."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # has none
    run, phases = made(**CASES[case]), []
    for task in (0, 1):
        run.remember(task)
    run.network.to(META)
    encoder, run.device, run.column = run.network.encoder, META, run.column.to(META)
    encoder._places = torch.zeros(200, dtype=torch.long, device=META)  # as of `only_tokens`

    def fit(phase, task, sentences, epochs, loss, rates, **options):
        if not epochs:
            return
        groups = parameter_groups(run.network, rates, run.settings.norm_group)
        total = torch.zeros((), device=META)
        # Adam's fused form, whose capture is torch's own affair, knows no such tensors.
        given = {"loss": loss, "optimizer": plain_sgd(groups), "total": total}
        batch = {name: v.to(META) for name, v in run.padded_batch(sentences[:5]).items()}
        run.network.train()
        with NothingOfTheCPU():
            run.training_step(batch, **given)
        assert all(p.grad is not None for p in encoder.linear.parameters())
        phases.append(phase)

    monkeypatch.setattr(run, "fit", fit)
    monkeypatch.setattr(run, "remember", lambda task: None)
    monkeypatch.setattr(run, "note_separation", lambda phase, task: None)
    monkeypatch.setattr(run, "prototypes", lambda: torch.zeros(6, encoder.size, device=META))
    run.procedure.train(run, 1)
    assert len(phases) > 1


def test_packing_would_read_values():
    with pytest.raises(RuntimeError):
        Packing(torch.ones(2, 3, dtype=torch.long, device=META), 1)


def test_padded_batches_have_few_shapes_and_the_same_sentences():
    run = made()
    most, found = run.tokens.ids.shape[1], set()
    for at in torch.arange(len(run.tokens)).split(7):
        padded, batch = run.padded_batch(at), run.batch(at)
        longest, width = batch["input_ids"].shape[1], padded["input_ids"].shape[1]
        assert width in (*WIDTHS, most) and not any(longest <= w < width for w in WIDTHS)
        for name, value in batch.items():
            same = padded[name][:, :longest] if value.dim() == 2 else padded[name]
            assert torch.equal(same, value)
        assert not padded["attention_mask"][:, longest:].any()
        found.add(width)
    assert max(found) <= most
    attending = made(variant="released", max_length=64)
    assert attending.padded_batch(torch.arange(3))["input_ids"].shape == (3, 64)


def test_the_batches_of_a_shape_lie_in_one_place():
    seen = []
    steps = CapturedSteps(
        lambda batch: seen.append((batch["input_ids"].data_ptr(), batch["input_ids"].tolist())),
        torch.device("cpu"),
    )
    batches = [torch.full((2, width), width + n) for n in range(2) for width in (3, 4)]
    for ids in batches:
        steps({"input_ids": ids})
    assert [ids for _, ids in seen] == [ids.tolist() for ids in batches]
    places = [place for place, _ in seen]
    assert places[:2] == places[2:] and len(set(places)) == 2


def test_a_shape_is_captured_once_after_its_warm_up(monkeypatch):
    """Of a GPU's part the order of its calls alone, as they need no GPU."""
    done = []

    @contextlib.contextmanager
    def graph(which, pool, stream):
        done.append("capture")
        yield

    stream = SimpleNamespace(wait_stream=lambda other: None)
    replay = SimpleNamespace(replay=lambda: done.append("replay"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda chosen: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: replay)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch, "empty_like", lambda value, device: value.clone())
    steps = CapturedSteps(lambda batch: done.append("step"), torch.device("cuda"))
    for _ in range(5):
        steps({"input_ids": torch.ones(2, 3)})
    steps({"input_ids": torch.ones(2, 4)})
    assert steps.warm_up == 3
    assert done == ["step"] * 3 + ["capture", "step", "replay", "replay"] + ["step"]


def test_the_setting_needs_a_gpu_and_is_no_part_of_a_record(monkeypatch):
    with pytest.raises(ParameterError, match="cuda_graph needs a GPU, this run is on cpu"):
        make_run(cuda_graph=True)
    run = make_run()
    before = run.identity(), run.configuration()
    run.settings = run.settings.model_copy(update={"cuda_graph": True})
    assert "cuda_graph" not in before[0]["settings"]
    # Its checkpoint is its own: the dropout masks are others.
    assert run.identity()["settings"] == before[0]["settings"] | {"cuda_graph": True}
    assert run.configuration() == before[1]
    assert any("padded batches" in note for note in run.outcome(2021)["notes"])
    cell = {"dataset": "fewrel", "method": "CRECL", "cuda_graph": True}
    assert protocol(CreclParameters.create(cell, profile="full"), "paper", tables) == "paper"


def test_an_encoder_that_is_built_otherwise_is_refused(monkeypatch):
    run = make_run()
    run.settings = run.settings.model_copy(update={"cuda_graph": True})
    run._pretrained[1].config.is_decoder = True
    with pytest.raises(ParameterError, match="not built as BERT"):
        _ = run.network
