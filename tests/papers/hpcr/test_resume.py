"""Every method goes on from its checkpoint with the same numbers, bit for bit on the CPU."""

import hashlib

import pytest
import torch
from gratings import gratings, losses_of, make_run
from states import same

from relcl_lib.papers.hpcr.methods import METHODS


def outcome(run):
    """The accuracy matrix, the proxies' gradients, SHA-256 of weights, statistics, stored samples."""
    digest = hashlib.sha256()
    for state in (run.network.state_dict(), run.memory.state_dict()):
        for name, value in sorted(state.items()):
            digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return {
        "accuracy": run.accuracy.tolist(),
        "gradients": run.proxy_gradients.tolist(),
        "sha256": digest.hexdigest(),
        "steps": run.total_step,
    }


class Stop(Exception):
    pass


#: HPCR with other switches: the same class, state and checkpoint
SWITCHED = ("PCR+HC", "PCR+HC+HT", "PCR+HC+HT+PCD", "PCR+HC+HT+SCD")
SWITCHED += tuple(name for name in METHODS if name.endswith(" (HC on)"))


@pytest.mark.parametrize(
    "method", [name for name, kind in METHODS.items() if not kind.iid and name not in SWITCHED]
)
def test_every_method_trains_and_goes_on_from_its_checkpoint(tmp_path, method):
    def stop(run):
        raise Stop

    # A step of the two dual-view methods takes ten times as long: they get four of them.
    few = method in ("OCM", "OnPro")
    data, n_tasks = (gratings(10, classes=4), 2) if few else (gratings(), 3)
    changes = {"method": method, "seeds": [0, 2], "learning_rate": 0.05, "n_tasks": n_tasks}
    whole = make_run(data, **changes)
    losses = losses_of(whole)
    trained = [loss for loss in losses if loss is not None]
    assert len(trained) >= len(losses) - 1  # a first step may have none
    assert all(loss.shape == (2,) and torch.isfinite(loss).all() for loss in trained)
    assert len(losses) == whole.total_step == (4 if few else 12)
    assert whole.memory.filled == (0 if method == "FINE-TUNE" else 20)
    with pytest.raises(Stop):
        make_run(data, tmp_path, **changes).train(stop)
    again = make_run(data, tmp_path, **changes)
    tasks = []
    again.train(lambda run: tasks.append(run.tasks_done))
    assert tasks == [*range(2, n_tasks + 1)]
    assert outcome(again) == outcome(whole)
    assert same(again.strategy, whole.strategy)
