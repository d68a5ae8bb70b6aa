"""Parameters, threads and errors of a notebook: on made-up histories, and in a real kernel."""

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel
from pydantic import Field

from relcl_lib.commands.demo import kernel_environment
from relcl_lib.lab.errors import explains_itself
from relcl_lib.lab.notebook import notebook_parameters, source, written
from relcl_lib.lab.parameters import ParameterError, Parameters
from relcl_lib.papers.crecl.parameters import CreclNotebook
from relcl_lib.papers.docre_ii.parameters import DocreNotebook
from relcl_lib.papers.drl.parameters import DrlNotebook
from relcl_lib.papers.fastre.parameters import FastreNotebook
from relcl_lib.papers.hpcr.parameters import HPCRNotebook

ROOT = Path(__file__).resolve().parents[2]

NOTEBOOKS = {
    "crecl": CreclNotebook,
    "docre_ii": DocreNotebook,
    "drl": DrlNotebook,
    "fastre": FastreNotebook,
    "hpcr": HPCRNotebook,
}


class Small(Parameters):
    alpha: float = 1.0
    seeds: list[int] = Field([0])
    name: str = "x"


PARAMETERS = 'profile = "quick"\nalpha = 0.5  # weight\nseeds: list = [0, 1]'
INJECTED = "# Parameters\nalpha = 2.0"
TYPO = PARAMETERS + "\nnaem = 'y'"
SETUP = "parameters = notebook_parameters(Small, globals())\nfolder = 'out'"


def read(*cells, **values):
    """What setup reads after these cells; their plain lines are carried out."""
    namespace = {}
    for cell in cells:
        if cell != SETUP and not cell.startswith(("%", "!")):
            exec(cell, {"seeds": [0, 1]}, namespace)
    return notebook_parameters(Small, {**namespace, **values, "In": ["", *cells]})


