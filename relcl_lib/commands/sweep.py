"""Fill a paper's table: every cell a resumable run, on this machine's processes or a Ray cluster.

    python -m relcl_lib hpcr sweep table3 --dataset cifar10
    python -m relcl_lib hpcr sweep table7 --dataset cifar10 --buffers 200 --seeds 0 1 2
    python -m relcl_lib fastre sweep table5 --dataset nyt10 --set word_vectors=glove.6B.300d.txt
    python -m relcl_lib crecl sweep table1 --dataset fewrel --device cuda --jobs 16
    python -m relcl_lib hpcr sweep table3 --engine ray --address auto --gpus-per-run 0.25

A cell whose records exist is read, not run, unless they lack what is asked for, as FastRE's without
times or threshold curve; one that was killed goes on from its last task or epoch; one that failed is
named with the reason, which a record keeps if it had begun to train, and is tried again next time; so
is one whose process died, while the others go on. Where the first cell's data set cannot be read the
sweep stops, as all cells need it. Run it again after any stop.
On a cluster of several machines all must see the folders of records, checkpoints and data.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from math import ceil
from typing import Any

from relcl_lib.commands.engines import Cell, describe, run_locally, run_on_ray
from relcl_lib.lab.command_line import parse, place, positive
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.format import TableError
from relcl_lib.lab.parameters import ParameterError, read_settings
from relcl_lib.lab.records import canonical_json
from relcl_lib.papers.registry import PAPERS

#: how the outcome of a cell begins whose data set cannot be read
NO_DATA = "failed, no data: "


class ProcessDiedError(RuntimeError):
    """The process that ran a cell is gone, and left no word."""


def run_cell(
    paper: str,
    cell: Cell,
    results: str | None,
    work_dir: str,
    threads: int | None,
    failure: str | None = None,
) -> str:
    """Run or read one cell in this process; the outcome or the failure as a line.

    `failure` is what ended the process that ran it: that is recorded, and nothing is run.
    """
    import torch

    from relcl_lib.data.download import DataFormatError, DataNotFoundError

    about, name = PAPERS[paper], describe(cell)
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)

    trained = False

    def progress(run: Any) -> None:
        nonlocal trained
        trained = True
        place = f"{run.counter.removesuffix('s_done')} {run.done}/{run.total}"
        print(f"[sweep] {name}: {place}, {run.score:.1f} %", flush=True)

    try:
        parameters = about.parameters.create(cell)
        run = about.module("run")
        died = ProcessDiedError(failure) if failure else None
        options = {"results": results, "work_dir": work_dir, "on_unit": progress}
        try:
            data = run.load_data(parameters)
        except (DataNotFoundError, DataFormatError) as error:
            return f"{NO_DATA}{name}: {type(error).__name__}: {error}"
        records = run.train_or_read(parameters, data=data, failure=died, **options)
    except Exception as error:  # the other cells go on; the failure is in a record
        return f"failed: {name}: {type(error).__name__}: {error}"
    finally:
        torch.set_num_threads(before)  # the process may be the caller's own
    values = [
        f"{metric} {' '.join(f'{record.metrics[metric]:.1f}' for record in records)}"
        for metric in about.tables.COUNTS
        if metric in records[0].metrics
    ]
    return f"{'done' if trained else 'read'}: {name}: {', '.join(values)}"


def parser(arguments: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The command line; its help lists the tables of the paper that the arguments begin with."""
    root = repository_root()
    text = (__doc__ or "").split("\n\n")[0]
    tables = {name: ", ".join(paper.tables.TABLES) for name, paper in PAPERS.items()}
    chosen = tables.get(arguments[0]) if arguments else None
    command = f"{arguments[0]} sweep" if arguments and chosen else "sweep"
    line = argparse.ArgumentParser(
        prog=f"python -m relcl_lib {command}",
        description=text,
        epilog=_tables(arguments[0]) if arguments and chosen else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    named = argparse.SUPPRESS if chosen else None
    line.add_argument("paper", choices=sorted(PAPERS), help=named)
    every = "; ".join(f"{name}: {names}" for name, names in tables.items())
    line.add_argument("table", help=chosen or every)
    line.add_argument("--dataset", help="default: the table's in the paper, or the first")
    line.add_argument("--data-root", help="folder that holds the data set")
    line.add_argument("--buffers", type=int, nargs="+", help="memory sizes (default: the paper's)")
    line.add_argument("--methods", nargs="+", help="only these rows")
    line.add_argument("--seeds", type=int, nargs="+", help="default: those of the profile")
    line.add_argument("--profile", default="full", help="quick, reduced or full (default)")
    further = (
        "further parameters of all cells (--settings lists them); of one that the table varies, only "
        "the cells with it, if there are any"
    )
    line.add_argument(
        "--settings",
        action=_Settings,
        nargs=0,
        default=argparse.SUPPRESS,
        help="list them and stop",
    )
    line.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help=further)
    line.add_argument("--device", default="auto", help="auto, cpu or cuda")
    line.add_argument("--results", type=place, help="folder of the records (data/results)")
    work = root / "runs" / "sweep"
    line.add_argument("--work-dir", type=place, default=work, help="checkpoints")
    line.add_argument("--engine", choices=("local", "ray"), default="local")
    jobs = (
        "local: processes at a time, each on its share of the cores (on a CPU fastest with as many "
        "as cores: a thread each); more than cells: the seeds run apart (HPCR's in parts, each a "
        "checkpoint: go on with the same number)"
    )
    line.add_argument("--jobs", type=positive, default=1, help=jobs)
    each = "local: of each process (default: the cores, shared among the jobs)"
    line.add_argument("--threads", type=positive, help=each)
    line.add_argument("--address", help="ray: address of the cluster (default: start one here)")
    line.add_argument("--gpus-per-run", type=float, default=0.0, help="ray: may be a fraction")
    line.add_argument("--cpus-per-run", type=float, default=1.0, help="ray: cores of a run")
    line.add_argument("--dry-run", action="store_true", help="list the cells and stop")
    return line


