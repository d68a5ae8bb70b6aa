"""Parameters, variants and records of CRECL runs."""

from dataclasses import replace

import pytest
import torch
from crecl_data import make_run, parameters, tiny_data

from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.records import config_hash
from relcl_lib.papers.crecl.parameters import METHODS, CreclParameters
from relcl_lib.papers.crecl.run import run_metrics, train_or_read


def test_misspelt_and_contradictory_parameters():
    with pytest.raises(ParameterError, match="did you mean margin"):
        parameters(margins=0.3)
    for changes, word in (
        ({"exact_paper": True, "variant": "released"}, "exact_paper"),
        ({"method": "CRECL(C)", "head": "per_task"}, "head must be 'fixed'"),
        ({"prediction": "head", "head": "per_task"}, "head must be 'fixed'"),
        ({"lambda1": 1.5}, "lambda1"),
        ({"sizes": [1, 2]}, "sizes"),
        ({"method": "CRECL-XY"}, "method"),
    ):
        with pytest.raises(ParameterError, match=word):
            parameters(**changes).resolved()


def test_variants_resolve_to_what_the_specification_lists():
    paper = CreclParameters.create(profile="full").resolved()
    assert (paper.epochs_classification, paper.epochs_current, paper.epochs_memory) == (15, 10, 5)
    assert (paper.memory_passes, paper.classification_passes, paper.consistency) == (10, 1, False)
    assert (paper.batch_size, paper.order, paper.attend_pads) == (32, "single", False)
    assert (paper.temperature, paper.memory_size, paper.max_length) == (0.08, 10, 256)
    released = CreclParameters.create(profile="full", variant="released").resolved()
    assert (released.epochs_warmup, released.warmup_batch_size) == (5, 16)
    assert (released.epochs_current, released.epochs_memory) == (15, 10)
    assert (released.memory_passes, released.classification_passes) == (1, 10)
    assert (released.lambda1, released.consistency, released.order) == (1.0, True, "double")
    assert (released.batch_size, released.attend_pads) == (64, True)
    exact = CreclParameters.create(exact_paper=True, profile="full").resolved()
    assert {exact.learning_rate, exact.head_learning_rate, exact.contrast_learning_rate} == {5e-5}
    assert (exact.head, exact.head_bias, exact.projector_norm) == ("per_task", True, False)
    assert exact.pooling == "pairs"
    made = {"dataset": "tacred", "profile": "full"}
    tacred = CreclParameters.create(**made, variant="released").resolved()
    assert (tacred.memory_size, tacred.warmup_batch_size, tacred.batch_size) == (12, 8, 32)
    assert CreclParameters.create(**made).resolved().memory_size == 10


def test_ablations_change_what_they_name_and_a_profile_does_not_undo_it():
    for profile in ("quick", "reduced", "full"):
        of = {m: CreclParameters.create(profile=profile, method=m).resolved() for m in METHODS}
        assert of["CRECL-MAG"].lambda1 == 1.0
        assert not of["CRECL-CL1"].contrast_current
        assert not of["CRECL-CL2"].contrast_memory
        assert of["CRECL-K"].memory_selection == "random"
        assert of["CRECL(C)"].prediction == of["CRECL-CL"].prediction == "head"
        assert of["CRECL+ATM"].attention_memory == "trained"
        assert of["RP-CRE"].dropout == 0.5
    released = CreclParameters.create(method="CRECL+ATM", variant="released").resolved()
    assert released.attention_memory == "untrained"


def test_seeds_follow_the_papers_convention():
    assert CreclParameters.create(profile="full").seeds == [2021 + 100 * i for i in range(5)]


def test_metrics_pool_the_test_sets():
    accuracy = torch.tensor([[1.0, 0.0], [0.5, 0.9]])
    found = run_metrics(accuracy, [30, 10])
    assert found["T1"] == found["current_T1"] == 1.0
    assert found["current_T2"] == pytest.approx(0.9)
    assert found["T2"] == pytest.approx((0.5 * 30 + 0.9 * 10) / 40)


