"""A lesson in JupyterLab, in a browser: run all, misspell a parameter, correct it, run again."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import browser
import pytest

from relcl_lib.commands.demo import kernel_environment

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 4 * float(os.environ.get("RELCL_NOTEBOOK_SECONDS", 120))
PROGRESS = "task 1/"
#: every cell stays in the page, whether one sees it or not
SETTINGS = {"@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"}}
OPTIONS = ("--no-browser", "--allow-root", "--LabApp.news_url=None", "--IdentityProvider.token=")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing()),
]


def beginning_of(notebook):
    """The notebook without outputs, to the first cell that tells of a training's progress."""
    whole = json.loads(notebook.read_text("utf-8"))
    trains = [PROGRESS in json.dumps(cell.get("outputs")) for cell in whole["cells"]].index(True)
    whole["cells"] = whole["cells"][: trains + 1]
    for cell in whole["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return whole


@pytest.fixture
def address(tmp_path):
    """JupyterLab on a notebook of its own: the true first cells of HPCR's lesson."""
    notebook = beginning_of(ROOT / "notebooks" / "hpcr.ipynb")
    folder, settings = tmp_path / "lesson", tmp_path / "settings"
    folder.mkdir()
    (folder / "hpcr.ipynb").write_text(json.dumps(notebook), "utf-8")
    for name, values in SETTINGS.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        name: str(tmp_path / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
    }
    # What a run without a reader does not show is what is looked at here.
    environment = {k: v for k, v in kernel_environment().items() if k != "RELCL_HEADLESS"}
    options = (*OPTIONS, f"--port={port}", f"--LabApp.user_settings_dir={settings}")
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options, f"--ServerApp.root_dir={folder}"],
            cwd=folder,
            env={**environment, **own},
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/api"), 120, lambda: (tmp_path / "log").read_text()[-2000:])
        yield f"{url}/lab/tree/hpcr.ipynb?reset"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(url):
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        return urllib.request.urlopen(url, timeout=5).status == 200
    return False


def until(true, seconds, what):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


class Lab:
    """What a reader does in JupyterLab, and sees."""

    def __init__(self, page):
        self.page = page
        self.cells = page.locator(".jp-Notebook .jp-CodeCell")

    def states(self):
        """The number before each code cell: empty before it runs, * while it waits or runs."""
        prompts = self.page.locator(".jp-CodeCell .jp-InputArea-prompt").all_inner_texts()
        return [prompt.strip(" []:") for prompt in prompts]

    def printed(self):
        return self.page.locator(".jp-Notebook .jp-OutputArea-output").all_inner_texts()

    def edit(self, source):
        self.cells.first.locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def run_all(self):
        """Run every cell; returns whether progress was seen before the last cell had ended."""
        before = self.states()
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        until(lambda: self.states()[0] != before[0], 60, self.states)
        seen = []

        def ended():
            states, printed = self.states(), "\n".join(self.printed())
            if "*" in states:
                seen.append(PROGRESS in printed)
            return "*" not in states

        until(ended, SECONDS, lambda: (self.states(), self.printed()))
        return any(seen)


def test_a_lesson_runs_in_jupyterlab_and_a_misspelt_parameter_is_corrected_there(address, tmp_path):
    given = {name: str(tmp_path / name) for name in ("results", "figures", "work_dir")}
    parameters = ['profile = "quick"', "seeds = [0]", "buffer_size = 30"]
    parameters += [f"{name} = {folder!r}" for name, folder in given.items()]
    right = "\n".join(parameters)
    with browser.opened() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        lab = Lab(page)
        lab.cells.first.wait_for(timeout=120_000)
        page.get_by_text("Python 3", exact=False).first.wait_for(timeout=60_000)

        lab.edit(right)
        assert lab.run_all(), "no progress before the end"
        first = lab.states()
        assert all(first), "every cell has run"
        assert any("memory 30, seeds [0]" in text for text in lab.printed())

        lab.edit(right.replace("buffer_size", "bufer_size"))
        assert not lab.run_all()
        [problem] = [text for text in lab.printed() if "bufer_size" in text]
        assert "buffer_size" in problem
        assert len(problem.splitlines()) <= 6 and "Traceback" not in problem

        lab.edit(right.replace("30", "40"))
        assert lab.run_all()
        assert all(lab.states())
        assert any("memory 40, seeds [0]" in text for text in lab.printed())
        assert not any("bufer_size" in text for text in lab.printed())
        assert page.locator(".jp-Dialog, .jp-Notification-Toast").count() == 0
