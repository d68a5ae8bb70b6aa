"""What every paper's run promises: written once, resumed bit for bit, failures recorded, no traces."""

import copy
import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import crecl_data
import docre_data
import drl_data
import fastre_data
import gratings
import pytest
import torch
from states import same
from torch.optim.optimizer import register_optimizer_step_post_hook

from relcl_lib.lab import checkpoints
from relcl_lib.lab.checkpoints import CheckpointError
from relcl_lib.lab.records import RecordError, as_dict, config_hash, read_record, read_records
from relcl_lib.lab.run import Run, make_records
from relcl_lib.papers.crecl.run import CreclRun
from relcl_lib.papers.docre_ii.run import DocreRun
from relcl_lib.papers.drl.run import DrlRun
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.papers.hpcr.run import ReplayRun


class Case(NamedTuple):
    """A run of a second or less."""

    kind: type[Run]
    parameters: Callable
    data: Callable
    small: dict
    #: a setting of another run
    other: dict

    def given(self, **changes):
        return self.parameters(**{**self.small, **changes})

    def run(self, seed=0, work_dir=None, **changes):
        return self.kind.of(self.given(seeds=[seed], **changes), self.data(), [seed], work_dir)

    def read(self, folder, seeds=(0,), **options):
        given = self.given(seeds=list(seeds), **options.pop("changes", {}))
        return self.kind.train_or_read(given, data=self.data(), results=folder, **options)


