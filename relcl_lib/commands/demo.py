"""Run every notebook in its quick profile, then print what the papers claim, with verdicts.

`python -m relcl_lib demo` runs all of `notebooks/`, in the quick profile one more at a time than
there are cores; `python -m relcl_lib demo hpcr` runs one. Executed copies and their logs go to
`runs/notebooks/`. A notebook that fails is named with its cell and error, the others go on, and the
exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relcl_lib.lab.command_line import parse, place
from relcl_lib.lab.files import existing_folder, repository_root
from relcl_lib.papers.registry import PAPERS

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record

#: seconds after which a running notebook says where it is
SAID_EVERY = 15
#: seconds that a notebook counts which is no paper's
OTHER_SECONDS = 60
#: what papermill's log says when a cell begins
_CELL = re.compile(r"Executing Cell (\d+)-+$")


def kernel_environment(threads: int = 1) -> dict[str, str]:
    """The environment of a notebook's kernel, which shares the cores with other kernels.

    Threads that outnumber the cores spend their time waiting for one another: one each by default.
    """
    paths = [str(repository_root()), os.environ.get("PYTHONPATH", "")]
    numbers = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(numbers, str(threads)),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "RELCL_HEADLESS": "1",
        # A user's own kernel named python3 would come first, and lack the packages.
        "JUPYTER_PREFER_ENV_PATH": "1",
        # The kernel starts in notebooks/, where the package of a bare checkout is not in sight.
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONIOENCODING": "utf-8",
    }


def find_notebooks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of a folder, or those named (with or without `.ipynb`), the longest first."""
    found = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    wanted = [name.removesuffix(".ipynb") for name in names] or list(found)
    if unknown := [name for name in wanted if name not in found]:
        raise ValueError(
            f"no notebook is named {', '.join(unknown)}; there are: {', '.join(found) or 'none'}"
        )
    return [found[name] for name in sorted(dict.fromkeys(wanted), key=_seconds, reverse=True)]


def _seconds(name: str) -> int:
    """What a notebook usually takes."""
    return PAPERS[name].seconds if name in PAPERS else OTHER_SECONDS


class Execution:
    """One notebook being executed by papermill in a process of its own; the file is only read.

    The executed copy and the log go to `out/notebooks/`. `given` are the notebook's parameters,
    `threads` those of its kernel.
    """

    def __init__(self, notebook: Path, out: Path, given: Mapping[str, str], threads: int = 1):
        self.name = notebook.stem
        self.cells = len(json.loads(notebook.read_text(encoding="utf-8"))["cells"]) + bool(given)
        self.cell, self.doing = 0, ""
        self.copy = (out / "notebooks" / notebook.name).resolve()
        self.log = self.copy.with_suffix(".log")
        self.copy.parent.mkdir(parents=True, exist_ok=True)
        self.copy.unlink(missing_ok=True)  # the errors of an earlier run are not this one's
        command = [sys.executable, "-m", "papermill", str(notebook.resolve()), str(self.copy)]
        command += ["--kernel", "python3", "--cwd", str(notebook.resolve().parent)]
        command += ["--no-progress-bar", "--log-output", "--start-timeout", "180"]
        command += [word for name, value in given.items() for word in ("-r", name, value)]
        self.began = time.monotonic()
        # What Jupyter's parts say to each other stays in the log. In a session of its own it does
        # not see Ctrl-C: this process does, and stops it.
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command,
                env=kernel_environment(threads),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.lines = self.log.open(encoding="utf-8", errors="replace")
        print(f"{self.name}: started", flush=True)

    def is_running(self) -> bool:
        """Whether it has not ended; reads in its log where it is."""
        running = self.process.poll() is None
        for line in self.lines:
            if found := _CELL.search(line):
                self.cell, self.doing = int(found[1]), ""
            elif (shown := line.rstrip().rpartition("\r")[2]).startswith(f"[{self.name}] "):
                self.doing = shown.replace(f"[{self.name}]", ":", 1)
        return running

    @property
    def share(self) -> float:
        """The share of its cells that is done."""
        return max(self.cell - 1, 0) / self.cells

    @property
    def place(self) -> str:
        """Where it is."""
        return f"{self.name}: cell {self.cell} of {self.cells}{self.doing}"

    def problem(self) -> str | None:
        """Say how it ended; returns what went wrong, None if nothing did."""
        seconds = f"{time.monotonic() - self.began:.0f} s"
        if not self.process.returncode:
            print(f"{self.name}: done in {seconds}", flush=True)
            return None
        code = self.process.returncode
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else last_line(self.log)
        problem = failure_in(self.copy) or how or f"exit code {code}"
        print(f"{self.name}: FAILED after {seconds}: {problem}\n  see {self.copy}", flush=True)
        return problem

    def stop(self) -> None:
        """Kill papermill, the kernel, and what that has started."""
        import psutil  # which ipykernel brings

        self.lines.close()
        if self.process.poll() is None:
            parent = psutil.Process(self.process.pid)
            for process in (*parent.children(recursive=True), parent):
                process.kill()
            self.process.wait()


