"""Reading what was run before, running what was not, and a record of what failed."""

from types import SimpleNamespace

import pytest
import torch
from example_records import make as example

from relcl_lib.lab.recorded import failures_recorded, read_or_make
from relcl_lib.lab.records import RecordError, as_dict, read_records, write_record

FIELDS = ("paper", "experiment", "method", "variant", "dataset", "protocol", "backbone")


def a_run(seed):
    return SimpleNamespace(seed=seed, device=torch.device("cpu"), seconds=1.5)


def configuration(run):
    known = as_dict(example())
    return {name: known[name] for name in (*FIELDS, "parameters")} | {"seed": run.seed}


def make(run):
    return example(seed=run.seed, seconds=run.seconds)


def test_each_run_is_made_once_and_in_order(tmp_path):
    made = []

    def counted(run):
        made.append(run.seed)
        return make(run)

    runs = [a_run(seed) for seed in (3, 1)]
    first = read_or_make(runs, configuration, counted, tmp_path)
    assert made == [3, 1] and [record.seed for record in first] == [3, 1]
    runs = [a_run(seed) for seed in (1, 2, 3)]
    again = read_or_make(runs, configuration, counted, tmp_path)
    assert made == [3, 1, 2] and [record.seed for record in again] == [1, 2, 3]
    assert again[2] == first[0]


def test_runs_are_drawn_one_after_the_other(tmp_path):
    alive = []

    def runs():
        for seed in range(3):
            alive.append(seed)
            yield a_run(seed)

    def check(run):
        assert alive[-1] == run.seed
        return make(run)

    read_or_make(runs(), configuration, check, tmp_path)


def test_a_failure_is_recorded_raised_and_tried_again(tmp_path):
    def broken(run):
        raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        read_or_make([a_run(0), a_run(1)], configuration, broken, tmp_path)
    (failed,) = read_records(tmp_path, include_failed=True)
    assert failed.failed and failed.note == "failed: RuntimeError: out of ideas"
    assert (failed.seed, failed.seconds, failed.metrics) == (0, 1.5, {})
    (record,) = read_or_make([a_run(0)], configuration, make, tmp_path)
    assert not record.failed and read_records(tmp_path) == [record]


def test_the_first_error_is_the_one_that_is_raised(tmp_path):
    write_record(make(a_run(0)), tmp_path)  # a failed run does not replace it: a second error
    chosen = [configuration(a_run(0))]
    with pytest.raises(ZeroDivisionError), failures_recorded(a_run(0), chosen, tmp_path):
        _ = 1 / 0
    (record,) = read_records(tmp_path, include_failed=True)
    assert not record.failed


def test_nothing_is_run_where_nothing_can_be_written(tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises(RecordError, match="Nothing was run"):
        read_or_make([a_run(0)], configuration, lambda run: 1 / 0, tmp_path / "results")


def test_an_interrupted_run_is_no_failure(tmp_path):
    def stopped(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_or_make([a_run(0)], configuration, stopped, tmp_path)
    assert not read_records(tmp_path, include_failed=True)