CASES = {
    "crecl": Case(
        CreclRun,
        crecl_data.parameters,
        partial(crecl_data.tiny_data, 4, 6, 2),
        {"method": "CRECL+ATM", "n_tasks": 2, "epochs_classification": 1, "epochs_current": 1},
        {"memory_size": 2},
    ),
    "docre_ii": Case(
        DocreRun,
        docre_data.parameters,
        partial(docre_data.tiny_data, 4),
        {"stage1_epochs": 2, "stage2_epochs": 2},
        {"fusion": False},
    ),
    "drl": Case(
        DrlRun,
        drl_data.parameters,
        drl_data.tiny_data,
        {"track": "Multi-Task-NC", "limit": 8},  # the method is the track's
        {"drl_weight": 0.5},
    ),
    "drl, a memory of gradients": Case(
        DrlRun,
        drl_data.parameters,
        drl_data.tiny_data,
        {"method": "GSS", "limit": 6, "gss_parts": 2, "gss_part": 3},
        {"order": 1},
    ),
    "fastre": Case(
        FastreRun,
        fastre_data.parameters,
        fastre_data.tiny_data,
        {"batch_size": 4, "learning_rate": 0.01},
        {"hidden": 16},
    ),
    "hpcr": Case(
        ReplayRun,
        gratings.parameters,
        gratings.gratings,
        {"optimizer": "adam", "learning_rate": 0.01},
        {"beta": 0.4},
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def trained(case, monkeypatch):
    """The seeds of every run that was trained, in order."""
    seeds, train = [], case.kind.train

    def counted(run, *args, **named):
        seeds.append(run.seeds)
        return train(run, *args, **named)

    monkeypatch.setattr(case.kind, "train", counted)
    return seeds


def flat(lists):
    return [item for items in lists for item in items]


def metrics(record):
    """Metrics without those that belong to a machine."""
    timed = ("ram_mb", "time_min", "infer_", "train_")
    return {k: v for k, v in record.metrics.items() if not k.startswith(timed)}


def broken(run):
    raise RuntimeError("the machine is on fire")


# --- records are written once ------------------------------------------------------------------


def test_a_finished_run_is_read_and_never_run_twice(case, trained, tmp_path):
    seen = []
    options = {"work_dir": tmp_path / "work", "on_unit": lambda run: seen.append(run.done)}
    first = case.read(tmp_path / "results", [0, 2], **options)
    assert [record.seed for record in first] == [0, 2]
    assert flat(trained) == [0, 2]
    runs = len(trained)
    assert seen == list(range(1, len(seen) // runs + 1)) * runs
    again = case.read(tmp_path / "results", [2, 0], **options)
    assert [as_dict(r) for r in again] == [as_dict(r) for r in first[::-1]]
    assert len(trained) == runs
    # Only what is missing is trained, in the order asked for.
    more = case.read(tmp_path / "results", [1, 2])
    assert [record.seed for record in more] == [1, 2]
    assert flat(trained) == [0, 2, 1]
    case.read(tmp_path / "results", [0], changes=case.other)
    case.read(tmp_path / "results", [0], again=True)
    assert trained[runs + 1 :] == [[0], [0]]
    found = read_records(tmp_path / "results")
    assert len({config_hash(record) for record in found}) == len(found) >= 4
    json.dumps([as_dict(record) for record in found], allow_nan=False)


def test_data_is_loaded_where_none_is_given(case, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        case.kind, "load_data", lambda parameters: asked.append(parameters) or case.data()
    )
    given = case.given(data_root="some/folder", seeds=[0])
    case.kind.train_or_read(given, results=tmp_path)
    assert asked == [given]


def test_each_step_is_told_with_its_place_in_the_unit(case):
    updates, told = [], {}

    def tell(run, step, steps, part=""):
        told.setdefault((run.done, part), []).append((step, steps))

    hook = register_optimizer_step_post_hook(lambda *_: updates.append(1))
    try:
        run = case.run().train(on_step=tell)
    finally:
        hook.remove()
    assert {unit for unit, _ in told} == set(range(run.total))
    assert all(
        found == [(i, len(found)) for i in range(1, len(found) + 1)] for found in told.values()
    )
    idle = sum(map(len, told.values())) - len(updates)
    assert updates and idle in (0, 1)  # HPCR's first step has no memory to train with


# --- a killed run ------------------------------------------------------------------------------


class KilledError(Exception):
    pass


def test_a_killed_run_ends_with_the_same_numbers(case, tmp_path):
    def kill(run):
        raise KilledError

    whole = case.run(work_dir=tmp_path / "whole").train()
    for _ in range(whole.done):
        with pytest.raises(KilledError):
            case.run(work_dir=tmp_path / "cut").train(kill)
    done = []
    resumed = case.run(work_dir=tmp_path / "cut").train(lambda run: done.append(run.done))
    assert not done  # nothing was left to train
    assert same(*(checkpoints.join(**run.state()) for run in (resumed, whole)))
    assert resumed.seconds > 0
    progress = [
        {k: v for k, v in run.progress_made().items() if k not in ("seconds", "history")}
        for run in (resumed, whole)
    ]
    assert progress[0] == progress[1]
    losses = [[entry["loss"] for entry in run.history] for run in (resumed, whole)]
    assert losses[0] == losses[1]
    records = [run.record() for run in (resumed, whole)]
    assert metrics(records[0]) == metrics(records[1])
    assert records[0].accuracy_matrix == records[1].accuracy_matrix


@pytest.mark.parametrize("older", [False, True])
def test_a_record_names_the_commits_that_trained_it(case, older, tmp_path, monkeypatch):
    def at(commit, **options):
        monkeypatch.setattr("relcl_lib.lab.run.current_commit", lambda: commit)
        return case.run(work_dir=tmp_path).train(**options)

    def kill(run):
        raise KilledError

    with pytest.raises(KilledError):
        at("first", on_unit=kill)
    if older:  # which nobody knows the commit of
        checkpoint = case.run(work_dir=tmp_path).folder / "checkpoint"
        state, progress = checkpoints.load(checkpoint)
        del progress["commits"]
        checkpoints.save(checkpoint, state, progress)
    record = at("second").record()
    assert record.commit == ("second" if older else "first")
    told = "trained by commits first, second, one after the other" in record.note
    assert told is not older
    assert at("third").record().note == record.note  # nothing was left to train


def test_a_damaged_checkpoint_stops_the_run(case, tmp_path):
    with pytest.raises(KilledError):
        case.run(work_dir=tmp_path).train(lambda run: (_ for _ in ()).throw(KilledError))
    (path,) = case.run(work_dir=tmp_path).folder.glob("checkpoint/progress.json")
    path.write_text("{")
    with pytest.raises(CheckpointError, match="checkpoint"):
        case.run(work_dir=tmp_path).train()


# --- a failed run ------------------------------------------------------------------------------


def test_a_failure_is_recorded_and_tried_again(case, tmp_path):
    with pytest.raises(RuntimeError, match="on fire"):
        case.read(tmp_path, [0], on_unit=broken)
    (failed,) = read_records(tmp_path, include_failed=True)
    assert failed.failed and failed.note == "failed: RuntimeError: the machine is on fire"
    assert (failed.seed, failed.metrics, failed.accuracy_matrix) == (0, {}, None)
    (record,) = case.read(tmp_path, [0])
    assert not record.failed
    assert not any(read_record(path).failed for path in tmp_path.rglob("*.json"))
    # The error of a run that is made again is raised, though its record cannot be written.
    with pytest.raises(RuntimeError, match="on fire"):
        case.read(tmp_path, [0], again=True, on_unit=broken)
    assert record in read_records(tmp_path, include_failed=True)


def test_a_finished_seed_does_not_keep_the_failure_of_others_from_being_told(tmp_path):
    class Study:
        seeds = (0, 1, 2)
        device, seconds = torch.device("cpu"), 1.0

        @staticmethod
        def configuration(seed):
            case = CASES["hpcr"]
            return case.run(seed).configuration(seed)

    (finished,) = CASES["hpcr"].read(tmp_path, [0])
    with pytest.raises(RuntimeError, match="on fire"):
        make_records(Study(), lambda: broken(None), tmp_path)
    found = {each.seed: each.failed for each in read_records(tmp_path, include_failed=True)}
    assert found == {finished.seed: False, 1: True, 2: True}


def test_a_disk_full_after_the_training_loses_nothing(case, tmp_path, monkeypatch):
    def full(record, root):
        raise RecordError("no space left")

    places = {"folder": tmp_path / "results", "work_dir": tmp_path / "work"}
    with monkeypatch.context() as patch:
        patch.setattr("relcl_lib.lab.run.write_record", full)
        with pytest.raises(RecordError, match="no space"):
            case.read(**places)
    steps = []  # the checkpoint hands the trained run to the next try
    (record,) = case.read(**places, on_unit=steps.append)
    assert not steps and not record.failed


def test_what_cannot_be_recorded_is_not_run(case, trained, tmp_path):
    def stopped(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # somebody's wish, no failure
        case.read(tmp_path / "results", [0], on_unit=stopped)
    assert not read_records(tmp_path / "results", include_failed=True)
    trained.clear()
    (tmp_path / "file").write_text("a file where the folder should be")
    with pytest.raises(RecordError, match=r"file.*Nothing was run"):
        case.read(tmp_path / "file", [0])
    assert not trained


def test_a_run_that_is_not_done_has_no_record(case):
    run = case.run()
    with pytest.raises(ValueError, match=rf"0 of {run.total} \w+s are done: call run\.train"):
        run.record()


# --- what a run depends on, and what it leaves alone --------------------------------------------


def test_seeds_differ_and_the_caller_is_left_alone(case):
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads()
    states = [checkpoints.join(**case.run(seed).train().state()) for seed in (0, 1, 0)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert [same(*pair) for pair in pairwise(states)] == [False, False]
    assert same(states[0], states[2])


def test_a_record_names_no_place_of_the_machine(case, tmp_path):
    options = {"work_dir": tmp_path / "work", "changes": {"data_root": "/nowhere/at/all"}}
    (record,) = case.read(tmp_path / "results", [0], **options)
    text = json.dumps(as_dict(record))
    assert "nowhere" not in text
    assert str(tmp_path) not in text
    encoder = getattr(case.given(), "encoder", None)
    assert encoder is None or encoder not in text


def test_where_a_run_computes_is_no_part_of_it(case, tmp_path):
    run = case.run(work_dir=tmp_path)
    given = case.given(seeds=[0])
    hidden = {"profile": "reduced", "data_root": "x", "device": "cpu"}
    twin = case.kind.of(given.model_copy(update=hidden), case.data(), [0], tmp_path)
    assert config_hash(twin.configuration()) == config_hash(run.configuration())
    assert twin.folder == run.folder
    assert not {"device", "seeds", "seed", "data_root", "profile"} & set(
        run.configuration()["parameters"]
    )
    data = copy.copy(case.data())
    vars(data)["fingerprint"] = "other content"
    others = [
        case.run(1, tmp_path),
        case.run(0, tmp_path, **case.other),
        case.kind.of(given, data, [0], tmp_path),
    ]
    hashes = {config_hash(other.configuration()) for other in (run, *others)}
    assert len(hashes) == len({other.folder for other in (run, *others)}) == 4
