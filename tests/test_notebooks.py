"""The notebooks: their form, and each run whole in its quick profile."""

import importlib
import inspect
import json
import operator
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import notebook_rules
import papermill
import pytest
from nbformat import v4
from whole import WHOLE, in_ci

from relcl_lib.commands.demo import failure_in, kernel_environment
from relcl_lib.papers.registry import PAPERS

ROOT = Path(__file__).resolve().parents[1]
#: not every one that lies there: a reader's own copies are theirs
NOTEBOOKS = [ROOT / "notebooks" / f"{name}.ipynb" for name in sorted(PAPERS)]
SECONDS = float(os.environ.get("RELCL_NOTEBOOK_SECONDS", 120))

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_form(notebook):
    assert notebook_rules.complaints(notebook) == []


#: what `relcl_lib.lab.notebook.source` shows
SHOWN = re.compile(r"`(relcl_lib[\w.]*)`, `([\w.]+)`:\n\n```python\n(.*?)\n```", re.DOTALL)


@each_notebook
def test_stored_code_is_that_of_today(notebook):
    cells = notebook_rules.code_cells(nbformat.read(notebook, 4))
    outputs = [output.get("data", {}) for cell in cells for output in cell.outputs]
    blocks = [block for data in outputs for block in SHOWN.findall(data.get("text/markdown", ""))]
    assert len(blocks) >= 5
    for module, name, shown in blocks:
        thing = operator.attrgetter(name)(importlib.import_module(module))
        today = [line.strip() for line in inspect.getsource(thing).splitlines()]
        lines = [line.strip() for line in shown.splitlines()]
        places = range(len(today) - len(lines) + 1)
        told = f"{notebook.stem} shows an earlier {module}.{name}: execute it anew"
        assert any(today[at : at + len(lines)] == lines for at in places), told


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        env=kernel_environment(),
        capture_output=True,
        text=True,
        timeout=10 * SECONDS,
    )


def snapshot():
    """Name, size and time of every file that a notebook could have written by mistake."""
    folders = ("notebooks", "figures", "data/results")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


#: Outside CI fewer seeds and epochs than the quick profile's: every cell runs, and no output that
#: is compared depends on them. The lessons' own runs take the first of the profile's seeds.
FEWER = {
    "crecl": {
        "seeds": [2021, 2121],
        "train_limit": 8,
        "epochs_classification": 2,
        "epochs_current": 1,
        "epochs_memory": 1,
    },
    "docre_ii": {"stage1_epochs": 1, "alone_epochs": 1},
    "drl": {"seeds": [0, 1], "epochs": 1},
    "fastre": {"seeds": [0, 1], "epochs": 1},
    "hpcr": {"seeds": [0, 1, 2]},
}


@pytest.mark.slow
@each_notebook
def test_runs_whole_and_shows_what_it_showed(notebook, tmp_path):
    """Executed once, by nbval, which compares the outputs that must not change as it goes."""
    given = {name: str(tmp_path / name) for name in ("results", "figures", "work_dir")}
    given |= {} if WHOLE else FEWER[notebook.stem]
    before, copy = snapshot(), tmp_path / notebook.name
    papermill.execute_notebook(notebook, copy, given, prepare_only=True, progress_bar=False)
    options = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", 10 * SECONDS)
    done = run("pytest", "-q", "-p", "no:cacheprovider", "--maxfail=3", *options, copy)
    assert done.returncode == 0, done.stdout[-6000:]
    assert snapshot() == before, "the notebook wrote outside the folders it was given"
    assert any((tmp_path / "results").rglob("*.json"))
    assert any((tmp_path / "figures").glob("*.png"))