def run_all(
    notebooks: Sequence[Path],
    out: Path,
    given: Mapping[str, str],
    figures: Path,
    *,
    jobs: int,
    threads: int = 1,
) -> dict[str, str]:
    """Execute notebooks, `jobs` at a time; returns what went wrong in those that failed.

    The first picture that one of them leaves in the folder `figures` is named at once.
    """
    waiting, running, failed = list(notebooks), [], {}
    began, pictures, said = time.time(), [], time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Execution(waiting.pop(0), out, given, threads))
            time.sleep(0.2)
            if not pictures and (pictures := _pictures_since(began, figures)):
                print(f"the first figure: {os.path.relpath(pictures[0])}", flush=True)
            for execution in [each for each in running if not each.is_running()]:
                running.remove(execution)
                execution.stop()
                if problem := execution.problem():
                    failed[execution.name] = problem
            if running and time.monotonic() - said >= SAID_EVERY:
                said = time.monotonic()
                left = time_left(time.time() - began, notebooks, waiting, running)
                print("\n".join([*(each.place for each in running), left]), flush=True)
    finally:
        for execution in running:
            execution.stop()
    found = len(_pictures_since(began, figures))
    print(f"figures: {found} new ones in {os.path.relpath(figures)}")
    return failed


def time_left(
    seconds: float,
    notebooks: Sequence[Path],
    waiting: Sequence[Path],
    running: Sequence[Execution],
) -> str:
    """How long it has taken, and how long the rest takes at this pace.

    A notebook counts as much as it usually takes, a running one by the share of its cells.
    """
    weight = {path.stem: _seconds(path.stem) for path in notebooks}
    rest = sum(weight[path.stem] for path in waiting)
    rest += sum(weight[each.name] * (1 - each.share) for each in running)
    done = sum(weight.values()) - rest
    ended = len(notebooks) - len(waiting) - len(running)
    told = f"{ended} of {len(notebooks)} done after {seconds:.0f} s"
    return f"{told}, about {seconds * rest / done:.0f} s left" if done else told


def _pictures_since(began: float, folder: Path) -> list[Path]:
    dated = [(path.stat().st_mtime, path) for path in folder.glob("*.png")]
    return [path for written, path in sorted(dated) if written >= began]


def failure_in(copy: Path) -> str | None:
    """Which cell of an executed notebook stopped and why; None if no cell did."""
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
    """The last line of a log that says anything."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


# --- the closing table -------------------------------------------------------------------------


def closing_table(records: Sequence[Record]) -> str:
    """What the papers claim: how many claims have which verdict, then those that are decided."""
    from relcl_lib.lab.claims import (
        CONTRADICTED,
        COUNTED,
        SUPPORTED,
        counted,
        first_lines,
        verdicts_of,
    )
    from relcl_lib.lab.format import aligned

    found = {paper.title: verdicts_of(name, records) for name, paper in PAPERS.items()}
    lines = ["What the papers claim, judged by the committed records:", ""]
    lines += [aligned(COUNTED, counted(found)), ""]
    indent = {"subsequent_indent": "    ", "break_on_hyphens": False}
    for title, verdicts in found.items():
        lines.append(title)
        first = first_lines(verdicts)
        for kind in (SUPPORTED, CONTRADICTED):
            for verdict in (each for each in first if each.verdict == kind):
                text = f"  {kind} ({verdict.scale}): {verdict.claim.text}"
                lines += textwrap.wrap(text, 100, **indent)
        open_yet = sum(each.verdict not in (SUPPORTED, CONTRADICTED) for each in first)
        lines.append(f"  open: {open_yet}")
    return "\n".join(lines)


def where_next(out: Path, figures: Path) -> str:
    """Where a newcomer looks after the demo."""
    places = {
        os.path.relpath(figures): "the pictures that were drawn",
        os.path.relpath(out / "notebooks"): "the notebooks as they ran",
        "RESULTS.md": "every claim with its numbers, every table beside the paper's",
        "make lab": "the lessons, to change and run again",
        "python -m relcl_lib claims hpcr": "the claims of a paper, and what would test the open ones",
    }
    width = max(map(len, places))
    return "\n".join(["Where next:", *(f"  {p:{width}}  {what}" for p, what in places.items())])


# --- command line ------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, or 1 if a notebook failed."""
    root = repository_root()
    parser = argparse.ArgumentParser(
        prog="python -m relcl_lib demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="notebooks to run, e.g. hpcr (all)")
    parser.add_argument("--profile", default="quick", choices=("quick", "reduced", "full"))
    parser.add_argument("--jobs", type=int, help="notebooks at a time (quick: cores + 1; else 2)")
    parser.add_argument("--out", type=place, default=root / "runs", help="folder for output (runs)")
    folder = {"type": existing_folder, "default": root / "notebooks", "metavar": "FOLDER"}
    parser.add_argument("--notebooks", **folder)
    options = parse(parser, arguments)
    notebooks = find_notebooks(options.notebooks, options.names)
    if not notebooks:
        print(f"there are no notebooks in {options.notebooks}: nothing to run")
        return 0
    from joblib import cpu_count

    from relcl_lib.lab.notebook import OTHER, QUICK
    from relcl_lib.lab.records import read_records

    quick, out = options.profile == "quick", options.out.resolve()
    given = {} if quick else {"profile": options.profile}
    usual = QUICK if quick else OTHER
    figures, results = root / usual["figures"], root / usual["results"]
    if out != (root / "runs").resolve():  # where a notebook puts everything by itself
        figures, results = out / "figures", out / "results"
        given |= {"figures": str(figures), "results": str(results), "work_dir": str(out / "work")}
    # Only the larger networks of the other profiles are worth more than one thread. Of the quick ones
    # one more than cores runs, or a core would stand idle while another has the last lesson.
    cores = cpu_count()
    jobs = max(1, options.jobs or (cores + 1 if quick else min(2, cores)))
    threads = 1 if quick else max(1, cores // jobs)
    failed = run_all(notebooks, out, given, figures, jobs=jobs, threads=threads)
    print(f"\n{closing_table(read_records())}\n\n{where_next(out, figures)}")
    for name, problem in failed.items():
        print(f"\n{name} FAILED: {problem}")
    return 1 if failed else 0
