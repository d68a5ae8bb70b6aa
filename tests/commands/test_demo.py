"""The demo on tiny notebooks, and its closing table on hand-made records."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from example_records import run
from joblib import cpu_count
from nbformat import v4

from relcl_lib.__main__ import main
from relcl_lib.commands import demo
from relcl_lib.papers.registry import PAPERS

PARAMETERS = 'profile = "quick"\nresults = figures = work_dir = None'


def write(folder, name, *sources):
    cells = [v4.new_code_cell(source) for source in (PARAMETERS, *sources)]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(exist_ok=True)
    nbformat.write(
        v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / f"{name}.ipynb"
    )


def words(tmp_path, *more):
    places = ("--notebooks", tmp_path / "notebooks", "--out", tmp_path / "out")
    return [*map(str, places), *more]


def test_no_notebooks(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    assert demo.main(words(tmp_path)) == 0
    assert "there are no notebooks" in capsys.readouterr().out
    assert main(["demo", "--notebooks", str(tmp_path / "typo")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'typo'} is no folder\n"


def test_unknown_name(tmp_path, capsys):
    write(tmp_path / "notebooks", "good")
    assert main(["demo", *words(tmp_path, "godo")]) == 2
    assert capsys.readouterr().err == "error: no notebook is named godo; there are: good\n"


def test_the_longest_begin_first(tmp_path):
    for name in ("b", "a", *PAPERS):
        write(tmp_path, name)
    found = [path.stem for path in demo.find_notebooks(tmp_path)]
    seconds = [PAPERS[name].seconds if name in PAPERS else demo.OTHER_SECONDS for name in found]
    assert seconds == sorted(seconds, reverse=True) and {*found} == {"a", "b", *PAPERS}
    assert [path.stem for path in demo.find_notebooks(tmp_path, ["b", "a.ipynb", "b"])] == [
        "b",
        "a",
    ]


@pytest.mark.slow
def test_a_failing_notebook_is_named_and_the_others_go_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "SAID_EVERY", 0)
    folder = tmp_path / "notebooks"
    write(folder, "bad", "1 + 1", "raise ValueError('no such thing')", "print('too late')")
    write(folder, "dead", "import os\nos._exit(1)")
    write(
        folder,
        "good",
        "import os, pathlib, time, relcl_lib\n"
        "names = ('RELCL_HEADLESS', 'OMP_NUM_THREADS')\n"
        "print(*(os.environ[name] for name in names), pathlib.Path.cwd().name, profile, sep=', ')",
        "pathlib.Path(figures).mkdir()\n"
        "(pathlib.Path(figures) / 'one.png').touch()\n"
        "print('noise\\n[good] half way')\ntime.sleep(1)",
    )
    write(folder, "unnamed", "raise AssertionError('not asked for')")
    asked = ("bad", "dead", "good.ipynb", "--profile", "reduced")
    assert demo.main(words(tmp_path, *asked)) == 1
    out = capsys.readouterr().out
    assert "bad: FAILED" in out
    assert "cell In [4] stopped with ValueError: no such thing" in out
    assert "good: cell 4 of 4: half way\n" in out and " of 3 done after " in out
    assert "good: done in" in out
    assert "dead: FAILED" in out and "Kernel died" in out
    assert "/out/figures/one.png\n" in out[out.index("the first figure: ") :]
    assert "figures: 1 new ones" in out
    assert "noise" not in out
    assert "too late" not in out
    copy = (tmp_path / "out" / "notebooks" / "good.ipynb").read_text()
    threads = max(1, cpu_count() // min(2, cpu_count()))
    assert f"1, {threads}, notebooks, reduced" in copy
    assert "unnamed" not in out


@pytest.mark.slow
def test_ctrl_c_stops_every_notebook_at_once(tmp_path):
    source = "import os, pathlib, time\n"
    source += "assert profile == 'quick' and os.environ['OMP_NUM_THREADS'] == '1'\n"
    source += "pathlib.Path(f'../{os.getpid()}.pid').touch()\n"
    for name in ("one", "other", "unreached"):
        write(tmp_path / "notebooks", name, source + "time.sleep(600)")
    process = subprocess.Popen(
        [sys.executable, "-m", "relcl_lib", "demo", "--jobs", "2", *words(tmp_path)],
        env=demo.kernel_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background ignore Ctrl-C, and their children would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert time.monotonic() - began < 30
    assert "unreached" not in out
    assert err.strip() == "stopped by Ctrl-C; what had finished is kept"
    kernels = {int(path.stem) for path in tmp_path.glob("*.pid")}
    alive = {p.pid for p in psutil.process_iter() if p.status() != psutil.STATUS_ZOMBIE}
    assert len(kernels) == 2 and not kernels & alive


# --- the closing table -------------------------------------------------------------------------


def test_the_end_names_counts_and_what_is_decided():
    records = [
        run(seed, m, a_t=a * (1 + seed / 50))
        for seed in range(3)
        for m, a in (("PCR", 50), ("HPCR", 9))
    ]
    text = demo.closing_table([*records, *(run(seed, "ER", a_t=1.0 + seed) for seed in range(3))])
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    head = next(line for line in lines if line.startswith("Paper"))
    assert head.split()[:3] == ["Paper", "Claims", "Supported"]
    for title in ("HPCR", "FastRE", "CRECL", "DocRE-II", "DRL"):
        assert any(line.startswith(f"{title} ") for line in lines) and title in lines
    shown = [line for line in lines if line.startswith("  contradicted (paper): ")]
    assert any("HPCR ends above PCR" in line for line in shown)
    assert any(line.startswith("  supported (test): FastRE has about") for line in lines)
    open_yet = [int(line.split()[-1]) for line in lines if line.startswith("  open: ")]
    assert len(open_yet) == 5 and min(open_yet) > 0


def test_where_next_names_what_is_there(tmp_path):
    text = demo.where_next(tmp_path / "out", tmp_path / "figures")
    assert "out/notebooks" in text and "make lab" in text and "RESULTS.md" in text


def test_the_time_left_follows_the_pace():
    class Running:
        def __init__(self, name, share):
            self.name, self.share = name, share

    paths = [Path(f"{name}.ipynb") for name in ("crecl", "hpcr", "x")]
    half = [Running("crecl", 0.5), Running("hpcr", 0.0)]
    weights = {name: paper.seconds for name, paper in PAPERS.items()}
    done = weights["crecl"] / 2
    rest = weights["crecl"] / 2 + weights["hpcr"] + demo.OTHER_SECONDS
    told = demo.time_left(30, paths, paths[2:], half)
    assert told == f"0 of 3 done after 30 s, about {30 * rest / done:.0f} s left"
    assert demo.time_left(30, paths, [], [Running("x", 1.0)]).endswith("about 0 s left")
    assert demo.time_left(5, paths, paths[2:], [Running("crecl", 0.0), half[1]]) == (
        "0 of 3 done after 5 s"
    )
