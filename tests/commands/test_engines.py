"""Cells whose process dies fail alone; the processes of a sweep end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dying import threads_of, work

from relcl_lib.commands.engines import run_locally
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


def test_as_many_processes_as_cores_have_a_thread_each():
    cores = os.cpu_count()
    for jobs, threads in ((cores, 1), (2 * cores, 1), (1, cores)):
        assert list(run_locally(cells("any"), jobs, threads_of)) == [f"done: {threads}"]


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
import sys
from dying import work
from relcl_lib.commands.engines import run_locally
if __name__ == "__main__":
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
