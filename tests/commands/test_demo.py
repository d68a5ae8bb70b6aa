"""The demo on tiny notebooks, and its closing table on hand-made records."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from example_records import failed, run
from nbformat import v4

from relcl_lib.commands import demo
from relcl_lib.lab.records import write_record

PARAMETERS = 'profile = "quick"\nresults = None'


def write(folder, name, *sources):
    cells = [v4.new_code_cell(source) for source in (PARAMETERS, *sources)]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(exist_ok=True)
    nbformat.write(
        v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / f"{name}.ipynb"
    )


def main(tmp_path, *words):
    folders = ("--notebooks", tmp_path / "notebooks", "--out", tmp_path / "out")
    return demo.main([*map(str, folders), *words])


def test_no_notebooks(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    assert main(tmp_path) == 0
    assert "there are no notebooks" in capsys.readouterr().out


def test_unknown_name(tmp_path, capsys):
    write(tmp_path / "notebooks", "good")
    assert main(tmp_path, "godo") == 2
    assert "there are: good" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failing_notebook_is_named_and_the_others_go_on(tmp_path, capsys):
    folder = tmp_path / "notebooks"
    write(folder, "bad", "1 + 1", "raise ValueError('no such thing')", "print('[bad] too late')")
    write(
        folder,
        "good",
        "import os, pathlib, relcl_lib\n"
        "print('[good] headless', os.environ['RELCL_HEADLESS'], pathlib.Path.cwd().name)",
        "print('noise')\nprint('[good] in two ', end='', flush=True)\nprint('pieces')",
        "print('[good]', profile, pathlib.Path(results).name)",
    )
    before = dict(os.environ)
    assert main(tmp_path) == 1
    assert dict(os.environ) == before
    out = capsys.readouterr().out
    assert "bad: FAILED" in out
    assert "cell In [4] stopped with ValueError: no such thing" in out
    assert "  [good] headless 1 notebooks\n  [good] in two pieces\n  [good] quick results\n" in out
    assert "good: done in" in out
    assert "noise" not in out
    assert "too late" not in out
    assert (tmp_path / "out" / "notebooks" / "good.ipynb").is_file()


@pytest.mark.slow
def test_profile_is_passed_on_and_a_dead_kernel_is_a_failure(tmp_path, capsys):
    write(tmp_path / "notebooks", "one", "print('[one]', profile, flush=True)", "exit_now = 1")
    write(tmp_path / "notebooks", "two", "import os\nos._exit(1)")
    assert main(tmp_path, "one", "--profile", "reduced") == 0
    assert main(tmp_path, "two.ipynb") == 1
    out = capsys.readouterr().out
    assert "[one] reduced" in out
    assert "Kernel died" in out


@pytest.mark.slow
def test_ctrl_c_stops_at_once(tmp_path):
    write(tmp_path / "notebooks", "slow", "import time\nprint('[slow] x')\ntime.sleep(600)")
    write(tmp_path / "notebooks", "unreached", "print('[unreached] x')")
    folders = ("--notebooks", tmp_path / "notebooks", "--out", tmp_path / "out")
    process = subprocess.Popen(
        [sys.executable, "-m", "relcl_lib.demo", *folders],
        env=demo.kernel_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background ignore Ctrl-C, and their children would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        for line in process.stdout:
            if "[slow] x" in line:
                break
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert process.returncode == 130
    assert time.monotonic() - began < 30
    assert "unreached" not in out
    assert err.strip() == "stopped by Ctrl-C; what had finished is kept"


def test_progress_in():
    assert demo.progress_in("[hpcr] PCR: task 2/5\n") == "[hpcr] PCR: task 2/5"
    assert demo.progress_in("10%\r20%\r[hpcr] done\r\n") == "[hpcr] done"
    assert demo.progress_in("[0, 1, 2]\n") is None
    assert demo.progress_in("loss [hpcr] 1\n") is None


def test_parameter_names(tmp_path):
    write(tmp_path, "n", "other = 1")
    assert demo.parameter_names(tmp_path / "n.ipynb") == {"profile", "results"}


# --- the closing table -------------------------------------------------------------------------


def digits(**changes):
    data = {"name": "digits", "stream": "Split Digits", "fingerprint": "cd34"}
    return run(buffer_size=50, dataset=data, protocol="stand-in", **changes)


def test_summary_puts_ours_beside_the_papers():
    records = [run(seed, a_t=51.0 + seed) for seed in range(3)] + [digits(a_t=80.0)]
    text = demo.summary(records)
    assert "HPCR Table III, Split CIFAR10, buffer=200: A_T, %" in text
    line = next(line for line in text.splitlines() if line.startswith("  HPCR "))
    assert "52.0 ± 2.5 (n=3)" in line
    assert line.rstrip().endswith("paper")
    stand_in = next(line for line in text.splitlines() if "80.0 (n=1)" in line)
    assert "–" in stand_in
    assert "stand-in" in stand_in
    assert "AAA" not in text
    assert demo.PROTOCOLS["stand-in"] in text
    assert demo.PROTOCOLS["reduced"] not in text


def test_summary_says_what_failed_and_what_differs():
    records = [failed(method="ER"), run(), run(variant="paper", a_t=49.0)]
    text = demo.summary(records)
    assert "variant=paper" in text
    assert any("ER" in line and "failed" in line for line in text.splitlines())


def test_summary_of_nothing():
    assert "no records yet" in demo.summary([])


def test_a_run_in_both_folders_counts_once(tmp_path):
    write_record(run(a_t=50.0), tmp_path / "a")
    write_record(run(a_t=51.0), tmp_path / "b")
    found = demo.collect_records([tmp_path / "a", tmp_path / "b", tmp_path / "none"])
    assert [record.metrics["A_T"] for record in found] == [51.0]
