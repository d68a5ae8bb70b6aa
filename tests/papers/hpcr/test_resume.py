"""A run killed at any moment and started again ends with the same numbers, bit for bit on the CPU."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from gratings import gratings, losses_of, make_run
from states import same
from whole import in_ci

from relcl_lib.papers.hpcr.methods import METHODS

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CHANGES = {"seeds": [0, 1], "method": "HPCR", "learning_rate": 0.05, "n_tasks": 6}

#: What the killed process runs: one line when training starts, one a task, the outcome at the end.
#: It may be given the number of renames of which it does not live to see the last.
PROGRAM = """
import json, os, signal, sys
from pathlib import Path
from gratings import gratings, make_run
from test_resume import CHANGES, outcome
renames, replace = int(sys.argv[3]), Path.replace
def replace_or_die(path, target):
    global renames
    renames -= 1
    if renames == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
Path.replace = replace_or_die
run = make_run(gratings(n_train=100), sys.argv[1], **{**CHANGES, **json.loads(sys.argv[2])})
print("start", flush=True)
run.train(lambda run: print("task", run.tasks_done, flush=True))
print("outcome", json.dumps(outcome(run)), flush=True)
"""


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


def start(folder, changes, killed_at=0):
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (HERE, ROOT / "tests" / "helpers", ROOT))),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), json.dumps(changes), str(killed_at)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process):
    lines = process.communicate()[0].splitlines()
    assert process.returncode == 0
    found = [line for line in lines if line.startswith("outcome ")]
    return json.loads(found[0].removeprefix("outcome ")), lines


def leftovers(folder):
    # os.walk, as pathlib stumbles over a folder that is renamed while it looks.
    names = (name for _, folders, files in os.walk(folder) for name in (*folders, *files))
    return [name for name in names if ".tmp-" in name or ".old-" in name]


class Stop(Exception):
    pass


@pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if not kind.iid])
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


@in_ci
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("optimizer, wanted", [("sgd", 2), ("adam", 1)])
def test_killed_at_random_moments(tmp_path, optimizer, wanted):
    changes = {"optimizer": optimizer, "learning_rate": 0.05 if optimizer == "sgd" else 0.002}
    process = start(tmp_path / "whole", changes)
    assert process.stdout.readline() == "start\n"
    began = time.monotonic()
    expected, lines = finish(process)
    seconds = time.monotonic() - began
    assert len([line for line in lines if line.startswith("task")]) == 6
    assert expected["steps"] == 60

    moments, kills, resumed = random.Random(optimizer), 0, False
    # More tries than kills wanted: on a busy machine a kill may come before the first checkpoint.
    for _ in range(12):
        process = start(tmp_path / "killed", changes)
        assert process.stdout.readline() == "start\n"
        time.sleep(moments.uniform(0.1, 0.45) * seconds)
        process.kill()
        killed = process.wait() == -9
        process.stdout.close()
        kills += killed
        resumed = resumed or any((tmp_path / "killed").rglob("progress.json"))
        if not killed or (kills >= wanted and resumed):
            break
    assert kills and resumed
    found, _ = finish(start(tmp_path / "killed", changes))
    assert found == expected
    assert not leftovers(tmp_path / "killed")
    # Started once more, a finished run trains nothing and says the same.
    found, lines = finish(start(tmp_path / "killed", changes))
    assert found == expected
    assert not [line for line in lines if line.startswith("task")]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
def test_killed_while_the_checkpoint_is_written(tmp_path):
    expected = outcome(make_run(gratings(n_train=100), **CHANGES).train())
    # The first rename puts task 1 in place; of the next two, one puts it aside for task 2.
    for renames, left in ((1, ".tmp-"), (3, ".old-")):
        process = start(tmp_path, {}, killed_at=renames)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert any(left in name for name in leftovers(tmp_path))
    found, lines = finish(start(tmp_path, {}))
    assert found == expected
    assert len([line for line in lines if line.startswith("task")]) == 5  # task 1 was put back
    assert not leftovers(tmp_path)
