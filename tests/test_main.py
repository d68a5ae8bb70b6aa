"""The one command: how words find their command, and the old commands that name it."""

import importlib
import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from relcl_lib import __main__ as relcl
from relcl_lib.commands import sweep
from relcl_lib.papers.registry import PAPERS

ROOT = Path(__file__).resolve().parents[1]


def python(*words):
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_importing_the_library_loads_nothing_else_and_prints_nothing():
    """So it takes a millisecond, which no test could measure on a busy machine."""
    code = "import sys; before = {*sys.modules}; import relcl_lib"
    done = python("-c", f"{code}; sys.exit(str({{*sys.modules}} - before - {{'relcl_lib'}}))")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "set()\n")


@pytest.mark.parametrize(
    "words, module, given",
    [
        ("hpcr sweep table3 --jobs 2", "commands.sweep", "hpcr table3 --jobs 2"),
        ("sweep hpcr table3", "commands.sweep", "hpcr table3"),
        ("demo", "commands.demo", ""),
        ("crecl demo", "commands.demo", "crecl"),
        ("figures --out x", "commands.figures", "--out x"),
        ("drl tables", None, "--paper drl"),
        ("fastre train a=1", "papers.fastre.command", "train a=1"),
        ("extract fastre --model m", "papers.fastre.command", "extract --model m"),
        ("crecl learn --model m", "papers.crecl.command", "learn --model m"),
    ],
)
def test_words_find_their_command(words, module, given):
    command, rest = relcl.find(words.split())
    assert rest == given.split()
    if module:
        assert command.module == f"relcl_lib.{module}"


@pytest.mark.parametrize(
    "words, said",
    [
        ("hpcr swep", "'swep' is no command of hpcr; did you mean sweep? There are: sweep,"),
        ("hprc sweep", "'hprc' is no command or paper; did you mean hpcr?"),
        ("hpcr figures", "'figures' is no command of hpcr"),
        ("hpcr train", "'train' is no command of hpcr"),
        ("train", "a command of a paper: python -m relcl_lib fastre train"),
        ("predict", "relcl_lib crecl predict ... or python -m relcl_lib docre_ii predict ..."),
        ("qqq", "'qqq' is no command or paper. There are: sweep,"),
    ],
)
def test_unknown_words_get_the_nearest(words, said, capsys):
    assert relcl.main(words.split()) == 2
    assert said in capsys.readouterr().err


def test_the_overview_names_every_command(capsys):
    assert relcl.main([]) == 2
    assert relcl.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*relcl.SHARED, *PAPERS, "fastre train", "fastre extract"))
    assert relcl.main(["fastre"]) == 2 and relcl.main(["fastre", "-h"]) == 0
    assert "fastre extract" in capsys.readouterr().out
    assert relcl.main(["--version"]) == 0


#: One process for all, so a command is named whose help loads what takes long.
HELP = """
import contextlib, io, sys, time
from relcl_lib.__main__ import main
slow = {"torch", "pandas", "scipy", "sklearn", "matplotlib", "transformers"}
for words in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main([*words.split(), "--help"])
        except SystemExit as end:
            assert not end.code, words
    assert said.getvalue().startswith("usage: python -m relcl_lib"), words
    assert not slow & {*sys.modules}, (words, slow & {*sys.modules})
assert time.process_time() < 5, time.process_time()
"""


def test_help_is_quick_and_loads_no_torch():
    words = ["", *relcl.SHARED, "hpcr", "hpcr sweep", *map(" ".join, relcl.OWN)]
    done = python("-c", HELP, *words)
    assert done.returncode == 0, done.stderr


