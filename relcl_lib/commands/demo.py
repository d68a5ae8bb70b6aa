"""Run every notebook in its quick profile and print one table, ours beside the papers'.

``python -m relcl_lib.demo`` runs all of ``notebooks/``, ``python -m relcl_lib.demo hpcr`` one of
them. Executed copies go to ``runs/notebooks/``. A notebook that fails is named with its cell and
error, the others go on, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from relcl_lib.lab.compare import TableError, compare, paper_rows, rows_without_paper
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.format import DASH
from relcl_lib.lab.records import Record, RecordError, read_records, record_path
from relcl_lib.papers.registry import PAPERS

#: Notebooks begin a line of progress with their name in brackets; all other output stays inside.
_PROGRESS = re.compile(r"\[[\w .+-]+\] ")

PROTOCOLS = {
    "paper": "the paper's data, network and stream: the two numbers can be compared",
    "reduced": "the paper's kind of data with something smaller: compare with care",
    "stand-in": "other data that need no download: how methods rank, not the paper's values",
}


def progress_in(line: str) -> str | None:
    """Return what a printed line says about progress; None for any other output.

    A bar rewrites its line: what stands after the last return is what a person would see.
    """
    shown = line.rstrip("\r\n").rpartition("\r")[2]
    return shown if _PROGRESS.match(shown) else None


def kernel_environment() -> dict[str, str]:
    """Return the environment that a notebook's kernel inherits."""
    paths = [str(repository_root()), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "RELCL_HEADLESS": "1",
        # A user's own kernel named python3 would come first, and lack the packages.
        "JUPYTER_PREFER_ENV_PATH": "1",
        # The kernel starts in notebooks/, where the package of a bare checkout is not in sight.
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONIOENCODING": "utf-8",
    }


def parameter_names(notebook: Path) -> set[str]:
    """Return the names that a notebook's cell tagged ``parameters`` assigns."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c.get("metadata", {}).get("tags", [])]
    if not tagged:
        return set()
    names = set()
    with contextlib.suppress(SyntaxError):  # the run itself will say so, with its place
        for statement in ast.parse("".join(tagged[0]["source"])).body:
            targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def find_notebooks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Return the notebooks of a folder, sorted, or those named (with or without ``.ipynb``).

    Raises:
        ValueError: a name fits no notebook; says which there are.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    wanted = [name.removesuffix(".ipynb") for name in names]
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise ValueError(
            f"no notebook is named {', '.join(unknown)}; there are: {', '.join(found) or 'none'}"
        )
    return [found[name] for name in dict.fromkeys(wanted)] if wanted else list(found.values())


def run_notebook(notebook: Path, out: Path, profile: str = "quick") -> str | None:
    """Execute one notebook, printing its start, its progress and its end.

    Args:
        notebook: the file; nothing is written to it.
        out: folder of the executed copy (``notebooks/``), and of records and checkpoints too if it
            is not the repository's ``runs``, where the notebook puts them by itself.
        profile: given to the notebook only if it is not ``quick``.

    Returns:
        What went wrong, None if nothing did.
    """
    given = {} if profile == "quick" else {"profile": profile}
    if out.resolve() != (repository_root() / "runs").resolve():
        places = {"results": out / "results", "work_dir": out / "work"}
        known = parameter_names(notebook)
        given |= {name: str(path.resolve()) for name, path in places.items() if name in known}
    copy = (out / "notebooks" / notebook.name).resolve()
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.unlink(missing_ok=True)  # the errors of an earlier run are not this one's
    log = copy.with_suffix(".log")
    command = [sys.executable, "-m", "papermill", str(notebook.resolve()), str(copy)]
    command += ["--kernel", "python3", "--cwd", str(notebook.resolve().parent)]
    command += ["--no-progress-bar", "--start-timeout", "180", "--stdout-file", "-"]
    command += [word for name, value in given.items() for word in ("-r", name, value)]
    name, begin = notebook.stem, time.monotonic()
    print(f"{name}: started, {profile} profile", flush=True)
    # A process of its own, so that what Jupyter's parts say to each other stays in the log.
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            command,
            env=kernel_environment(),
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        try:
            for line in process.stdout:
                if (shown := progress_in(line)) is not None:
                    print(f"  {shown}", flush=True)
        except BaseException:
            process.terminate()  # the kernel ends by itself when its parent is gone
            raise
    problem = None
    if process.returncode:
        problem = failure_in(copy) or last_line(log) or f"exit code {process.returncode}"
    seconds = time.monotonic() - begin
    if problem is None:
        print(f"{name}: done in {seconds:.0f} s", flush=True)
    else:
        print(f"{name}: FAILED after {seconds:.0f} s: {problem}\n  see {copy}", flush=True)
    return problem


def failure_in(copy: Path) -> str | None:
    """Return which cell of an executed notebook stopped and why; None if no cell did."""
    try:
        cells = json.loads(copy.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):  # it died before it could write one
        return None
    for cell in cells:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                message = ": ".join(filter(None, (output["ename"], output["evalue"])))
                return f"cell In [{cell['execution_count']}] stopped with {message}"
    return None


def last_line(log: Path) -> str:
    """Return the last line of a log that says anything."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


