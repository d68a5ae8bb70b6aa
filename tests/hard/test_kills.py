"""Killed at random moments and started again: the same numbers bit for bit, nothing half-written.

Trainings, an extraction and a table update are killed in forks of one process (`kills.py`); a sweep, a
download and an extraction as whole command lines.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bad_hub import CONTENTS, code, hub
from kills import outcome
from local_hub import serving
from processes import ROOT, alive, children, environment, kill_all, relcl

pytestmark = [
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks"),
]
#: kind -> kills
FORKED = {
    **dict.fromkeys(("crecl", "fastre", "docre_ii", "drl", "hpcr"), 12),
    "extraction": 10,
    "table update": 10,
}
#: HPCR's second comes after a checkpoint; every paper's run is interrupted in papers/test_contracts.py
SAMPLE = {"hpcr": 2, "extraction": 1, "table update": 1}
TEMPORARY = re.compile(r"\.tmp-|\.old-|\.part-|\.probe|\.incomplete")


def leftovers(folder):
    return [str(path) for path in folder.rglob("*") if TEMPORARY.search(path.name)]


def test_work_in_forks(tmp_path, long, tell):
    forked = FORKED if long else SAMPLE
    wanted = [f"{kind}:{kills}" for kind, kills in forked.items()]
    program = str(ROOT / "tests" / "helpers" / "kills.py")
    done = subprocess.run(
        [sys.executable, program, str(tmp_path), *wanted],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [each["kind"] for each in found] == list(forked)
    for each in found:
        tell(str(each))
        assert each["ends"] == each["identical"] > 0, each
        assert each["kills"] == forked[each["kind"]] == each["resumes"], each
    assert leftovers(tmp_path) == []  # what a kill leaves is cleared by whoever writes next


@pytest.fixture
def whole(long):
    """Command lines take seconds to start."""
    if not long:
        pytest.skip("in make test-hard")


def torment(start, finish, kills, length, draw):
    """Kill a command line with all its processes so many times; how often it ended by itself."""
    done = {"kills": 0, "ends": 0}
    while done["kills"] < kills:
        process, until = start(), time.monotonic() + draw.uniform(0.3, 1.05) * length
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        if process.poll() is None:
            every = [process.pid, *children(process.pid)]
            kill_all(process.pid)
            process.wait()
            while any(map(alive, every)):
                time.sleep(0.01)
            done["kills"] += 1
        else:
            assert process.returncode == 0
            done["ends"] += 1
            finish()
    process = start()
    assert process.wait() == 0
    finish()
    return done | {"ends": done["ends"] + 1}


SWEEP = (
    "drl sweep table2 --dataset digits --methods ER --seeds 0 1 --set limit=140 epochs=4 --jobs 2"
)


@pytest.mark.usefixtures("whole")
def test_a_sweep(tmp_path, tell):
    draw, place = random.Random(3), tmp_path / "place"

    def start(folder=place, **more):
        words = [*SWEEP.split(), "--results", folder / "results", "--work-dir", folder / "work"]
        return relcl(*words, **{"stdout": subprocess.DEVNULL, **more})

    began = time.monotonic()
    assert start(tmp_path / "undisturbed").wait() == 0
    length, right, same = time.monotonic() - began, outcome(tmp_path / "undisturbed"), []

    def finish():
        same.append(outcome(place) == right)
        assert leftovers(place) == []
        subprocess.run(["rm", "-r", str(place)], check=True)

    stopped = start(start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while "[sweep]" not in stopped.stdout.readline():
        pass
    workers = children(stopped.pid)
    os.killpg(stopped.pid, signal.SIGINT)  # as Ctrl-C does: to all of them
    said = stopped.communicate()[1]
    assert stopped.returncode == 130 and said.strip().endswith("last finished epoch or run")
    assert workers and not any(map(alive, workers))
    done = torment(start, finish, 8, length, draw)
    assert all(same), same
    tell(
        f"kills: {done['kills']}, resumes: {done['kills']}, ends: {done['ends']}, identical: {sum(same)}"
    )


@pytest.mark.usefixtures("whole")
def test_a_download(tmp_path, tell):
    draw, same = random.Random(4), []
    names = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_CACHE": str(tmp_path / "hf" / "hub")}
    with serving(hub(pause=0.05)) as endpoint:

        def start():
            return subprocess.Popen(
                [sys.executable, "-c", code()],
                env=environment(
                    **names, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0", NO_PROXY="127.0.0.1"
                ),
                stdout=subprocess.DEVNULL,
            )

        def finish():
            files = [p for p in tmp_path.rglob("snapshots/*/data/*") if p.is_file()]
            found = {f"data/{path.name}": path.read_bytes() for path in files}
            same.append(found == CONTENTS)
            assert leftovers(tmp_path) == []
            subprocess.run(["rm", "-r", str(tmp_path / "hf")], check=True)

        done = torment(start, finish, 8, 6.0, draw)
    assert all(same), same
    tell(
        f"kills: {done['kills']}, resumes: {done['kills']}, ends: {done['ends']}, identical: {sum(same)}"
    )


@pytest.mark.usefixtures("whole")
def test_an_extraction_by_its_command(tmp_path, tell):
    import readers

    draw, same, out = random.Random(5), [], tmp_path / "out"
    readers.save_tagger(tmp_path)
    from fastre_data import load_triples

    texts = [sentence.text for sentence in load_triples("synthetic").train[:60]]
    (tmp_path / "lines").write_text("\n".join(texts))

    def start(out=out, more=()):
        with (tmp_path / "lines").open() as lines:
            words = ["--model", tmp_path / "model", "--chunk", 5, *more]
            return relcl(
                *("fastre", "extract", *words, *(("--out", out) if out else ())),
                stdin=lines,
                stderr=subprocess.DEVNULL,
                stdout=subprocess.PIPE if out is None else subprocess.DEVNULL,
            )

    began = time.monotonic()
    undisturbed = start(None)
    right = undisturbed.communicate()[0]
    length = time.monotonic() - began

    def finish():
        same.append(out.read_text() == right)
        assert leftovers(tmp_path) == []
        out.unlink()

    done = torment(start, finish, 4, length, draw)
    assert all(same) and right.count("\n") == 60
    tell(
        f"kills: {done['kills']}, resumes: {done['kills']}, ends: {done['ends']}, identical: {sum(same)}"
    )
