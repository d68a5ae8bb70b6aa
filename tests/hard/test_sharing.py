"""Two processes write one place at the same time, and are killed in turn: nothing is lost or mixed."""

import random
import subprocess
import sys
import time

import pytest
from example_records import make
from processes import ROOT, environment

from relcl_lib.lab import checkpoints
from relcl_lib.lab.records import read_records, record_path

PROGRAM = str(ROOT / "tests" / "helpers" / "writers.py")


def look(kind, folder):
    """What a reader finds while others write; whatever it is, it is one writer's and whole."""
    if kind == "checkpoint":
        found = checkpoints.load(folder / "one")
        if found is None:
            return None
        state, progress = found
        assert state["a"].eq(progress["turn"]).all() and state["b"].eq(progress["number"]).all()
        return progress["turn"]
    if kind == "file":
        text = (folder / "file").read_text()
        number, turn, *rest = text.split()
        assert text == f"{number} {turn} " * 1000 and len(rest) == 1998
        return turn
    if kind == "failed" and not record_path(make(), folder).exists():
        return None
    return [record.note for record in read_records(folder, include_failed=True)]


@pytest.mark.parametrize("kind", ["record", "failed", "checkpoint", "file"])
def test_two_writers_killed_in_turn(tmp_path, long, tell, kind):
    if not long and kind in ("record", "file"):
        pytest.skip("in make test-hard")
    draw, kills, looks = random.Random(kind), 40 if long else 2, 0

    def writer(number):
        command = [sys.executable, PROGRAM, kind, str(tmp_path), str(number)]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"begun\n"
        return process

    writers = [writer(0), writer(1)]
    try:
        places = {"checkpoint": "one", "file": "file"}
        first = tmp_path / places.get(kind, record_path(make(), ""))
        while not first.exists():
            time.sleep(0.01)
        for turn in range(kills):
            until = time.monotonic() + draw.uniform(0.05, 0.4) + (turn == 0)
            while time.monotonic() < until:
                assert look(kind, tmp_path) is not None or kind == "failed"
                looks += 1
            assert [w.poll() for w in writers] == [None, None]
            victim = writers[turn % 2]
            victim.kill()
            victim.communicate()
            assert look(kind, tmp_path) is not None or kind == "failed"
            writers[turn % 2] = writer(turn)
    finally:
        for process in writers:
            process.kill()
            process.communicate()
    assert looks > kills
    tell(f"{kind}: {kills} of two writers killed, {looks} looks, each at something whole")
