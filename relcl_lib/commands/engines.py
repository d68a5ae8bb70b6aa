"""Where the cells of a sweep run: processes of this machine, or a Ray cluster.

A cell whose process dies (killed for its memory, a segmentation fault) has failed, and the others go
on. On a cluster a cell whose node is lost starts again on another one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any

Cell = dict[str, Any]  # the parameters of a table's run, as plain values
#: runs `cell` on `threads` threads and says how it ended; with `failure` it records that and runs nothing
Work = Callable[..., str]


def describe(cell: Cell) -> str:
    """A cell in one line."""
    skip = ("dataset", "method", "seeds", "data_root", "device", "profile")
    rest = ", ".join(f"{k}={v}" for k, v in cell.items() if k not in skip)
    seeds = cell.get("seeds") or ()
    seed = f", seed {seeds[0]}" if len(seeds) == 1 else ""
    return f"{cell['dataset']} {cell['method']}" + (f" ({rest})" if rest else "") + seed


#: how often a cell may lose its node: one that fills a machine's memory takes its node with it
MOST_NODES = 3


# --- processes of this machine -------------------------------------------------------------------


def run_locally(
    cells: Sequence[Cell], jobs: int, work: Work, threads: int | None = None, **options: Any
) -> Iterator[str]:
    """Yield the outcome of each cell as it ends, `jobs` processes at a time.

    The processes end with the sweep, also where it is killed. `options` go to `work`.
    """
    from joblib import cpu_count  # of the cores that this process may use

    # Each process gets its share of the cores: more threads than cores is far slower than fewer.
    asked = os.environ.get("OMP_NUM_THREADS", "")
    share = int(asked) if asked.isdigit() else cpu_count() // jobs
    options["threads"] = threads or max(1, share)
    waiting, idle = list(reversed(cells)), []
    busy: dict[connection.Connection, tuple[_Worker, Cell]] = {}

    def start(cell: Cell, **more: Any) -> _Worker:
        worker = idle.pop() if idle else _Worker()
        if not worker.process.is_alive():  # one may die at rest, where memory is short
            worker.end()
            worker = _Worker()
        busy[worker.pipe] = worker, cell
        worker.ask(work, {"cell": cell, **options, **more})
        return worker

    def outcome(pipe: connection.Connection) -> str:
        worker, cell = busy.pop(pipe)
        if (answer := worker.answer()) is not None:
            idle.append(worker)
            return answer
        reason = worker.end()
        worker = start(cell, failure=reason)
        del busy[worker.pipe]
        if (answer := worker.answer()) is not None:
            idle.append(worker)
            return answer
        worker.end()  # what killed the first may do so before there is anything to record
        return f"failed: {describe(cell)}: {reason}; it could not be recorded"

    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                start(waiting.pop())
            for pipe in connection.wait(list(busy)):
                yield outcome(pipe)
    finally:
        for worker in idle:
            worker.leave()
        for worker, _ in busy.values():
            worker.process.kill()
            worker.end()


#: seconds that an idle process has to end
PATIENCE = 5


class _Worker:
    """A process that answers one call after another; torch is loaded once."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, work: Work, arguments: dict[str, Any]) -> None:
        """Send it a call."""
        with contextlib.suppress(OSError):  # one that is dead already has no answer either
            self.pipe.send((work, arguments))

    def answer(self) -> str | None:
        """What the call returned, once it has; None where the process died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None

    def leave(self) -> None:
        """Let an idle process end by itself, which gives back what it holds of the system."""
        self.pipe.close()
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()

    def end(self) -> str:
        """Clear up after a process that has died or was killed, and say how it ended."""
        self.process.join()
        self.pipe.close()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"its process ended with exit code {code}"
        memory = ", as where memory runs out" if code == -signal.SIGKILL else ""
        return f"its process was ended by {signal.Signals(-code).name}{memory}"


def _serve(pipe: connection.Connection) -> None:
    """What a worker does: call what it is sent until the sweep is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the sweep, which ends its workers
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    while True:
        try:
            work, arguments = pipe.recv()
        except EOFError:  # it needs no more
            return
        pipe.send(work(**arguments))


def _end_with_sweep() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


# --- a Ray cluster -------------------------------------------------------------------------------


def run_on_ray(
    cells: Sequence[Cell],
    address: str | None,
    gpus: float,
    cpus: float,
    work: Work,
    **options: Any,
) -> Iterator[str]:
    """Yield the outcome of each cell from a running Ray cluster, or from one started here.

    One that is started here listens on this machine's loopback alone and has no dashboard.

    Raises:
        ImportError: there is no Ray.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if not address:  # read at import: whether a node takes an address that others can reach
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "the ray engine needs the package ray: pip install '.[ray]', or leave --engine out"
        ) from error
    from ray.exceptions import NodeDiedError, RayError

    shared = ray.is_initialized()
    here = {} if address else {"include_dashboard": False}
    ray.init(address or "local", ignore_reinit_error=True, **here)
    # Tries are counted here: a crash would repeat itself, the loss of a node hardly.
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(work)
    options["threads"] = max(1, int(cpus))

    def start(cell: Cell, lost: int = 0, **more: Any) -> None:
        waiting[remote.remote(cell=cell, **options, **more)] = cell, lost, more

    waiting: dict[ray.ObjectRef, tuple[Cell, int, dict[str, Any]]] = {}
    try:
        for cell in cells:
            start(cell)
        while waiting:
            [done], _ = ray.wait(list(waiting))
            cell, lost, more = waiting.pop(done)
            try:
                yield ray.get(done)
            except RayError as error:
                if isinstance(error, NodeDiedError) and lost < MOST_NODES:
                    start(cell, lost + 1, **more)
                    continue
                reason = str(error).strip().splitlines()[0]
                if more:  # what killed it may do so before there is anything to record
                    yield f"failed: {describe(cell)}: {reason}; it could not be recorded"
                else:
                    start(cell, failure=f"{type(error).__name__}: {reason}")
    finally:
        if not shared:
            ray.shutdown()