def test_a_letter_that_the_terminal_lacks_is_written_as_its_number(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    told = SimpleNamespace(main=lambda words: print('"né à \u6771"') or 0)
    monkeypatch.setattr(importlib, "import_module", lambda name: told)
    assert relcl.main(["tables"]) == 0
    text = out.buffer.getvalue().decode("latin-1")
    assert text == '"né à \\u6771"\n' and json.loads(text) == "né à \u6771"


def test_an_error_is_one_line_if_its_message_was_written_for_a_reader(
    tmp_path, monkeypatch, capsys
):
    damaged = tmp_path / "hpcr" / "split_digits" / "0123456789ab.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    assert relcl.main(["tables", "--results", str(tmp_path)]) == 2
    monkeypatch.setattr(
        "relcl_lib.commands.figures.all_figures", lambda: {"one": lambda _: Figure()}
    )
    assert relcl.main(["figures", "--out", str(damaged / "x")]) == 2  # an OSError
    assert relcl.main(["hpcr", "sweep", "table99"]) == 2
    assert relcl.main(["hpcr", "swep"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and all(line.startswith("error: ") for line in lines)

    def broken(words):
        return {}["key"]

    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(main=broken))
    with pytest.raises(KeyError):  # a fault of the library keeps its traceback
        relcl.main(["tables"])


def test_an_error_of_the_command_itself_is_one_line_under_its_usual_name():
    done = python("-m", "relcl_lib", "swep")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 'swep' is no command") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["claims", "--results", ""],
        ["demo", "none", "--notebooks", ""],
        ["demo", "none", "--out="],
        ["figures", "--results", "none", "--out", ""],
        ["figures", "--out", "none", "--results="],
        ["hpcr", "sweep", "table3", "--dry-run", "--results", ""],
        ["hpcr", "sweep", "table3", "--dry-run", "--work-dir="],
        ["hpcr", "sweep", "table3", "--dry-run", "--data-root", ""],
        ["tables", "--results", ""],
        ["upgrade", ""],
    ],
)
def test_an_empty_place_is_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # what one that is taken would write does not come here
    before = words[-1].rstrip("=") or words[-2]
    before = "python -m relcl_lib upgrade" if before == "upgrade" else before
    with pytest.raises(SystemExit):
        relcl.main(words)
    said = f"nothing stands after {before}; is a variable of the shell not set?\n"
    assert capsys.readouterr().err.endswith(said)


def test_a_home_that_the_shell_leaves_after_an_equals_sign(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    home = "~/"
    places = [f"--results={home}records", f"--work-dir={home}work"]
    given = sweep.parser().parse_args(["hpcr", "table3", *places])
    assert (given.results, given.work_dir) == (tmp_path / "records", tmp_path / "work")
    for folder in ("records", "notebooks"):
        (tmp_path / folder).mkdir()
    assert relcl.main(["tables", places[0]]) == 0
    assert capsys.readouterr().out.startswith("no records yet")
    assert relcl.main(["demo", f"--notebooks={home}notebooks"]) == 0
    assert f"no notebooks in {tmp_path / 'notebooks'}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["claims", "tables"])
def test_a_folder_of_records_that_is_not_there_is_an_error(command, tmp_path, capsys):
    assert relcl.main([command, "--results", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.endswith("nowhere is no folder\n")


@pytest.mark.parametrize(
    "words, said",
    [
        ("demo", "; what had finished is kept"),
        (
            "hpcr sweep table3",
            "; the same command goes on after the last finished epoch, task or run",
        ),
        (
            "train fastre a=1",
            "; the same command goes on after the last finished epoch, task or run",
        ),
        ("fastre extract --model m", ""),
        (
            "fastre extract --out f",
            "; the same command with the same input goes on where it was",
        ),
        ("crecl predict --model m", ""),
        ("crecl predict --out=f", "; nothing was written: the file of --out is as it was"),
        ("docre_ii predict --out f", "; nothing was written: the file of --out is as it was"),
        ("crecl learn --model m", "; nothing was written: the model is as it was"),
        ("docre_ii evaluate --gold g", ""),
    ],
)
def test_ctrl_c_is_one_line_that_says_what_is_left(words, said, monkeypatch, capsys):
    def stopped(words):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(main=stopped))
    assert relcl.main(words.split()) == 130
    assert capsys.readouterr().err == f"\nstopped by Ctrl-C{said}\n"


@pytest.mark.parametrize("words", ["hpcr claims", "--help", "sweep --help"])
def test_a_reader_that_leaves_ends_the_command_in_silence(words):
    with subprocess.Popen(
        [sys.executable, "-m", "relcl_lib", *words.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_the_entry_point_is_the_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"relcl": "relcl_lib.__main__:main"}


@pytest.mark.parametrize("name", ["sweep", "tables", "figures", "demo", "fastre", "crecl"])
def test_old_commands_name_the_new_form(name):
    done = python("-m", f"relcl_lib.{name}", "--help")
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")
    [line] = done.stderr.splitlines()
    assert f"'python -m relcl_lib {name}'" in line and "0.3" in line
