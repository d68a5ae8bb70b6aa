"""Fill a paper's table: every cell a resumable run, on this machine's processes or a Ray cluster.

    python -m relcl_lib.sweep hpcr table3 --dataset cifar10
    python -m relcl_lib.sweep hpcr table7 --dataset cifar10 --buffers 200 --seeds 0 1 2
    python -m relcl_lib.sweep hpcr table3 --engine ray --address auto --gpus-per-run 0.25

A cell whose records exist is read, not run; one that was killed goes on from its last task; one that
failed leaves a record that says why, and is tried again next time. Run it again after any stop.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from relcl_lib.files import repository_root
from relcl_lib.parameters import ParameterError

Cell = dict[str, Any]  # the parameters of one run, as plain values

#: the memory sizes of Table III
BUFFERS = {
    "cifar10": (100, 200, 500),
    "cifar100": (1000, 2000, 5000),
    "mini_imagenet": (1000, 2000, 5000),
    "tiny_imagenet": (2000, 4000, 10000),
    "tiny_imagenet_100": (1000, 2000, 5000),
    "mnist": (200,),
    "digits": (50,),
}
_WITHOUT_MEMORY = ("IID", "IID++", "FINE-TUNE")


def _methods_by_buffers(dataset: str, methods: Iterable[str], buffers: Sequence[int]) -> list[Cell]:
    # The buffer column is empty for methods without a memory: one cell, at the first size.
    return [
        {"dataset": dataset, "method": method, "buffer_size": buffer}
        for method in methods
        for buffer in (buffers[:1] if method in _WITHOUT_MEMORY else buffers)
    ]


def table3(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Table III (and V, VI, Fig. 3): the methods of the library on every memory size."""
    methods = ("IID", "IID++", "FINE-TUNE", "ER", "ER-ACE", "PCR", "HPCR")
    return _methods_by_buffers(dataset, methods, buffers)