class TestHistory:
    def test_a_parameters_cell(self):
        found = read(PARAMETERS, SETUP)
        assert (found.alpha, found.seeds, found.name) == (0.5, [0, 1], "x")

    def test_an_injected_cell_wins_and_its_typo_stops_the_run(self):
        assert read(PARAMETERS, INJECTED, SETUP).alpha == 2.0
        with pytest.raises(ParameterError, match="'alhpa'; did you mean alpha"):
            read(PARAMETERS, "# Parameters\nalhpa = 2.0", SETUP)

    def test_a_wrong_type_from_outside_stops_the_run(self):
        with pytest.raises(ParameterError, match="parameter alpha"):
            read(PARAMETERS, 'alpha = "2"', SETUP)

    @pytest.mark.parametrize(
        "cells",
        [
            (TYPO, SETUP, PARAMETERS),  # the line deleted
            (TYPO, SETUP, PARAMETERS + "\nname = 'y'"),
            (TYPO, SETUP, SETUP, PARAMETERS),
            (TYPO, PARAMETERS + "\nname = 'y'"),  # corrected before setup ran
            (TYPO, INJECTED, SETUP, PARAMETERS),
            (TYPO, INJECTED, SETUP, PARAMETERS, INJECTED),
            (PARAMETERS, "naem = 'y'", "name = 'y'"),  # in a cell of its own
            (PARAMETERS, "naem = 'y'", SETUP, "name = 'y'"),
            (PARAMETERS, "naem = 'y'", SETUP, PARAMETERS),  # that cell deleted
            (PARAMETERS, INJECTED + "\nnaem = 'y'", SETUP, INJECTED),
            (TYPO, SETUP, TYPO + "\nother = 1", SETUP, PARAMETERS),
        ],
    )
    def test_a_corrected_typo_is_gone(self, cells):
        value = "y" if any("name =" in cell for cell in cells) else "x"
        assert read(*cells, SETUP).name == value

    @pytest.mark.parametrize(
        "cells",
        [
            (TYPO, SETUP),
            (TYPO, SETUP, "k = 3"),
            (TYPO, SETUP, PARAMETERS, SETUP, TYPO),
            (PARAMETERS, "naem = 'y'", SETUP),
            (TYPO, INJECTED),
            (PARAMETERS, SETUP, "alpha = 0.7\nnaem = 'y'"),
            (TYPO, SETUP, PARAMETERS + "\nnaem = 'z'"),
            (PARAMETERS, SETUP, "naem = 'y'"),
            (PARAMETERS, SETUP, "naem = str(1)"),
            ("import os\nseeds = list(range(2))\nnaem = 'y'", SETUP),
            (PARAMETERS, "naem = str(1)", SETUP),
            (PARAMETERS, SETUP, PARAMETERS + "\nnaem = str(1)\nprint(naem)"),
        ],
    )
    def test_one_that_stays_is_said_each_time_with_the_way_out(self, cells):
        with pytest.raises(ParameterError, match=r"'naem'; did you mean name(.|\n)*run that cell"):
            read(*cells, SETUP)

    def test_a_deleted_line_no_longer_counts(self):
        wider = PARAMETERS + "\nname = 'y'"
        assert read(wider, SETUP, PARAMETERS, SETUP).name == "x"
        assert read(wider, INJECTED, SETUP, PARAMETERS, SETUP).name == "x"

    def test_what_other_cells_set_stays(self):
        assert read(PARAMETERS, "name = 'y'", SETUP, PARAMETERS, SETUP).name == "y"
        assert read(PARAMETERS, INJECTED + "\nname = 'y'", SETUP, PARAMETERS, SETUP).name == "y"
        all_but_one = "# Parameters\nalpha = 2.0\nseeds = [3]"
        found = read(PARAMETERS.replace("profile", "name"), all_but_one, SETUP)
        assert (found.name, found.seeds) == ("quick", [3])

    def test_setup_may_run_again_after_other_cells(self):
        cells = (PARAMETERS, SETUP, "alpha * 2", "folder = 'out'\nprint(folder)", SETUP)
        assert read(*cells[:2], *cells[3:], folder="out").alpha == 0.5
        edited = PARAMETERS.replace("0.5", "0.7")
        assert read(PARAMETERS, SETUP, "result = 3", SETUP, edited, SETUP).alpha == 0.7

    def test_a_later_cell_of_plain_values_is_none_of_ours(self):
        assert read(PARAMETERS, SETUP, "k = 3\ntau = 0.5", SETUP).alpha == 0.5

    @pytest.mark.parametrize(
        "cell",
        [
            "%matplotlib inline",
            "!ls",
            "n = len(seeds)",
            "import os",
            "x, y = 1, 2",
            "y = [seeds]",
            "",
        ],
    )
    def test_cells_that_are_no_parameters(self, cell):
        assert read(PARAMETERS, cell, SETUP).alpha == 0.5

    @pytest.mark.parametrize(
        "line, values",
        [
            ("seeds = list(range(5))", {"seeds": [0, 1, 2, 3, 4]}),
            ("alpha += 5", {"alpha": 5.5}),
            ("name, other = 'y', 1", {"name": "y"}),
            ("if alpha < 1:\n    name = 'y'", {"name": "y"}),
            ("import os\nprint(os.sep)", {}),
            ("seeds.append(7)", {"seeds": [0, 1, 7]}),
        ],
    )
    def test_a_computed_line_counts_and_discards_no_other(self, line, values):
        cell, usual = f"{PARAMETERS}\n{line}", {"alpha": 0.5, "seeds": [0, 1], "name": "x"}
        for cells in ((cell, SETUP), (PARAMETERS, SETUP, cell, SETUP)):
            assert read(*cells).model_dump() == {"profile": "quick", **usual, **values}

    def test_a_computed_value_that_does_not_fit_stops_the_run(self):
        with pytest.raises(ParameterError, match="parameter seeds"):
            read("alpha = 0.5\nseeds = range(5)", SETUP)

    def test_what_a_lesson_puts_in_a_parameters_place_is_none(self):
        lesson = "alpha = print\nalpha(1)"
        assert read(PARAMETERS, SETUP, lesson, SETUP).alpha == 0.5
        assert read(PARAMETERS, SETUP, "name = print", SETUP).name == "x"

    def test_a_name_deleted_since_is_no_parameter(self):
        cells = {"In": ["", "gone = 1", "alpha = 3.0"], "alpha": 3.0}
        assert notebook_parameters(Small, cells).alpha == 3.0

    def test_a_runner_that_keeps_no_history(self):
        kernel = {"In": [""], "Out": {}, "_dh": ["x"], "exit": print, "math": math}
        assert notebook_parameters(Small, {**kernel, "alpha": 2.0, "name": "y"}).alpha == 2.0
        with pytest.raises(ParameterError, match="alhpa"):
            notebook_parameters(Small, {**kernel, "alhpa": 2.0})

    def test_outside_a_notebook(self):
        assert notebook_parameters(Small, {"alpha": 7}).alpha == 1.0


@pytest.mark.parametrize("paper", NOTEBOOKS)
def test_setup_may_run_again_after_a_whole_lesson(paper):
    """The lesson's own names, of any values, are no parameters: setup reads what it read first."""
    cls = NOTEBOOKS[paper]
    cells = json.loads((ROOT / "notebooks" / f"{paper}.ipynb").read_text())["cells"]
    cells = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    namespace = {"In": cells}
    exec(cells[0], namespace)
    first = notebook_parameters(cls, {**namespace, "In": cells[:2]})
    nodes = [node for cell in cells[1:] for node in ast.walk(ast.parse(cell))]
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    assert notebook_parameters(cls, {**namespace, **dict.fromkeys(names, print)}) == first
    # A plain value of such a name would be taken for the parameter's.
    loops = [n.target for n in nodes if isinstance(n, ast.For)]
    held = {n.id for target in loops for n in ast.walk(target) if isinstance(n, ast.Name)}
    literal = ast.Constant | ast.List | ast.Dict
    single = [n for n in nodes if isinstance(n, ast.Assign) and isinstance(n.value, literal)]
    held |= {n.targets[0].id for n in single if isinstance(n.targets[0], ast.Name)}
    assert held.isdisjoint(namespace)


