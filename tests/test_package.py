"""The repository as a whole: imports, file lengths, the README's commands, no machine's paths."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_rules import MACHINE_PATH

from relcl_lib.commands.demo import kernel_environment

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def python(*words):
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=kernel_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_import_loads_no_torch_and_prints_nothing():
    done = python("-c", "import sys, relcl_lib; sys.exit('torch' in sys.modules)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- README ------------------------------------------------------------------------------------


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def readme_modules():
    return sorted(set(re.findall(r"python -m (relcl_lib\.\w+)", README)))


@pytest.mark.parametrize("module", readme_modules())
def test_readme_modules_explain_themselves(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not there yet")
    done = python("-m", module, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_readme_sweep_is_a_valid_command():
    lines = [line.partition("#")[0].split() for line in "".join(blocks("sh")).splitlines()]
    for words in (line[1:] for line in lines if line[2:3] == ["relcl_lib.commands.sweep"]):
        if importlib.util.find_spec("relcl_lib.commands.sweep") is None:
            pytest.skip("relcl_lib.commands.sweep is not there yet")
        done = python(*words, *([] if "--dry-run" in words else ["--dry-run"]))
        assert done.returncode == 0, done.stderr


def test_readme_make_targets_exist():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        named = re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)
        assert set(named) <= set(targets)


def test_readme_python_runs():
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


def test_readme_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_citation_has_the_version():
    from relcl_lib import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


# --- no machine's paths ------------------------------------------------------------------------


def repository_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_file_names_a_folder_of_somebodys_machine():
    found = []
    for path in repository_files():
        # Notebooks have a check of their own, which leaves images out.
        if not path.is_file() or path.suffix in (".ipynb", ".png", ".npz", ".safetensors"):
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in MACHINE_PATH.finditer(text)]
    assert found == []
