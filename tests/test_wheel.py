"""The wheel is whole: installed alone, it finds its data and trains, and writes where one works."""

import importlib.metadata
import os
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from whole import in_ci

import relcl_lib
from relcl_lib.lab.files import repository_root

pytestmark = pytest.mark.slow
SOURCES = ("relcl_lib", "data", "pyproject.toml", "setup.py", "README.md", "LICENSE")

READ = """
import sys
from importlib.resources import files
from pathlib import Path
import relcl_lib
from relcl_lib.data.documents import load_documents
from relcl_lib.data.images import load_images
from relcl_lib.data.sentences import load_sentences
from relcl_lib.data.triples import load_triples
from relcl_lib.lab.claim_files import read_claims
from relcl_lib.lab.files import packaged_data, repository_root
from relcl_lib.lab.rows import entries
from relcl_lib.text.pretrained import load_encoder
from relcl_lib.text.schema import paper_schema

installed = Path(relcl_lib.__file__).parent
assert (packaged_data(), repository_root()) == (installed / "_data", Path.cwd())
print(installed)
assert len(load_images("digits").train_labels) == 1400
assert load_sentences("synthetic").fingerprint == "bdf0e86879965ec0"
assert load_triples("synthetic").fingerprint == "eb18065a37e50d17"
assert load_documents("synthetic", generated=160).sizes["train"] == 400
assert len(load_encoder("tiny")[0]) > 500
assert paper_schema("nyt24").source == "paper" and paper_schema("synthetic").source == "generated"
papers = ("crecl", "docre_ii", "drl", "fastre", "hpcr")
assert all(read_claims(p) and entries(p) for p in papers)
# Only more documents than are committed need the generator.
assert not any(name.startswith("relcl_lib.worlds.") for name in sys.modules)
"""
TRAIN = """
from relcl_lib.commands.sweep import run_cell
from relcl_lib.lab.records import read_records

cells = {
    "crecl": {"dataset": "synthetic", "method": "CRECL", "n_tasks": 2, "train_limit": 2}
    | {f"epochs_{phase}": 1 for phase in ("warmup", "classification", "current", "memory")},
    "docre_ii": {"dataset": "synthetic", "method": "DocRE-II", "train_limit": 4}
    | {"stage1_epochs": 1, "stage2_epochs": 1},
    "drl": {"dataset": "digits", "method": "BER", "track": "NI", "limit": 10},
    # Fewer sentences leave it at random weights, which find spans everywhere.
    "fastre": {"dataset": "synthetic", "method": "FastRE", "train_limit": 400, "epochs": 2},
    "hpcr": {"dataset": "digits", "method": "ER", "stream_batch": 100},
}
for paper, cell in cells.items():
    outcome = run_cell(paper, {"profile": "quick", "seeds": [1], **cell}, None, "runs", 1)
    assert outcome.startswith("done"), outcome
assert {record.paper for record in read_records("data/results")} == set(cells)
"""
#: what the extras bring; a plain installation has none of it
EXTRAS = {
    "notebooks": {"jupyterlab", "ipykernel", "papermill"},
    "ray": {"ray"},
    "timm": {"timm"},
    "site": {"sphinx", "myst-nb", "furo", "sphinx-mathjax-offline"},
    "test": {"pytest", "pytest-xdist", "hypothesis", "nbval", "nbstripout", "ruff", "relcl"},
}
IMPORT_ALL = """
import importlib, pkgutil, sys

absent = ("IPython", "jupyterlab", "ipykernel", "papermill", "nbformat", "nbclient", "jupyter_client")
sys.modules |= dict.fromkeys((*absent, "ray", "timm", "pytest"))
import relcl_lib

for module in pkgutil.walk_packages(relcl_lib.__path__, "relcl_lib."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A wheel of the committed files, built and installed without anything it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    root, source, site = repository_root(), folder / "source", folder / "site"
    listed = subprocess.run(
        ["git", "ls-files", "-z", *SOURCES], cwd=root, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (root / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((root / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["-q", "--no-deps", "--no-index"]
    for command in (
        ["wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(source)],
        ["install", *offline, "--target", str(site), "--find-links", str(folder), "relcl"],
    ):
        done = subprocess.run([*pip, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return site


def run(code, site, folder):
    environment = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}
    environment.pop("RELCL_DATA", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_wheel_reads_its_data(installed, tmp_path):
    done = run(READ, installed, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(installed / "relcl_lib")]


def test_an_installed_wheel_needs_no_jupyter(installed, tmp_path):
    [relcl] = importlib.metadata.distributions(name="relcl", path=[str(installed)])
    assert relcl.version == relcl_lib.__version__
    assert [script.value for script in relcl.entry_points] == ["relcl_lib.__main__:main"]
    needed = [Requirement(line) for line in relcl.requires]
    of = {extra: set() for extra in relcl.metadata.get_all("Provides-Extra")}
    for requirement in needed:
        for extra in of:
            if requirement.marker and requirement.marker.evaluate({"extra": extra}):
                of[extra].add(requirement.name)
    assert of == EXTRAS
    plain = {requirement.name for requirement in needed if not requirement.marker}
    assert "torch" in plain and not plain & set().union(*EXTRAS.values())
    done = run(IMPORT_ALL, installed, tmp_path)
    assert done.returncode == 0, done.stderr


@in_ci
def test_an_installed_wheel_trains_every_paper_and_writes_where_one_works(installed, tmp_path):
    before = {path for path in installed.rglob("*") if path.suffix != ".pyc"}
    done = run(TRAIN, installed, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    after = {path for path in installed.rglob("*") if path.suffix != ".pyc"}
    assert {path for path in after - before if path.name != "__pycache__"} == set()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "runs"}