@pytest.mark.slow
@in_ci
@pytest.mark.parametrize(
    "name, case, given",
    [
        # no sentence of three triples
        ("fastre", "casrel_dev_triples", {"epochs": 1, "seeds": [0, 1]}),
        # two relations
        ("crecl", "bom_fewrel", {"n_tasks": 2, "epochs_memory": 1, "seeds": [2021, 2121]}),
        ("docre_ii", "split_without_a_pair", {"stage1_epochs": 1, "alone_epochs": 1}),
    ],
)
def test_runs_whole_on_small_data_of_ones_own(name, case, given, tmp_path):
    given |= {kind: str(tmp_path / kind) for kind in ("results", "figures", "work_dir")}
    given |= {"dataset": "fewrel" if name == "crecl" else "mine"}
    given |= {"data_root": str(ROOT / "tests" / "cases" / case)}
    fixed = ("--kernel", "python3", "--no-progress-bar", "--cwd", ROOT / "notebooks")
    copy = tmp_path / "executed.ipynb"
    parameters = ("--parameters_yaml", json.dumps(given))
    done = run("papermill", ROOT / "notebooks" / f"{name}.ipynb", copy, *fixed, *parameters)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_misspelt_parameter_stops_the_run(tmp_path):
    copy, given = tmp_path / "executed.ipynb", ("-r", "seeed", "1")
    fixed = ("--kernel", "python3", "--no-progress-bar", "--cwd", NOTEBOOKS[0].parent)
    assert run("papermill", NOTEBOOKS[0], copy, *fixed, *given).returncode != 0
    problem = failure_in(copy)
    assert "seeed" in problem
    assert "seeds" in problem
    assert "profile" in problem


# --- the rules themselves ----------------------------------------------------------------------


def stream(text):
    return v4.new_output("stream", text=text)


ERROR = v4.new_output("error", ename="E", evalue="", traceback=[])
#: complaint -> what makes a good notebook deserve it; code cell 0 holds the parameters
SPOILT = {
    "python3 everywhere": lambda n, code: n.metadata.kernelspec.update(name="my-env"),
    "widget state": lambda n, code: n.metadata.update(widgets={}),
    "not tagged": lambda n, code: code[0].metadata.update(tags=[]),
    "line 1: not name = literal": lambda n, code: code[0].update(source="twice = 2 * seeds"),
    "misreads a comment": lambda n, code: code[0].update(source="n = 1  # or n = 2"),
    "an error is stored": lambda n, code: code[1].outputs.append(ERROR),
    "top to bottom": lambda n, code: code[3].update(execution_count=None),
    "a path of one": lambda n, code: code[2].outputs.append(stream("in /home/" + "ada/x")),
    "3: a path of one": lambda n, code: n.cells[3].update(source='root = "~' + '/data"'),
    "26 lines": lambda n, code: code[3].update(source="\n".join("x" * 26)),
    "11 lines beside its imports": lambda n, code: code[3].update(
        source="\n".join(["import math", *"x" * 11])
    ),
    "not 25 to 65": lambda n, code: n.update(cells=n.cells[:20]),
    "by a solution alone": lambda n, code: (
        next(c for c in code if "solution" in notebook_rules.tags(c)).update(source="solved = 42"),
        code[3].update(source="print(solved)"),
    ),
    "not folded": lambda n, code: [c.metadata.pop("jupyter", None) for c in code],
    "no cell is tagged 'solution'": lambda n, code: [c.metadata.update(tags=[]) for c in n.cells],
    "bytes, more than": lambda n, code: n.cells[0].update(source="x" * notebook_rules.MOST_BYTES),
}


@pytest.mark.parametrize("expected", SPOILT)
def test_rules_find(tmp_path, expected):
    notebook, path = nbformat.read(NOTEBOOKS[0], 4), tmp_path / "spoilt.ipynb"
    SPOILT[expected](notebook, notebook_rules.code_cells(notebook))
    path.write_text(json.dumps(notebook))
    assert any(expected in complaint for complaint in notebook_rules.complaints(path))


def test_relative_paths_and_addresses_are_no_machine_paths():
    for text in ("../data/x", "https://a.org/home/b", "runs/work/x", "a/tmp/b", "1/2"):
        assert not notebook_rules.MACHINE_PATH.search(text)