# --- the closing table -------------------------------------------------------------------------


def collect_records(folders: Iterable[Path | None]) -> list[Record]:
    """Read the records of several results folders (None: ``data/results``).

    A configuration that lies in several of them counts once, as in the last: it is the same run.
    """
    found = {}
    for folder in folders:
        for record in read_records(folder, include_failed=True):
            found[record_path(record, Path())] = record
    return list(found.values())


def summary(records: Sequence[Record]) -> str:
    """Return the table as text: what counts of each paper, by table, data set and setting."""
    lines = [("Experiment and method", "Ours", "Paper", "Protocol", "")]
    shown = set()
    for paper in sorted({record.paper for record in records}):
        ours = [record for record in records if record.paper == paper]
        rows, counting = paper_rows(paper), list(PAPERS[paper].metrics)
        frame = pd.concat(
            [
                compare(paper, rows, ours, only_run=True),
                compare(paper, rows_without_paper(ours, rows), ours),
            ]
        )
        frame = frame[frame["metric"].isin(counting)]
        for (table, dataset, setting), part in frame.groupby(
            ["table", "dataset", "setting"], sort=False
        ):
            metric = max(part["metric"], key=counting.index)
            part = part[part["metric"] == metric]
            title = ", ".join(filter(None, (f"{paper.upper()} {table}".strip(), dataset, setting)))
            lines += [("", "", "", "", ""), (f"{title}: {metric}, %", "", "", "", "")]
            lines += [_line(row) for _, row in part.iterrows()]
            shown |= set(part["protocol"])
    if len(lines) == 1:
        return "no records yet: the notebooks that ran wrote none"
    widths = [max(len(line[i]) for line in lines if line[1] or i) for i in range(len(lines[0]))]
    text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    text = [line.rstrip() for line in text]
    notes = [f"{word}: {meaning}" for word, meaning in PROTOCOLS.items() if word in shown]
    notes += [
        f"ours: mean over n seeds ± half a 95 % interval; {DASH}: the paper prints no such number"
    ]
    return "\n".join([*text, "", *notes])


def _line(row: pd.Series) -> tuple[str, str, str, str, str]:
    def number(value: float, pm: float) -> str:
        return f"{value:.1f}" + ("" if pd.isna(pm) else f" ± {pm:.1f}")

    theirs = DASH if pd.isna(row["paper"]) else number(row["paper"], row["paper_pm"])
    if not row["n"]:
        return f"  {row['method']}", row["protocol"], theirs, DASH, ""
    form = "" if row["variant"] == "released" else "variant=paper"
    note = ", ".join(filter(None, (form, row["configuration"])))
    ours = f"{number(row['ours'], row['ours_pm'])} (n={row['n']})"
    return f"  {row['method']}", ours, theirs, row["protocol"], note


# --- command line ------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 if a notebook failed, 2 for a wrong argument."""
    root = repository_root()
    parser = argparse.ArgumentParser(prog="python -m relcl_lib.demo", description=__doc__)
    parser.add_argument("names", nargs="*", help="notebooks to run, e.g. hpcr (all)")
    parser.add_argument("--profile", default="quick", choices=("quick", "reduced", "full"))
    parser.add_argument("--out", type=Path, default=root / "runs", help="folder for output (runs)")
    parser.add_argument("--notebooks", type=Path, default=root / "notebooks", metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        notebooks = find_notebooks(options.notebooks, options.names)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not notebooks:
        print(f"there are no notebooks in {options.notebooks}: nothing to run")
        return 0
    try:
        failed = {}
        for notebook in notebooks:
            problem = run_notebook(notebook, options.out, options.profile)
            if problem is not None:
                failed[notebook.stem] = problem
        print(f"\n{summary(collect_records([None, options.out / 'results']))}")
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C; what had finished is kept", file=sys.stderr)
        return 130
    except (RecordError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, problem in failed.items():
        print(f"\n{name} FAILED: {problem}")
    return 1 if failed else 0
