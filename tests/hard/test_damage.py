"""Damaged inputs for every reader: refused in our own words, or read as something harmless."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, environment

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="limits memory as Linux does")


def test_damaged_inputs(tmp_path, long, tell):
    count = 100_000 if long else 1000
    program = str(ROOT / "tests" / "helpers" / "damage.py")
    done = subprocess.run(
        [sys.executable, program, str(tmp_path), str(count)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=7200 if long else 600,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last = (tmp_path / "state").read_text()
    assert done.returncode == 0, f"at {last}: {done.stderr[-3000:]}"
    wrong = [
        f"damage.py FOLDER 1 {reader['reader']} {seed}: {times} times {what}"
        for reader in found
        for times, seed, what in reader["wrong"].values()
    ]
    assert not wrong, "\n".join(wrong)
    tried, accepted, refused = (sum(r[k] for r in found) for k in ("tried", "accepted", "refused"))
    assert tried == accepted + refused and accepted and refused
    assert {r["reader"] for r in found if not r["refused"]} <= {"digests", "upgrade", "lines"}
    for reader in found if long else ():
        words = ("tried", "accepted", "refused", "seconds", "peak_mib")
        tell(f"{reader['reader']}: " + ", ".join(f"{word} {reader[word]}" for word in words))
    tell(
        f"readers: {len(found)}, inputs tried: {tried}, refused: {refused}, accepted: {accepted}, "
        f"harmless: {accepted}"
    )
