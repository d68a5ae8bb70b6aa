"""Processes as the system shows them (Linux): what they have started, hold and listen on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(**more):
    """What a process needs to find the library and the tests' helpers, on one thread."""
    path = [str(ROOT), str(ROOT / "tests" / "helpers")]
    plain = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(path)}
    return {**os.environ, **plain, **more}


def relcl(*words, **options):
    """Begin `python -m relcl_lib ...`."""
    command = [sys.executable, "-m", "relcl_lib", *map(str, words)]
    options = {"env": environment(), "cwd": ROOT, "text": True} | options
    return subprocess.Popen(command, **options)


def children(pid):
    """All that a process has started, and what these have, the youngest last."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        own = [int(n) for task in tasks for n in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [*own, *(deeper for child in own for deeper in children(child))]


def kill_all(pid):
    """End a process and everything it has started, without a word."""
    for one in [pid, *children(pid)]:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


def alive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def resident(pid):
    """Resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def handles(pid):
    """Number of a process's open files."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def listening(pids):
    """Addresses, as the kernel writes them, on which any of the processes accepts connections."""
    held = set()
    for pid in pids:
        try:
            held |= {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and f"socket:[{parts[9]}]" in held:
                found.add(parts[1].rsplit(":", 1)[0])
    return found