def table7(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Table VII: couples of proxies and pairs, then HPCR component by component."""
    methods = ("ER", "Couple (Eq. 7)", "Couple (Eq. 8)", "PCR", "PCR+HC", "PCR+HC+HT")
    return _methods_by_buffers(dataset, (*methods, "PCR+HC+HT+PCD", "HPCR"), buffers)


def table9(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Table IX: the range of the dynamic temperature."""
    return [
        {"dataset": dataset, "method": "HPCR", "buffer_size": b, "t_min": low, "t_max": high}
        for b in buffers[:1]
        for low in (0.05, 0.07, 0.09, 0.11)
        for high in (0.12, 0.14, 0.16, 0.18, 0.20)
    ]


def table10(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Table X: the period of the dynamic temperature."""
    return [
        {"dataset": dataset, "method": "HPCR", "buffer_size": b, "ht_period": period}
        for b in buffers[:1]
        for period in (50, 100, 125, 250, 500, 1000)
    ]


def variants(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Not in the paper: HPCR as released and as printed, and each difference by itself."""
    single = ({"ht": "paper"}, {"distil_from_task": 0}, {"scd": "paper"}, {"joint_forward": True})
    return [
        {"dataset": dataset, "method": "HPCR", "buffer_size": b, **change}
        for b in buffers[:1]
        for change in ({}, {"variant": "paper"}, *single)
    ]


TABLES: dict[str, dict[str, Callable[[str, Sequence[int]], list[Cell]]]] = {
    "hpcr": {
        "table3": table3,
        "table7": table7,
        "table9": table9,
        "table10": table10,
        "variants": variants,
    }
}


def describe(cell: Cell) -> str:
    """Return a cell in one line."""
    skip = ("dataset", "method", "seeds", "data_root", "device", "profile")
    rest = ", ".join(f"{k}={v}" for k, v in cell.items() if k not in skip)
    return f"{cell['dataset']} {cell['method']}" + (f" ({rest})" if rest else "")


def run_cell(cell: Cell, results: str | None, work_dir: str, threads: int | None) -> str:
    """Run or read one cell in this process; return a line about the outcome, or the failure."""
    import torch

    from relcl_lib.metrics import average_accuracy
    from relcl_lib.replay_parameters import ReplayParameters
    from relcl_lib.replay_records import train_or_read

    if threads:
        torch.set_num_threads(threads)
    name = describe(cell)

    def progress(run: Any) -> None:
        done = run.tasks_done
        accuracy = 100 * average_accuracy(run.accuracy)[:, done - 1].mean()
        print(f"[sweep] {name}: task {done}/{len(run.streams[0])}, {accuracy:.1f} %", flush=True)

    try:
        records = train_or_read(
            ReplayParameters.create(cell, profile="full"),
            results=results,
            work_dir=work_dir,
            on_task=progress,
        )
    except Exception as error:  # the other cells go on; the failure is in a record
        return f"failed: {name}: {type(error).__name__}: {error}"
    values = " ".join(f"{record.metrics['A_T']:.1f}" for record in records)
    return f"done: {name}: A_T {values}"


def run_locally(cells: Sequence[Cell], jobs: int, **options: Any) -> Iterable[str]:
    """Yield the outcome of each cell as it ends, ``jobs`` processes at a time."""
    from joblib import Parallel, delayed

    # Each process gets its share of the cores: more threads than cores is far slower than fewer.
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = Parallel(n_jobs=jobs, return_as="generator_unordered")
    return pool(delayed(run_cell)(cell, threads=threads, **options) for cell in cells)


def run_on_ray(
    cells: Sequence[Cell], address: str | None, gpus: float, cpus: float, **options: Any
) -> Iterable[str]:
    """Yield the outcome of each cell from an existing Ray cluster (or one started here)."""
    try:
        import ray
    except ImportError as error:
        raise SystemExit(
            "the ray engine needs the package ray: pip install 'relcl[ray]', or leave --engine out"
        ) from error
    ray.init(address=address, ignore_reinit_error=True)
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus)(run_cell)
    threads = max(1, int(cpus))
    waiting = [remote.remote(cell, threads=threads, **options) for cell in cells]
    while waiting:
        done, waiting = ray.wait(waiting)
        yield from ray.get(done)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    root = repository_root()
    text = (__doc__ or "").split("\n\n")[0]
    line = argparse.ArgumentParser(prog="python -m relcl_lib.sweep", description=text)
    line.add_argument("paper", choices=sorted(TABLES))
    line.add_argument("table", help="; ".join(f"{p}: {', '.join(t)}" for p, t in TABLES.items()))
    line.add_argument("--dataset", default="cifar10", choices=sorted(BUFFERS))
    line.add_argument("--data-root", help="folder that holds the data set")
    line.add_argument("--buffers", type=int, nargs="+", help="memory sizes (default: the paper's)")
    line.add_argument("--methods", nargs="+", help="only these rows")
    line.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    line.add_argument("--device", default="auto", help="auto, cpu or cuda")
    line.add_argument("--results", default=None, help="folder of the records (data/results)")
    line.add_argument("--work-dir", default=str(root / "runs" / "sweep"), help="checkpoints")
    line.add_argument("--engine", choices=("local", "ray"), default="local")
    line.add_argument("--jobs", type=int, default=1, help="local: processes at a time")
    line.add_argument("--address", help="ray: address of the cluster (default: start one here)")
    line.add_argument("--gpus-per-run", type=float, default=0.0, help="ray: may be a fraction")
    line.add_argument("--cpus-per-run", type=float, default=1.0, help="ray: cores of a run")
    line.add_argument("--dry-run", action="store_true", help="list the cells and stop")
    return line


def make_cells(options: argparse.Namespace) -> list[Cell]:
    """Return the validated cells the command line asks for."""
    from relcl_lib.replay_parameters import ReplayParameters

    tables = TABLES[options.paper]
    if options.table not in tables:
        raise ParameterError(f"{options.paper} has no {options.table}: one of {', '.join(tables)}")
    cells = tables[options.table](options.dataset, options.buffers or BUFFERS[options.dataset])
    if unknown := set(options.methods or ()) - {cell["method"] for cell in cells}:
        rows = sorted({cell["method"] for cell in cells})
        raise ParameterError(f"no row {', '.join(sorted(unknown))}; the rows: {', '.join(rows)}")
    common = {"seeds": options.seeds, "data_root": options.data_root, "device": options.device}
    cells = [
        {**cell, **common}
        for cell in cells
        if not options.methods or cell["method"] in options.methods
    ]
    for cell in cells:
        ReplayParameters.create(cell, profile="full").resolved()
    return cells


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if every cell is done, 1 if one failed, 2 for a wrong argument."""
    options = parser().parse_args(arguments)
    try:
        cells = make_cells(options)
    except ParameterError as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    print(f"{len(cells)} cells, {len(options.seeds)} seeds each", flush=True)
    if options.dry_run:
        print("\n".join(describe(cell) for cell in cells))
        return 0
    shared = {"results": options.results, "work_dir": options.work_dir}
    if options.engine == "ray":
        outcomes = run_on_ray(
            cells, options.address, options.gpus_per_run, options.cpus_per_run, **shared
        )
    else:
        outcomes = run_locally(cells, options.jobs, **shared)
    failed = 0
    for number, outcome in enumerate(outcomes, start=1):
        failed += outcome.startswith("failed")
        print(f"[{number}/{len(cells)}] {outcome}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
