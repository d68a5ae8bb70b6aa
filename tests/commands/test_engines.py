"""Cells whose process dies fail alone; the processes of a sweep end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from dying import threads_of, work
from joblib import cpu_count

from relcl_lib.commands import sweep
from relcl_lib.commands.engines import MOST_NODES, run_locally, run_on_ray
from relcl_lib.commands.sweep import time_left

FATAL = ("segmentation fault", "killed", "leaves", "hopeless")


def cells(*methods):
    return [{"dataset": str(number), "method": name} for number, name in enumerate(methods)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_process_that_dies_fails_its_cell_alone(tmp_path, jobs):
    given = cells("good", *FATAL, "good", "killed", "good")
    found = sorted(run_locally(given, jobs, work, folder=str(tmp_path)))
    told = {line.split(": ")[1]: line for line in found if line.startswith("failed")}
    assert [line for line in found if line.startswith("done")] == [
        f"done: good {number}" for number in (0, 5, 7)
    ]
    assert "SIGSEGV" in told["segmentation fault"] and "SIGKILL" in told["killed"]
    assert "memory" in told["killed"] and "memory" not in told["segmentation fault"]
    assert "exit code 3" in told["leaves"]
    assert "could not be recorded" in told["4 hopeless"]
    assert len(found) == len(given)
    assert {path.read_text() for path in tmp_path.glob("[!h]*")} == {"x"}  # each begun once


def test_as_many_processes_as_cores_have_a_thread_each(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = cpu_count()
    for jobs, threads in ((cores, 1), (2 * cores, 1), (1, cores)):
        assert list(run_locally(cells("any"), jobs, threads_of)) == [f"done: {threads}"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert list(run_locally(cells("any"), 1, threads_of)) == ["done: 3"]
    assert list(run_locally(cells("any"), 1, threads_of, threads=1)) == ["done: 1"]


def test_a_sweep_that_ends_leaves_nothing_behind(tmp_path):
    script = SWEEP.replace("import work", "import holding as work").replace("60}", "0}")
    script = script.replace(", folder=sys.argv[1]", "")
    (tmp_path / "sweep.py").write_text(script)
    path = os.pathsep.join(map(str, [*Path(__file__).parents[2:3], *sys.path]))
    done = subprocess.run(
        [sys.executable, str(tmp_path / "sweep.py")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""  # the resource tracker would name a semaphore that leaked


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").is_dir()]


SWEEP = """
import signal
import sys
from dying import work
from relcl_lib.commands.engines import run_locally
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background ignores it
    cells = [{"dataset": str(n), "method": "slow", "seconds": 60} for n in range(4)]
    print("begun", flush=True)
    list(run_locally(cells, 2, work, folder=sys.argv[1]))
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_sweep(tmp_path, sent):
    (tmp_path / "sweep.py").write_text(SWEEP)
    begun = tmp_path / "begun"
    begun.mkdir()
    path = os.pathsep.join(map(str, [*Path(__file__).parents[2:3], *sys.path]))
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "sweep.py"), str(begun)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as sweep:
        while len(list(begun.iterdir())) < 2:
            time.sleep(0.05)
        children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
        assert len(children) >= 2
        sweep.send_signal(sent)
        assert sweep.wait(20) != 0
    for _ in range(200):
        if not alive(children):
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {alive(children)}")


def test_the_time_left_in_words():
    seconds = (0, 20, 100, 3000, 3661, 100_000)
    assert [time_left(value) for value in seconds] == [
        *("", "; under a minute left", "; about 2 min left", "; about 50 min left"),
        *("; about 1 h 1 min left", "; about 27 h 47 min left"),
    ]


# --- a Ray cluster that is none ------------------------------------------------------------------