def caught(function, *arguments):
    with pytest.raises(Exception) as found:
        function(*arguments)
    return found.value


def test_an_error_explains_itself_if_a_raise_of_the_library_made_it():
    assert explains_itself(caught(read, TYPO, SETUP))
    assert not explains_itself(caught(int, "x"))
    assert not explains_itself(caught(read, 3))  # Python's, inside this test
    assert not explains_itself(caught(Small.create, 3))  # Python's, inside the library
    assert not explains_itself(ValueError("never raised"))


def test_threads_wait_passively_however_a_notebook_is_started():
    """The setup cell says so before torch is loaded: what torch's OpenMP then found."""
    code = (
        "from relcl_lib.lab.notebook import notebook_parameters\n"
        "from relcl_lib.papers.hpcr.parameters import HPCRNotebook\n"
        "P = notebook_parameters(HPCRNotebook, globals())\n"
        "P.start()\n"
        "import torch\n"
        "print(torch.get_num_threads())\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    for given, found in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**kept, **given, "OMP_DISPLAY_ENV": "true"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "1\n"  # the quick profile's
        if "OMP_WAIT_POLICY" in done.stderr:  # torch was built with an OpenMP that says so
            assert f"OMP_WAIT_POLICY = '{found}'" in done.stderr


@pytest.fixture(scope="module")
def kernel():
    """Send cells to a kernel as JupyterLab does; the text that each shows, its error's last."""
    manager, client = start_new_kernel(
        kernel_name="python3", cwd=str(ROOT / "notebooks"), env=kernel_environment()
    )

    def run(*cells):
        client.execute_interactive("%reset -f", store_history=False)
        shown = []
        for cell in cells:
            said = []

            def hook(message, said=said):
                content = message["content"]
                said.append(content.get("text", ""))
                said.extend(content.get("traceback", []))

            client.execute_interactive(cell, output_hook=hook, timeout=120)
            shown.append("".join(said))
        return shown

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
def test_in_a_kernel_a_corrected_typo_is_gone_and_errors_are_one_box(kernel):
    head = (
        "from relcl_lib.lab.notebook import notebook_parameters\n"
        "from relcl_lib.papers.hpcr.parameters import HPCRNotebook\n"
    )
    setup = head + "P = notebook_parameters(HPCRNotebook, globals())"
    values = 'profile = "reduced"\nseeds = 0\ndevice = None\ndata_root = "no/such/place"'
    load = "from relcl_lib.data.images import load_images\nload_images(P.dataset, P.data_root)"
    cells = [values + "\nbufer_size = 40", setup, setup, values + "\nbuffer_size = 40", setup]
    cells += ["print(P.buffer_size, P.seeds)", load, "%tb", "{}['key']"]
    cells += [values.replace("None", "'gpu'"), setup]
    shown = kernel(*cells)
    assert shown[1] == shown[2]
    assert shown[1].startswith("ParameterError: unknown parameter 'bufer_size'; did you mean")
    assert shown[3:6] == ["", "", "40 [0]\n"]
    assert shown[6].startswith("DataNotFoundError: 'no/such/place' is no folder.")
    assert "Traceback" not in shown[6] and "Traceback" in shown[7] and "Traceback" in shown[8]
    assert shown[10].startswith("ParameterError: parameter device: device='gpu' is not a device")


def test_source_shows_what_is_there_and_names_what_is_not():
    from relcl_lib.lab import metrics

    shown = source(metrics.confidence_interval)
    assert shown.startswith("`relcl_lib.lab.metrics`, `confidence_interval`:\n\n```python\ndef ")
    assert shown.endswith("\n```")
    part = source(metrics.confidence_interval, "if runs == 1", "half = np.full")
    assert part.splitlines()[3:-1] == ["if runs == 1:", "    half = np.full_like(mean, np.nan)"]
    one = source(metrics.confidence_interval, "runs = array", "runs = array")
    assert one.splitlines()[3:-1] == ["runs = array.shape[axis]"]
    for texts in (("no such line",), ("runs = array", "array = _array(values)")):
        with pytest.raises(ValueError, match="no line of confidence_interval has"):
            source(metrics.confidence_interval, *texts)


def test_a_check_calls_what_the_reader_wrote_and_else_the_solution(capsys):
    notebook = {}
    exec("def f(x):\n    pass\n\ndef g(x):\n    return 0", notebook)  # 0 is an answer, None is none
    assert written(notebook["g"], 1) is notebook["g"] and not capsys.readouterr().out
    assert written(notebook["f"], 1) is None  # a handout has no solutions
    assert capsys.readouterr().out == "f returns nothing\n"
    exec("def f_solution(x):\n    return x", notebook)
    assert written(notebook["f"], 1) is notebook["f_solution"]
    assert capsys.readouterr().out == "f returns nothing: the solution is checked\n"
