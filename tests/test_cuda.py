"""Every paper on a GPU: with RELCL_GPU=1, where there is one (conftest.py hides it from the rest)."""

import pytest
import torch
from gratings import gratings, make_run

from relcl_lib.commands import sweep
from relcl_lib.data.sentences import load_sentences
from relcl_lib.lab.records import read_records
from relcl_lib.losses import cross_entropy_loss
from relcl_lib.papers.crecl.captured import CapturedSteps
from relcl_lib.papers.crecl.parameters import CreclParameters
from relcl_lib.papers.crecl.run import CreclRun

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU, and RELCL_GPU=1"
)

DEVICE = "cuda"
#: small quick runs
QUICK = {
    "hpcr": {"dataset": "digits", "method": "HPCR", "seeds": [0]},
    "drl": {"dataset": "digits", "method": "BER", "drl_weight": 1e-3, "track": "NIC"},
    "fastre": {"dataset": "synthetic", "method": "FastRE", "seeds": [0], "epochs": 2},
    "docre_ii": {"dataset": "synthetic", "method": "DocRE-II", "generated": 40, "stage1_epochs": 1},
    "crecl": {"dataset": "synthetic", "method": "CRECL", "n_tasks": 6, "train_limit": 10},
}


@pytest.mark.parametrize("paper", QUICK)
def test_a_quick_run(paper, tmp_path):
    cell = {**QUICK[paper], "profile": "quick", "device": DEVICE}
    outcome = sweep.run_cell(paper, cell, str(tmp_path / "results"), str(tmp_path / "work"), 1)
    assert outcome.startswith("done"), outcome
    for record in read_records(tmp_path / "results"):
        assert record.device.startswith(DEVICE)
        assert all(torch.isfinite(torch.tensor(list(record.metrics.values()))))


@pytest.mark.parametrize(
    "method, optimizer", [("HPCR", "sgd"), ("MIR", "sgd"), ("DER++", "sgd"), ("PCR", "adam")]
)
def test_a_captured_step_trains_as_the_plain_one(method, optimizer):
    """Within what kernels that add up in no fixed order leave open."""
    graphs = {}
    for graph in (False, True):
        given = {"method": method, "optimizer": optimizer, "seeds": [0, 1]}
        given |= {"learning_rate": 1e-3} if optimizer == "adam" else {}
        run = make_run(gratings(40), **given, device=DEVICE, cuda_graph=graph).train()
        graphs[graph] = torch.cat([p.detach().flatten() for p in run.network.parameters()])
    assert (graphs[True] - graphs[False]).norm() / graphs[False].norm() < 1e-2


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("precision, within", [("float32", 1e-4), ("bfloat16", 5e-2)])
def test_crecl_s_step_is_that_of_the_cpu(precision, within, graph):
    """With `graph` over padded batches, which is what is captured."""
    data = load_sentences("synthetic")
    h, gradients = [], []
    for device, number, padded in (("cpu", "float32", False), (DEVICE, precision, graph)):
        given = {"profile": "quick", "device": device, "precision": number, "cuda_graph": padded}
        run = CreclRun(CreclParameters.create(given), data, 2021)
        h.append(run.embed(torch.arange(48)).cpu())
        network = run.network.eval()  # no dropout
        batch = run.batch(torch.arange(16))
        cross_entropy_loss(network.head(network.encoder(batch)), batch["labels"]).backward()
        found = [p.grad.flatten().cpu() for p in network.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
    for reference, other in (h, gradients):
        assert (other - reference).norm() / reference.norm() < within


@pytest.mark.parametrize("method", ["CRECL", "CRECL+ATM", "RP-CRE", "EMAR+BERT"])
def test_crecl_s_captured_steps_train_as_the_plain_ones(method, monkeypatch):
    """Both over padded batches, with the same dropout masks; within what kernels that add up in no
    fixed order leave open, of the way that the weights went.
    """
    replays, plain = [], torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: [replays.append(graph), plain(graph)]
    )
    given = {"profile": "quick", "method": method, "device": DEVICE, "cuda_graph": True}
    # K-means may choose other sentences where a last digit differs.
    given |= {"n_tasks": 8, "train_limit": 20, "memory_selection": "random"}
    data, weights = load_sentences("synthetic"), []
    for warm_up in (CapturedSteps.warm_up, 10**9):
        monkeypatch.setattr(CapturedSteps, "warm_up", warm_up)
        run = CreclRun(CreclParameters.create(given), data, 2021)
        before = torch.cat([p.detach().flatten() for p in run.network.parameters()])
        count = len(replays)
        for task in (0, 1):
            run.procedure.train(run, task)
        assert (len(replays) > count) == (warm_up < 10**9)
        weights.append(torch.cat([p.detach().flatten() for p in run.network.parameters()]))
    assert (weights[0] - weights[1]).norm() / (weights[1] - before).norm() < 0.1