class Cluster:
    """So much of Ray as a sweep asks for; what becomes of a cell is decided when it is asked for."""

    class RayError(Exception):
        pass

    class NodeDiedError(RayError):
        pass

    def __init__(self, initialized=False):
        self.initialized, self.said, self.calls, self.down = initialized, {}, [], 0

    def is_initialized(self):
        return self.initialized

    def init(self, address, **options):
        self.said = {"address": address, **options}

    def remote(self, **share):
        self.share = share
        return lambda work: SimpleNamespace(remote=lambda **given: self.begin(work, given))

    def begin(self, work, given):
        self.calls.append((work, given))
        return len(self.calls) - 1

    def wait(self, waiting):
        return waiting[:1], waiting[1:]

    def get(self, number):
        work, given = self.calls[number]
        method = given["cell"]["method"]
        before = sum(cell["cell"] == given["cell"] for _, cell in self.calls[:number])
        if before < {"killed": 1, "hopeless": 2}.get(method, 0):
            raise self.RayError("\nThe worker died.\nMore of it.")
        if before < {"restless": MOST_NODES, "fills": MOST_NODES + 1}.get(method, 0):
            raise self.NodeDiedError("The node died.")
        return work(**given)

    def shutdown(self):
        self.down += 1


@pytest.fixture
def cluster(monkeypatch):
    found = Cluster()
    monkeypatch.setitem(sys.modules, "ray", found)
    monkeypatch.setitem(sys.modules, "ray.exceptions", found)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "")  # put back as it was afterwards
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    return found


def said(cell, threads, failure=None):
    return f"failed: {failure}" if failure else f"done: {cell['method']} on {threads}"


def test_a_cell_that_ends_its_worker_fails_alone_and_one_without_a_node_begins_again(cluster):
    given = cells("good", "killed", "hopeless", "restless", "fills")
    found = sorted(run_on_ray(given, None, 0.0, 2.0, said))
    assert found == [
        "done: good on 2",
        "done: restless on 2",
        "failed: 2 hopeless: The worker died.; it could not be recorded",
        "failed: NodeDiedError: The node died.",
        "failed: RayError: The worker died.",
    ]
    begun = [call["cell"]["method"] for _, call in cluster.calls]
    assert begun.count("restless") == 1 + MOST_NODES and begun.count("fills") == 2 + MOST_NODES
    assert [begun.count(name) for name in ("good", "killed", "hopeless")] == [1, 2, 2]
    assert cluster.down == 1


@pytest.mark.parametrize(
    "given, named", [(None, None), ("a:1", None), (None, "b:2"), ("a:1", "b:2")]
)
def test_the_cluster_is_the_one_that_is_named_or_one_of_this_machine(
    cluster, monkeypatch, given, named
):
    if named:
        monkeypatch.setenv("RAY_ADDRESS", named)
    assert list(run_on_ray(cells("good"), given, 0.0, 1.0, said)) == ["done: good on 1"]
    assert cluster.said.pop("address") == (given or named or "local")
    local = not (given or named)
    assert cluster.said == {"ignore_reinit_error": True} | (
        {"include_dashboard": False} if local else {}
    )
    assert (os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0") is local


def test_a_cluster_that_somebody_else_uses_is_left_running(cluster):
    cluster.initialized = True
    assert list(run_on_ray(cells("good"), None, 0.0, 1.0, said)) == ["done: good on 1"]
    assert cluster.down == 0


def test_a_sweep_asks_for_its_share_of_a_gpu_for_each_seed(cluster, monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "run_cell", lambda cell, **given: f"done: {given}")
    words = "drl table2 --dataset digits --methods ER --seeds 0 1 --engine ray --gpus-per-run 0.25"
    places = ["--results", str(tmp_path), "--work-dir", str(tmp_path)]
    assert sweep.main([*words.split(), "--cpus-per-run", "2", *places]) == 0
    assert cluster.share == {"num_cpus": 2.0, "num_gpus": 0.25, "max_retries": 0}
    assert [call["cell"]["seeds"] for _, call in cluster.calls] == [[0], [0], [1], [1]]
    assert all(call["threads"] == 2 and call["paper"] == "drl" for _, call in cluster.calls)


def test_without_ray_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[ray\]'"):
        next(run_on_ray(cells("good"), "a:1", 0.0, 1.0, said))
