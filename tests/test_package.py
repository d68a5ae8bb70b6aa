"""The repository as a whole: what its pages tell readers to run, and no machine's paths."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from fastre_data import parameters, tiny_data
from notebook_rules import MACHINE_PATH

from relcl_lib.__main__ import SHARED, find, main
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.papers.registry import PAPERS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


# --- README ------------------------------------------------------------------------------------


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


#: words in quotes stand in a notebook's file with a backslash before each quote
COMMAND = re.compile(r'python -m relcl_lib[. ]((?:[^`"#\\\n<>]|\\"[^`"\\\n]*\\")+)')
PAGES = ["README.md", "CONTRIBUTING.md", *(f"notebooks/{paper}.ipynb" for paper in PAPERS)]


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_readers_are_told_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    steps = " && python -m relcl_lib "
    commands = [step for command in COMMAND.findall(text) for step in command.split(steps)]
    found = [shlex.split(command.replace('\\"', '"')) for command in commands]
    assert found or page != "README.md"
    for words in (words for words in found if "--help" not in words):
        command, given = find(words)
        whole = not {"...", "{}", "{name}"} & {*words} and len(given) > 1
        if command is SHARED["sweep"] and whole:
            assert main([*words, "--dry-run"]) == 0, words


def test_readme_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        named = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
        assert set(named) <= set(targets)


def test_readme_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tagger = FastreRun(parameters(), tiny_data(8)).extractor()
    tagger.save("runs/tagger/model")  # which README's `train` leaves there
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


def test_citation_has_the_version():
    from relcl_lib import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


# --- no machine's paths ------------------------------------------------------------------------


def repository_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
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
