"""A table's cells on a Ray cluster of which the node that works is killed in the middle."""

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kills import MEASURED
from processes import alive, children, environment, kill_all, listening, relcl

from relcl_lib.lab.records import read_records

ABSENT = importlib.util.find_spec("ray") is None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ABSENT, reason="ray is not installed: pip install '.[ray]'"),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc"),
]
TABLE = "drl sweep table2 --dataset digits --methods ER BER --set limit=140 epochs=10"
CELLS = TABLE.split()
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
#: an address of this machine alone that Ray does not replace by the one that others see
HEAD = "127.0.0.2"
#: how /proc/net/tcp ends 127.0.0.1, and ::1
LOOPBACK = ("0100007F", "00000000000000000000000001000000")


def start(folder, *words):
    """One node in the foreground, with little memory."""
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start"]
    words = [*words, f"--node-ip-address={HEAD}", "--block"]
    words += ["--object-store-memory=80000000"]
    with (folder / f"node-{time.monotonic()}.log").open("w") as log:
        return subprocess.Popen(
            [*command, *words],
            env=environment(**RAY),
            stdout=log,
            stderr=log,
        )


@contextlib.contextmanager
def cluster(folder):
    """What starts one more node of a core, and the address; the head itself takes no cell.

    So the cells are where the test wants them, however slow a node is to start.
    """
    temporary = folder / "ray"  # a socket's path may not be long
    head = ["--head", "--port=0", "--include-dashboard=False", f"--temp-dir={temporary}"]
    nodes = [start(folder, *head, "--num-cpus=0")]
    told = temporary / "ray_current_cluster"

    def logs():
        return [path.read_text() for path in folder.glob("node-*.log")]

    def one_more():
        nodes.append(start(folder, f"--address={told.read_text().strip()}", "--num-cpus=1"))
        while sum("runtime started" in log for log in logs()) < len(nodes):
            assert alive(nodes[-1].pid), logs()
            time.sleep(0.1)
        return nodes[-1]

    try:
        while not (told.is_file() and told.read_text().strip()):
            assert alive(nodes[0].pid), logs()
            time.sleep(0.1)
        yield told.read_text().strip(), one_more
    finally:
        for node in reversed(nodes):
            kill_all(node.pid)
            node.wait()


def numbers(results):
    """What the records of a folder say, but for when and where."""
    found = {}
    for record in read_records(results, include_failed=True):
        key = (record.method, record.seed, str(sorted(record.parameters.items())))
        assert key not in found
        metrics = {k: v for k, v in record.metrics.items() if not MEASURED.search(k)}
        found[key] = (metrics, record.accuracy_matrix, record.note)
    return found


def places(folder):
    return ["--results", folder / "results", "--work-dir", folder / "work"]


def test_a_node_is_lost_and_no_cell(tmp_path, tmp_path_factory, long, tell):
    seeds = [str(seed) for seed in range(8 if long else 1)]
    short = tmp_path_factory.getbasetemp().parent / f"r{os.getpid()}"  # for Ray's sockets
    short.mkdir()
    with cluster(short) as (address, one_more):
        first = one_more()
        sweep = relcl(
            *CELLS,
            "--seeds",
            *seeds,
            *places(tmp_path / "ray"),
            *("--engine", "ray", "--address", address),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(**RAY),
        )
        lines, workers = [], []
        for line in sweep.stdout:
            lines.append(line)
            # What a cell prints begins with the process that runs it.
            if at_work := re.search(r"run_cell pid=(\d+)", line):
                workers.append(int(at_work[1]))
                if len(workers) == 1:
                    assert workers[0] in children(first.pid)
                    kill_all(first.pid)
                    one_more()
        sweep.stdout.close()
        code = sweep.wait()
    told = "".join(lines)
    assert code == 0 and len(set(workers)) > 1, told
    ended = [line.split("] ", 1)[1].split("; ")[0] for line in lines if " done: " in line]
    total = int(re.search(r"^\[\d+/(\d+)\]", told, re.MULTILINE)[1])
    assert len(ended) == len(set(ended)) == total >= 2 * len(seeds), told
    here = [
        *places(tmp_path / "local"),
        "--jobs",
        os.cpu_count(),
    ]  # one thread each, as on the nodes
    local = relcl(*CELLS, "--seeds", *seeds, *here, stdout=subprocess.DEVNULL)
    assert local.wait() == 0
    ours, theirs = (numbers(tmp_path / name / "results") for name in ("ray", "local"))
    assert ours == theirs and len(ours) == len(ended)
    tell(f"cells: {len(ended)}, nodes lost: 1, each ended once, results equal: {ours == theirs}")


def test_a_cluster_started_here_listens_on_the_loopback_alone(tmp_path):
    sweep = relcl(
        *CELLS, "--seeds", "0", *places(tmp_path), "--engine", "ray", stdout=subprocess.PIPE
    )
    seen, found = set(), []
    for line in sweep.stdout:
        found += [line] if " done: " in line else []
        seen |= listening([sweep.pid, *children(sweep.pid)])
    sweep.stdout.close()
    assert sweep.wait() == 0 and len(found) > 1
    assert seen and all(address.endswith(LOOPBACK) for address in seen), seen
    assert not [pid for pid in children(sweep.pid) if alive(pid)]
