"""Where the tests run, and their order: what takes long begins first."""

import os

# Before the imports: what reads them does so once. The tests and all that they start see neither
# the network's models, nor the user's own data, nor a GPU, on which numbers differ (RELCL_GPU=1:
# the tests of test_cuda.py see it).
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("RELCL_DATA", None)
if not os.environ.get("RELCL_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

from collections import defaultdict

import hypothesis
import pytest
import torch

# The first example of a test may load SciPy, and a busy machine may take any time for one.
hypothesis.settings.register_profile("relcl", deadline=None)
hypothesis.settings.load_profile("relcl")

# Several add up in no fixed order, and networks this small lose more to a second one than they win.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_draws():
    """What a test draws without a generator of its own is the same whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def one_process(monkeypatch):
    """Cells run in the test's own process: what they print is seen, and torch is loaded already."""

    def locally(cells, jobs, work, **options):
        return (work(cell=cell, threads=1, **options) for cell in cells)

    monkeypatch.setattr("relcl_lib.commands.sweep.run_locally", locally)


@pytest.hookimpl(trylast=True)  # when what was not asked for is gone
def pytest_collection_modifyitems(config, items):
    """Deal the slow tests out, so that each worker begins with its part of them.

    pytest-xdist cuts the list into one stretch per worker; who is done early takes over tests from
    the end of another's. A notebook left for the end would keep one worker busy and the others idle,
    so those come first. What reads the site, or the wheel, stays on one worker: each takes long to
    build.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    slow = defaultdict(list)
    for item in items:
        if item.get_closest_marker("slow"):
            built = {"site", "installed"} & {*item.fixturenames}
            slow[min(built, default=item.nodeid)].append(item)
    groups = sorted(slow.values(), key=lambda group: "test_runs_whole" not in group[0].nodeid)
    quick = [item for item in items if not item.get_closest_marker("slow")]
    order = []
    for worker in range(workers):
        own = [item for group in groups[worker::workers] for item in group]
        room = (len(items) - len(order)) // (workers - worker) - len(own)
        order += [*own, *quick[: max(room, 0)]]
        del quick[: max(room, 0)]
    items[:] = [*order, *quick]
