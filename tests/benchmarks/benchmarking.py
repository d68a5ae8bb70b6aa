"""What the scripts of this folder share: options, and forms of the same work timed in turn."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# So that the checkout need not be installed: the scripts import this before what lies there.
sys.path[:0] = [str(TESTS.parent), str(TESTS / "helpers")]

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def options(text: str, threads: int = min(2, os.cpu_count() or 1), repeats: int = 3):
    """The options that every script has, described by the first paragraph of its text."""
    parser = argparse.ArgumentParser(description=text.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--repeats", type=int, default=repeats)
    return parser


def in_turn(
    forms: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    warm: int = 1,
) -> dict[str, list[float]]:
    """Seconds of each form, run in turn: what disturbs the machine disturbs all of them."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(warm + repeats):
        for name, form in forms.items():
            start = clock()
            form()
            if turn >= warm:
                times[name].append(clock() - start)
    return times
