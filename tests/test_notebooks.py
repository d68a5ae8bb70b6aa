"""The notebooks: their form, and each run whole in its quick profile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import notebook_rules
import papermill
import pytest
from nbformat import v4

from relcl_lib.commands.demo import failure_in, kernel_environment

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = float(os.environ.get("RELCL_NOTEBOOK_SECONDS", 120))

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_form(notebook):
    assert notebook_rules.complaints(notebook) == []


def run(*words, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=cwd,
        env=kernel_environment(),
        capture_output=True,
        text=True,
        timeout=10 * SECONDS,
    )


def execute(notebook, copy, given):
    words = [word for name, value in given.items() for word in ("-r", name, value)]
    fixed = ("--kernel", "python3", "--no-progress-bar", "--cwd", notebook.parent)
    return run("papermill", notebook, copy, *fixed, *words)


def snapshot():
    """Name, size and time of every file that a notebook could have written by mistake."""
    folders = ("notebooks", "figures", "data/results")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.slow
@each_notebook
def test_runs_whole_and_shows_what_it_showed(notebook, tmp_path):
    given = {name: str(tmp_path / name) for name in ("results", "figures", "work_dir")}
    before, copy = snapshot(), tmp_path / "executed.ipynb"
    done = execute(notebook, copy, given)
    assert done.returncode == 0, failure_in(copy) or done.stderr[-3000:]
    assert snapshot() == before, "the notebook wrote outside the folders it was given"
    # Once more under nbval, with the records of the first run, so that little is trained again.
    checked = tmp_path / notebook.name
    papermill.execute_notebook(notebook, checked, given, prepare_only=True, progress_bar=False)
    options = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", 10 * SECONDS)
    done = run("pytest", "-q", "-p", "no:cacheprovider", *options, checked, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
    assert snapshot() == before


@pytest.mark.slow
@each_notebook
def test_misspelt_parameter_stops_the_run(notebook, tmp_path):
    copy = tmp_path / "executed.ipynb"
    done = execute(notebook, copy, {"seeed": "1"})
    assert done.returncode != 0
    problem = failure_in(copy)
    assert "seeed" in problem
    assert "seeds" in problem
    assert "profile" in problem


# --- the rules themselves ----------------------------------------------------------------------


def small_notebook():
    """A notebook that follows every rule."""
    first = v4.new_code_cell('seeds = [0]  # one run each\nprofile = "quick"')
    first.metadata["tags"] = ["parameters"]
    last = v4.new_code_cell("6 * 7", metadata={"tags": ["solution"]})
    cells = [
        v4.new_markdown_cell("# Title"),
        first,
        *(v4.new_code_cell("1 + 1") for _ in range(23)),
    ]
    cells.append(last)
    for count, cell in enumerate([cell for cell in cells if cell.cell_type == "code"], 1):
        cell.execution_count = count
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def complain(tmp_path, notebook):
    path = tmp_path / "small.ipynb"
    path.write_text(json.dumps(notebook))
    return notebook_rules.complaints(path)


def test_rules_accept_a_good_notebook(tmp_path):
    assert complain(tmp_path, small_notebook()) == []


def printed(text):
    return v4.new_output("stream", text=text)


SPOILT = {
    "python3 everywhere": lambda n: n.metadata.kernelspec.update(name="my-env"),
    "widget state": lambda n: n.metadata.update(widgets={}),
    "not tagged": lambda n: n.cells[1].metadata.update(tags=[]),
    "line 1: not name = literal": lambda n: n.cells[1].update(source="twice = 2 * seeds"),
    "misreads a comment": lambda n: n.cells[1].update(source="n = 1  # or n = 2"),
    "an error is stored": lambda n: n.cells[2].outputs.append(
        v4.new_output("error", ename="E", evalue="", traceback=[])
    ),
    "top to bottom": lambda n: n.cells[3].update(execution_count=None),
    "output of cell 2: a path": lambda n: n.cells[2].outputs.append(printed("in /home/" + "ada/x")),
    "cell 3: a path": lambda n: n.cells[3].update(source='root = "~' + '/data"'),
    "26 lines": lambda n: n.cells[3].update(source="\n".join("x" * 26)),
    "not 25 to 60": lambda n: n.cells.pop(2),
    "no cell is tagged 'solution'": lambda n: n.cells[-1].metadata.update(tags=[]),
    "bytes, more than": lambda n: n.cells[0].update(source="x" * notebook_rules.MOST_BYTES),
}


@pytest.mark.parametrize("expected", SPOILT)
def test_rules_find(tmp_path, expected):
    notebook = small_notebook()
    SPOILT[expected](notebook)
    assert any(expected in complaint for complaint in complain(tmp_path, notebook))


def test_relative_paths_and_addresses_are_no_machine_paths():
    for text in ("../data/x", "https://a.org/home/b", "runs/work/x", "a/tmp/b", "1/2"):
        assert not notebook_rules.MACHINE_PATH.search(text)