def test_fields():
    run = make_run(epochs_classification=1).train()
    record = run.record()
    assert (record.experiment, record.protocol) == ("synthetic", "stand-in")
    assert {"T1", "current_T1", "T3", "current_T3"} <= set(record.metrics)
    assert len(record.accuracy_matrix) == 3
    assert record.parameters["memory_passes"] == 10
    order = " ".join(map(str, run.stream.class_order))
    assert record.note == f"task order {order}"
    # Three tasks of 24 sentences: 1 + 1 epochs of them, and one of the memory, 3 of each relation seen.
    assert record.metrics["gradient_passes"] == 3 * 2 * 24 + filled(6, 2) + filled(12, 4) + filled(
        18, 6
    )


def filled(count, size):
    """Sentences of an epoch whose last batch is filled."""
    return -(-count // size) * size


def test_sentences_that_are_too_long_are_left_out_if_asked_and_counted(tmp_path):
    data = tiny_data()
    at = next(i for i, kind in enumerate(data.split) if kind == "train")
    long = data.sentences[at]
    far = ("the",) * 120
    long = long._replace(tokens=(*far, *long.tokens), head=(0, 1), tail=(119, 120))
    rows = (*data.sentences[:at], long, *data.sentences[at + 1 :])
    longer = replace(data, sentences=rows, fingerprint="longer")
    run = make_run(data=longer, max_length=64)
    with pytest.raises(ValueError, match=r"Set max_length to 1\d\d, or .*skip_long"):
        run.train()
    for limit, words in (
        (64, "1 sentences left out: an entity beyond 64 tokens; "),
        (128, "0 sent"),
    ):
        skipping = make_run(data=longer, max_length=limit, skip_long=True, epochs_classification=1)
        record = skipping.train().record()
        assert record.note.startswith(words)
        assert record.dataset["sizes"] == {"train": 72 - (limit == 64), "test": 24}
        assert all(at not in task.train_indices for task in skipping.stream) is (limit == 64)
        # Where none is left out, these are the numbers of a run that would have refused any.
        usual = make_run(data=longer, max_length=limit, epochs_classification=1)
        assert config_hash(usual.configuration()) == config_hash(record)
    assert usual.train().record().metrics == record.metrics


def test_a_relation_of_which_nothing_is_left_is_named_with_what_helps():
    data, room = tiny_data(), 512  # of the tests' encoder
    far = ("the",) * room
    rows = (
        s._replace(tail=(room - 1, room), tokens=(*far, *s.tokens)) if s.label == 2 else s
        for s in data.sentences
    )
    gone = replace(data, sentences=tuple(rows), fingerprint="gone")
    for limit, advice in (
        (64, f"raise it (the encoder has {room} positions), or take"),
        (room, "take"),
    ):
        with pytest.raises(ValueError) as error:
            make_run(data=gone, max_length=limit, skip_long=True)
        said = f"{data.name}'s relation {data.relations[2]} has its entities within max_length={limit}: "
        assert f"{said}{advice} the relation out of the data" in str(error.value)


def test_training_crecl_leaves_the_records_of_its_other_readings(tmp_path):
    chosen = parameters(seeds=[2021], epochs_classification=1)
    (record,) = train_or_read(chosen, data=tiny_data(), results=tmp_path)
    options = {"data": tiny_data(), "results": tmp_path}
    other = parameters(seeds=[2021], epochs_classification=1, method="CRECL(C)")
    never = {"on_unit": lambda run: pytest.fail("trained")}
    (head,) = train_or_read(other, **options, **never)
    assert (record.method, head.method) == ("CRECL", "CRECL(C)")
    assert head.metrics != record.metrics
    untrained = {"method": "CRECL+ATM", "attention_memory": "untrained"}
    other = parameters(seeds=[2021], epochs_classification=1, **untrained)
    (attended,) = train_or_read(other, **options, **never)
    assert (attended.method, attended.parameters["attention_memory"]) == tuple(untrained.values())
    train_or_read(parameters(seeds=[2021], epochs_classification=1, memory_size=2), **options)
    assert len(list(tmp_path.rglob("*.json"))) == 6


def test_reading_a_record_needs_no_encoder(tmp_path):
    chosen = parameters(seeds=[2021], method="CRECL-CL", epochs_classification=1)
    options = {"data": tiny_data(), "results": tmp_path}
    records = train_or_read(chosen, **options)
    run = make_run(method="CRECL-CL", epochs_classification=1)
    assert train_or_read(chosen, **options) == records
    run.configuration()
    assert not {"tokens", "network", "_pretrained"} & set(vars(run))
