"""The benchmark of DocRE-II ends with an error where its largest step takes too much memory."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    module = importlib.import_module("docre_speed")
    monkeypatch.setattr(sys, "argv", ["docre_speed.py", "--skip", "attention", "speed"])
    monkeypatch.setattr(module.torch, "set_num_threads", lambda n: None)
    return module


def test_a_step_within_6_gib_passes(benchmark, monkeypatch, capsys):
    asked = []

    def measure(*words):
        asked.append(words[:3])
        return {"GiB": 5.9, "seconds": 1.0}

    monkeypatch.setattr(benchmark, "in_a_process", measure)
    benchmark.main()
    assert asked == [("--largest", attention, "60") for attention in ("crossed", "all")]
    assert "attention=all: 5.90 GiB" in capsys.readouterr().out


@pytest.mark.parametrize("heavy", ["crossed", "all"])
def test_a_step_above_6_gib_is_an_error(benchmark, monkeypatch, heavy):
    def measure(_, attention, *words):
        return {"GiB": 6.1 if attention == heavy else 5.0, "seconds": 1.0}

    monkeypatch.setattr(benchmark, "in_a_process", measure)
    with pytest.raises(SystemExit, match=rf"attention={heavy} took 6\.10 GiB; it may take 6"):
        benchmark.main()
