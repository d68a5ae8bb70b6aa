"""ER-DVC: its retrieval by a loop, and what it is without its own terms."""

import copy

import pytest
import torch
import torch.nn.functional as F
from gratings import make_run
from states import kept, same

from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.runtime import make_generator
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.strategy import Batch

PLAIN = {"consistency": 0.0, "entropy": 0.0}


def test_without_its_terms_and_choice_it_is_er(in_double):
    """Where it replays all that it looks at, its loss is the cross-entropy of both views."""
    er = make_run(method="ER").train()
    run = make_run(method="ER-DVC", options={**PLAIN, "subsample": 10}).train()
    weights = (kept(r.network.named_parameters()) for r in (run, er))
    torch.testing.assert_close(*weights, rtol=1e-6, atol=1e-8)
    assert torch.equal(run.memory.contents()["image"], er.memory.contents()["image"])
    for options in ({"consistency": 0.0}, {"entropy": 0.0}, PLAIN):
        options = {"subsample": 10, **options} if options != PLAIN else PLAIN
        other = make_run(method="ER-DVC", options=options).train()
        weights = (r.network.head.weight for r in (other, er))
        assert not torch.allclose(*weights, rtol=1e-3, atol=1e-3)


def test_what_is_replayed_is_what_a_step_on_the_stream_changes_most(in_double):
    """By autograd, a copy of the network that has followed it, and a loop over images."""
    run = make_run(method="ER-DVC", options={"subsample": 15}, memory_batch=4)
    run.train_task(0)
    run.network.double().train()
    naive, views, forward = copy.deepcopy(run.network), [], run.views
    run.views = lambda groups: views.extend(forward(groups)) or views[-1:]
    draws = {p: [make_generator(0, p, 1)] for p in run.strategy.purposes}
    images, labels = run.images[:10].unsqueeze(0), run.labels[:10].unsqueeze(0)
    batch = Batch(images, labels, 1, 0, 4, run.seen(1), draws)
    stored = run.strategy.retrieve(batch)
    statistics = kept(run.network)
    replayed = run.strategy.rows(batch, stored)[1]

    stream, candidates = views
    slots = torch.randperm(run.memory.filled, generator=make_generator(0, "retrieval", 1))[:15]
    held = run.memory.contents()["label"][0, slots]
    logits, _ = naive(stream)
    z, other = logits[0].chunk(2)
    joint = run.strategy.joint(torch.cat([z, other], 1).unsqueeze(0))[0]
    loss = F.cross_entropy(logits[0], labels[0].repeat(2))
    for each in (z, other, joint):
        mean = each.softmax(1).mean(0)
        loss = loss + (mean * mean.log()).sum() / 3
    differences = [(joint.softmax(1) - each.softmax(1)).abs() for each in (z, other)]
    loss = loss + 2.0 * torch.cat(differences).mean()
    gradients = torch.autograd.grad(loss, list(naive.parameters()))

    def sizes():
        logits, features = naive(candidates)
        found = []
        for i, label in enumerate(held):
            target = F.one_hot(label, logits.shape[-1])
            found.append((logits[0, i].softmax(0) - target).abs().sum() * features[0, i].norm(1))
        return torch.stack(found)

    with torch.no_grad():
        before = sizes()
        # The running statistics have seen the stream, and what was scored once.
        assert same(naive.state_dict(), statistics)
        for parameter, gradient in zip(naive.parameters(), gradients, strict=True):
            parameter -= run.settings.learning_rate * gradient
        best = (sizes() - before).topk(4).indices
    assert stored["label"][0].tolist() == held[best].tolist()
    assert torch.equal(stored["image"][0], run.memory.contents()["image"][0, slots[best]])
    expected, _ = run.network(candidates[:, torch.cat([best, best + 15])])
    torch.testing.assert_close(replayed.logits, expected)


def test_constants_follow_the_data_set():
    def found(dataset, **options):
        return ReplayParameters(method="ER-DVC", dataset=dataset, options=options).resolved()

    weights = [found(name).options["consistency"] for name in ("cifar10", "cifar100", "digits")]
    assert weights == [2.0, 4.0, 2.0]
    assert found("cifar10", consistency=3.0).options["consistency"] == 3.0
    assert not found("cifar100").joint_forward


@pytest.mark.parametrize("change", [{"joint_forward": True}, {"views": 1}])
def test_what_it_cannot_have_is_refused(change):
    (name,) = change
    with pytest.raises(ParameterError, match=f"ER-DVC needs {name}=.*; leave {name} out"):
        ReplayParameters(method="ER-DVC", **change).resolved()