def _tables(name: str) -> str:
    """What the tables of a paper are, a line each."""
    tables = [(table, each.about) for table, each in PAPERS[name].tables.TABLES.items()]
    width = max(len(table) for table, _ in tables)
    return "\n".join(["tables:", *(f"  {table:{width}}  {about}" for table, about in tables)])


class _Settings(argparse.Action):
    """Print what `--set` can set, with the defaults of the profile `full`, and stop."""

    def __call__(self, parser: argparse.ArgumentParser, options: Any, *rest: Any) -> None:
        if not options.paper:
            parser.error("name the paper before --settings")
        parameters = PAPERS[options.paper].parameters
        usual = parameters.create(profile="full").model_dump()
        elsewhere = ("profile", "data_root", "device", "seeds", "dataset")
        print("with their defaults (null: the table's, the method's or the data set's):")
        print(parameters.listing(usual, elsewhere))
        parser.exit()


def make_cells(options: argparse.Namespace) -> list[Cell]:
    """The cells that the command line asks for, validated.

    Raises:
        ParameterError: an argument that does not fit; TableError: no such table or data set.
    """
    paper = PAPERS[options.paper]
    tables, datasets = paper.tables.TABLES, paper.tables.DATASETS
    if options.table not in tables:
        raise TableError(f"{options.paper} has no {options.table}: one of {', '.join(tables)}")
    table = tables[options.table]
    dataset = options.dataset or table.dataset or next(iter(datasets))
    if dataset not in datasets:
        names = ", ".join(datasets)
        raise TableError(f"{options.paper} knows no dataset {dataset!r}: one of {names}")
    if table.only and dataset != table.dataset:
        raise TableError(
            f"the table {options.table} has no cells for {dataset} ({table.about}); use "
            f"--dataset {table.dataset}"
        )
    if options.buffers and not datasets[dataset]:
        own = "memory_size" in paper.parameters.model_fields
        advice = (
            "its sweeps vary no memory; use --set memory_size=..." if own else "it has no memory"
        )
        raise ParameterError(f"--buffers: not of {options.paper}: {advice}")
    cells = table.runs(dataset, options.buffers or datasets[dataset])
    if unknown := set(options.methods or ()) - {cell["method"] for cell in cells}:
        rows = sorted({cell["method"] for cell in cells})
        raise ParameterError(f"no row {', '.join(sorted(unknown))}; the rows: {', '.join(rows)}")
    # First of all: a setting that the table varies may choose cells of other rows alone.
    cells = [cell for cell in cells if not options.methods or cell["method"] in options.methods]
    names, settings = ("seeds", "data_root", "device", "profile"), read_settings(options.set)
    if "dataset" in settings:
        raise ParameterError("the data set is chosen by --dataset, not by --set")
    for name, value in settings.items():
        found = [c for c in cells if name in c and c[name] == value]
        varied = {canonical_json(c[name]) for c in cells if name in c}
        if len(varied) > 1 and not found:
            print(f"no cell has {name}={value}: all get it", file=sys.stderr)
        cells = found or cells
    common = {name: getattr(options, name) for name in names} | settings
    common = {name: value for name, value in common.items() if value is not None}
    cells = [{**cell, **common} for cell in cells]
    for cell in cells:
        made = paper.parameters.create(cell)
        made.resolved()
        if "seeds" in cell:
            cell["seeds"] = made.seeds  # `--set seeds=0` is a number
    return list({canonical_json(cell): cell for cell in cells}.values())  # one may now be another


def split_seeds(paper: str, cells: Sequence[Cell], most: int) -> list[Cell]:
    """Split cells into ones of at most `most` seeds: first every cell's first seeds, then the next, ...

    So more processes than cells have work, and a sweep that is stopped leaves rows of the same seeds.
    """
    create, parts = PAPERS[paper].parameters.create, []
    for cell in cells:
        seeds = create(cell).seeds
        for start in range(0, len(seeds), most):
            parts.append((start, {**cell, "seeds": seeds[start : start + most]}))
    return [part for _, part in sorted(parts, key=lambda part: part[0])]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if every cell is done, 1 if one failed."""
    options = parse(parser(arguments), arguments)
    paper = PAPERS[options.paper]
    cells = make_cells(options)
    seeds = paper.parameters.create(cells[0]).seeds
    print(f"cells: {len(cells)}, seeds in each: {len(seeds)}", flush=True)
    table = paper.tables.TABLES[options.table]
    if table.dataset and not options.dataset:
        print(f"on {table.dataset} where --dataset names no other; {table.about}", flush=True)
    if options.dry_run:
        print("\n".join(describe(cell) for cell in cells))
        return 0
    if not paper.side_by_side and (options.engine == "ray" or options.jobs > len(cells)):
        cells = split_seeds(options.paper, cells, 1)
    elif options.engine == "local" and options.jobs > len(cells):
        # Seeds side by side are cheaper: no more parts than there are processes.
        cells = split_seeds(options.paper, cells, ceil(len(seeds) / (options.jobs // len(cells))))
    # Another process, on another machine maybe, has another current folder.
    places = {"results": options.results, "work_dir": options.work_dir}
    shared = {name: path and str(path.resolve()) for name, path in places.items()}
    shared |= {"work": run_cell, "paper": options.paper}
    if options.engine == "ray":
        share = (options.gpus_per_run, options.cpus_per_run)
        outcomes = run_on_ray(cells, options.address, *share, **shared)
    else:
        own = {"threads": options.threads} if options.threads else {}
        outcomes = run_locally(cells, options.jobs, **own, **shared)
    failed, trained, started = 0, 0, time.monotonic()
    reasons: set[str] = set()
    names = sorted((f"failed: {describe(cell)}: " for cell in cells), key=len, reverse=True)
    for number, outcome in enumerate(outcomes, start=1):
        named = next((name for name in names if outcome.startswith(name)), "")
        if named and (reason := outcome.removeprefix(named)) in reasons:
            outcome = f"{named}as above"  # a long message is said once
        elif named:
            reasons.add(reason)
        no_data = outcome.startswith(NO_DATA)
        outcome = outcome.replace(NO_DATA, "failed: ", 1) if no_data else outcome
        if no_data and number == 1 and len(cells) > 1:  # nothing has run, and nothing would
            print(f"[1/{len(cells)}] {outcome}", flush=True)
            print("the other cells need the same data set: the sweep stops here", flush=True)
            outcomes.close()  # ends what is under way
            return 1
        failed += outcome.startswith("failed")
        trained += not outcome.startswith("read")  # which takes no time, and foretells none
        each = (time.monotonic() - started) / max(trained, 1)
        left = time_left(each * (len(cells) - number) * bool(trained))
        print(f"[{number}/{len(cells)}] {outcome}{left}", flush=True)
    return 1 if failed else 0


def time_left(seconds: float) -> str:
    """About how long it will take, as the end of a line; "" for no time."""
    minutes = round(seconds / 60)
    if minutes > 59:
        return f"; about {minutes // 60} h {minutes % 60} min left"
    if minutes:
        return f"; about {minutes} min left"
    return "; under a minute left" if seconds else ""
