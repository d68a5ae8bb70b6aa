"""CRECL's training: checks 6, 8, 9, 13, 14 and 15 of its specification, and resuming."""

import math

import pytest
import torch
from crecl_data import easy_data, make_run
from states import kept, same

from relcl_lib.lab import checkpoints
from relcl_lib.lab.records import config_hash
from relcl_lib.lab.rows import Cell
from relcl_lib.lab.run import DivergenceError
from relcl_lib.losses import prototype_contrastive_loss
from relcl_lib.papers.crecl.methods import classify, contrast, train_crecl
from relcl_lib.papers.crecl.network import shuffled_batches
from relcl_lib.papers.crecl.parameters import METHODS
from relcl_lib.papers.crecl.tables import TABLES

ALL = list(METHODS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def prepared(task=1, **changes):
    """Return a run whose memory holds the relations of tasks 0 .. `task`."""
    run = make_run(**changes)
    for index in range(task + 1):
        run.remember(index)
    return run


# --- batches and means ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count, size, steps",
    [(3360, 64, 53), (80, 8, 10), (800, 64, 13)],  # check 14: CL1; CL2 at task 1 and at task 10
)
def test_released_step_counts(count, size, steps):
    batches = shuffled_batches(count, size, generator(), fill=True)
    assert len(batches) == steps
    assert {len(batch) for batch in batches} == {size}
    shown = torch.bincount(torch.cat(batches), minlength=count)
    assert shown.min() == 1
    assert shown.max() <= 2


def test_batches_without_filling():
    batches = shuffled_batches(10, 4, generator())
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))


# --- memory and prototypes: checks 8 and 9 ----------------------------------------------------------


def test_prototypes_are_class_means_when_all_is_stored():
    run = prepared(memory_size=50)
    assert len(run.memory) == 2 * 2 * 12
    sentences = torch.cat([run.stream[i].train_indices for i in range(2)])
    run.network.eval()
    h = torch.cat([run.network.encoder(run.batch(one[None])) for one in sentences]).detach()
    columns = run.column[run.tokens.labels[sentences]]
    expected = torch.stack([h[columns == c].mean(0) for c in range(4)])
    torch.testing.assert_close(run.prototypes(), expected, rtol=1e-4, atol=1e-5)


def test_prototypes_know_no_dropout_and_leave_the_mode():
    run = prepared()
    for mode in (True, False):
        run.network.train(mode)
        assert torch.equal(run.prototypes(), run.prototypes())
        assert run.network.training is mode
        assert not run.prototypes().requires_grad


def test_memory_holds_the_tasks_relations_and_old_ones_stay():
    run = prepared(task=0)
    before = run.remembered()
    run.remember(1)
    assert torch.equal(run.remembered()[: len(before)], before)
    assert len(run.memory) == 3 * 4
    labels = run.tokens.labels[run.remembered()]
    assert labels.unique().tolist() == sorted(run.stream.classes_seen(1))
    train = torch.cat([run.stream[i].train_indices for i in range(2)])
    assert torch.isin(run.remembered(), train).all()


def test_prototypes_move_with_training_and_only_with_it():
    run = prepared()
    before = run.prototypes()
    contrast(run, "CL1", 1, before)
    assert not torch.allclose(run.prototypes(), before)
    still = prepared(contrast_learning_rate=1e-30)
    before = still.prototypes()
    contrast(still, "CL1", 1, before)
    assert torch.equal(still.prototypes(), before)


# --- phases: checks 6, 14 and 15 --------------------------------------------------------------------


def spy_batches(run):
    shown, plain = [], run.batch

    def batch(sentences):
        shown.append(sentences)
        return plain(sentences)

    run.batch = batch
    return shown


def loss_of_one_batch(run, task=1, sentences=None):
    """Return CL2's loss on given sentences, and how many sentences the BERT saw."""
    found, counted = [], []
    hook = run.network.encoder.network.register_forward_pre_hook(
        lambda module, args, kwargs: counted.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    run.fit = lambda phase, task, pool, epochs, loss, rates, **options: found.append(
        loss(run.batch(pool if sentences is None else sentences))
    )
    run.network.train()
    contrast(run, "CL2", task, run.prototypes())
    hook.remove()
    run.prototypes()
    return found[0], counted


@pytest.mark.parametrize("passes", [1, 4])
def test_m_passes_weigh_old_relations_and_show_the_bert_each_sentence_once(passes):
    run = prepared(dropout=0.0, memory_passes=passes)
    run.network.encoder.network.eval()
    disable_dropout(run)
    sentences = run.remembered()
    found, counted = loss_of_one_batch(run)
    assert sum(counted) == 2 * len(sentences)  # prototypes, then the loss
    h = run.embed(sentences)
    columns = run.column[run.tokens.labels[sentences]]
    z = run.network.similarities(h, run.prototypes())
    each = torch.stack(
        [
            prototype_contrastive_loss(z[i : i + 1], columns[i : i + 1], lambda1=0.5)
            for i in range(len(z))
        ]
    )
    weight = torch.where(columns < 2, passes, 1)  # two relations a task: columns 0 and 1 are old
    torch.testing.assert_close(found, (each * weight).sum() / weight.sum())


def disable_dropout(run):
    """Turn every dropout of the encoder off, also in training mode."""
    for module in run.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def test_without_old_relations_m_changes_nothing():
    runs = [prepared(task=0, memory_passes=passes) for passes in (1, 10)]
    for run in runs:
        disable_dropout(run)
    losses = [loss_of_one_batch(run, task=0)[0] for run in runs]
    assert losses[0] == losses[1]


def test_head_rows_and_its_renewal():
    assert make_run().network.head.linear.out_features == 6
    run = make_run(head="per_task")
    assert run.network.head.linear.out_features == 2
    before = run.network.head.linear.weight.clone()
    run.renew_head(1)
    assert not torch.equal(run.network.head.linear.weight, before)
    run = run.train()
    assert run.accuracy.isfinite().all()


def test_the_attention_memory_trains_unless_told_otherwise():
    for choice, moves in (("trained", True), ("untrained", False)):
        run = make_run(method="CRECL+ATM", attention_memory=choice)
        train_crecl(run, 0)
        trained = kept(run.network.attention_memory)
        run.renew_attention_memory(0)
        fresh = kept(run.network.attention_memory)
        changed = [name for name in fresh if not torch.equal(fresh[name], trained[name])]
        assert bool(changed) is moves
        if moves:  # every part of it, as check 15 asks
            assert {name.split(".")[0] for name in changed} == {n.split(".")[0] for n in fresh}


# --- whole runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ALL)
def test_every_method_runs(method):
    run = make_run(2121, method=method, n_tasks=2, epochs_classification=1, batch_size=16).train()
    seen = torch.ones(2, 2).tril()
    assert ((run.accuracy >= 0) & (run.accuracy <= 1)).all()
    assert (run.accuracy[seen == 0] == 0).all()
    phases = {entry["phase"] for entry in run.history}
    assert "classification" in phases
    assert ("CL1" in phases) == (method.startswith("CRECL") and method not in WITHOUT_CL1)
    assert ("CL2" in phases) == (method.startswith("CRECL") and method not in WITHOUT_CL2)
    assert all(math.isfinite(entry["loss"]) for entry in run.history)


@pytest.mark.parametrize("changes", [{"variant": "released"}, {"exact_paper": True}])
def test_every_variant_runs(changes):
    run = make_run(n_tasks=2, epochs_classification=1, epochs_warmup=None, **changes).train()
    assert run.accuracy[1].isfinite().all()
    released = "variant" in changes
    assert ({entry["phase"] for entry in run.history} >= {"warm-up"}) is released
    assert run.network.encoder.attend_pads is released
    assert run.network.head.linear.out_features == (6 if released else 3)
    assert (run.network.head.linear.bias is None) is released


WITHOUT_CL1, WITHOUT_CL2 = ("CRECL-CL1", "CRECL-CL"), ("CRECL-CL2", "CRECL-CL")


def test_it_learns_and_remembers_more_than_fine_tuning():
    options = {
        "data": easy_data(),
        "encoder": "tiny",
        "n_tasks": 2,
        "epochs_classification": 8,
        "epochs_current": 4,
        "epochs_memory": 6,
        "memory_size": 6,
        "learning_rate": 5e-4,
        "contrast_learning_rate": 3e-4,
    }
    crecl, floor = (make_run(method=m, **options).train() for m in ("CRECL", "CRECL-CL"))
    assert crecl.accuracy[1].mean() > 0.75  # of six relations
    assert crecl.accuracy[1].mean() > floor.accuracy[1].mean() + 0.2


def test_the_accuracy_matrix_holds_the_share_of_right_predictions():
    run = make_run().train()
    tests = run.stream[0].test_indices
    correct = run.predict(tests, 2) == run.tokens.labels[tests]
    torch.testing.assert_close(run.accuracy[2, 0], correct.float().mean())
    assert torch.isin(run.predict(tests, 1), run.relations[:4]).all()


def test_prediction_is_the_nearest_prototype():
    run = prepared()
    tests = torch.cat([run.stream[i].test_indices for i in range(2)])
    h, prototypes = run.embed(tests), run.prototypes()
    with torch.no_grad():
        s, p = run.network.projector(h), run.network.projector(prototypes)
    expected = [
        int(run.stream.class_order[max(range(4), key=lambda c: float(row @ p[c]))]) for row in s
    ]
    assert run.predict(tests, 1).tolist() == expected


def test_crecl_c_is_crecl_read_at_its_head():
    options = {"n_tasks": 2, "epochs_classification": 2, "epochs_current": 1, "epochs_memory": 1}
    run = make_run(**options).train()
    alone = make_run(method="CRECL(C)", **options).train()
    twin = run.at_head()
    assert torch.equal(twin.accuracy, alone.accuracy)
    assert twin.settings == alone.settings
    assert not torch.equal(twin.accuracy, run.accuracy)
    tests = torch.cat([run.stream[i].test_indices for i in range(2)])
    assert torch.equal(twin.predict(tests, 1), alone.predict(tests, 1))
    assert run.settings.method == "CRECL"  # the run itself is as it was


UNTRAINED = {"method": "CRECL+ATM", "attention_memory": "untrained"}


def test_crecl_with_an_untrained_attention_memory_is_crecl_read_through_one():
    options = {"encoder": "tiny", "epochs_memory": 3}
    run = make_run(**options).train()
    alone = make_run(**options, **UNTRAINED).train()
    twin = run.at_untrained_memory()
    assert torch.equal(twin.accuracy, alone.accuracy)
    assert not torch.equal(twin.accuracy, run.accuracy)
    assert (twin.settings, twin.given) == (alone.settings, alone.given)
    # The run itself, its other reading and its weights are as without this reading.
    assert run.settings.method == "CRECL" and run.network.attention_memory is None
    drawn = {f"attention_memory.{name}" for name in alone.network.attention_memory.state_dict()}
    assert run.network.state_dict().keys() == alone.network.state_dict().keys() - drawn
    assert all(
        torch.equal(v, alone.network.state_dict()[k]) for k, v in run.network.state_dict().items()
    )
    # Its record is that of the cell of `sweep variants`, but for the time and a note.
    assert Cell("CRECL+ATM", {"attention_memory": "untrained"}) in TABLES["variants"].cells
    *others, record = run.records()
    assert [r.method for r in (*others, record)] == ["CRECL(C)", "CRECL+ATM", "CRECL"]
    assert config_hash(others[1]) == config_hash(alone.configuration())
    own = {"date", "seconds", "peak_memory_bytes", "note"}
    assert others[1].model_dump(exclude=own) == alone.record().model_dump(exclude=own)
    assert others[1].note == f"the same training as CRECL; {alone.record().note}"


def test_the_untrained_reading_survives_a_kill_and_an_older_checkpoint_has_none(tmp_path):
    def kill(run):
        if run.tasks_done == 2:
            raise KeyboardInterrupt

    options = {"epochs_classification": 1, "n_tasks": 3}
    whole = make_run(**options).train()
    for older in (False, True):
        work = tmp_path / str(older)
        with pytest.raises(KeyboardInterrupt):
            make_run(work_dir=work, **options).train(kill)
        if older:
            folder = make_run(work_dir=work, **options).folder / "checkpoint"
            state, progress = checkpoints.load(folder)
            del state["run.untrained_accuracy"]
            checkpoints.save(folder, state, progress)
        resumed = make_run(work_dir=work, **options).train()
        assert torch.equal(resumed.accuracy, whole.accuracy)
        if not older:
            assert torch.equal(resumed.untrained_accuracy, whole.untrained_accuracy)
            continue
        assert [record.method for record in resumed.records()] == ["CRECL(C)", "CRECL"]
        with pytest.raises(ValueError, match="untrained attention memory"):
            resumed.at_untrained_memory()


@pytest.mark.parametrize("changes", [{"prediction": "head"}, {"head": "per_task"}])
def test_only_crecl_as_written_has_other_readings(changes):
    for run in (make_run(**changes), make_run(method="CRECL-K"), make_run(method="CRECL-CL")):
        assert not run.has_two_readings
        with pytest.raises(ValueError, match="second reading"):
            run.at_head()
        with pytest.raises(ValueError, match="untrained attention memory"):
            run.at_untrained_memory()
    assert make_run(attention_memory="trained").untrained_accuracy is None


def test_embedding_order_and_batches_do_not_matter():
    run = make_run()
    sentences = run.stream[0].train_indices
    shuffled = torch.randperm(len(sentences), generator=generator())
    h = run.embed(sentences)
    torch.testing.assert_close(run.embed(sentences[shuffled]), h[shuffled], rtol=1e-4, atol=1e-5)


def test_a_run_killed_within_a_task_ends_with_the_same_numbers(tmp_path):
    def kill(run, phase):
        if run.tasks_done == 1:
            raise KeyboardInterrupt

    options = {"method": "RP-CRE", "epochs_classification": 1}
    whole = make_run(**options).train()
    with pytest.raises(KeyboardInterrupt):
        make_run(work_dir=tmp_path, **options).train(on_phase=kill)
    done = []
    resumed = make_run(work_dir=tmp_path, **options).train(lambda run: done.append(run.tasks_done))
    assert done == [2, 3]
    assert same(whole.network, resumed.network)
    assert whole.history == resumed.history


def test_each_seed_has_a_task_order_of_its_own():
    first, second = (make_run(seed) for seed in (2021, 2121))
    assert first.stream.class_order != second.stream.class_order


def test_methods_see_the_same_data_in_the_same_order():
    shown = {}
    for method in ("CRECL", "CRECL-MAG", "CRECL-CL"):
        run = make_run(method=method)
        batches = spy_batches(run)
        classify(run, 0, run.stream[0].train_indices, 1)
        shown[method] = torch.cat(batches).tolist()
    assert shown["CRECL"] == shown["CRECL-MAG"] == shown["CRECL-CL"]


@pytest.mark.parametrize("changes", [{"pooling": "pairs"}, {"attend_pads": True}, {"size": 16}])
def test_encoder_switches_reach_the_run(changes):
    run = make_run(**changes)
    h = run.embed(run.stream[0].test_indices)
    assert h.shape == (8, changes.get("size", 32))
    if "size" not in changes:
        plain = make_run().embed(run.stream[0].test_indices)
        assert not torch.allclose(h, plain, atol=1e-4)
    if changes.get("attend_pads"):
        assert run.batch(torch.tensor([0]))["input_ids"].shape[1] == 128


def test_an_encoder_with_too_few_positions_is_refused():
    with pytest.raises(ValueError, match="600 tokens need an encoder with as many positions"):
        _ = make_run(max_length=600, attend_pads=True).network


def test_validation_sentences_need_a_split_that_has_some():
    with pytest.raises(ValueError, match="no validation sentences"):
        make_run(validation=True)


def test_a_limit_keeps_some_training_sentences_of_every_relation():
    run, whole = make_run(train_limit=5), make_run()
    for task, other in zip(run.stream, whole.stream, strict=True):
        labels = run.tokens.labels[task.train_indices]
        assert torch.bincount(labels)[list(task.classes)].tolist() == [5, 5]
        assert torch.isin(task.train_indices, other.train_indices).all()
        assert torch.equal(task.test_indices, other.test_indices)


def test_bfloat16_stays_near_float32():
    runs = [make_run(precision=name) for name in ("float32", "bfloat16")]
    h = [run.embed(run.stream[0].test_indices) for run in runs]
    assert h[1].dtype == torch.float32
    assert not torch.equal(*h)
    torch.testing.assert_close(h[1], h[0], rtol=0.1, atol=0.05)


def test_a_training_that_diverges_stops_and_leaves_no_checkpoint(tmp_path):
    run = make_run(work_dir=tmp_path, learning_rate=1e30)
    with pytest.raises(
        DivergenceError,
        match=r"the loss is (nan|inf) in task 1, [a-z]+, epoch.* lower learning rate",
    ):
        run.train()
    assert run.done == 0 and not list(tmp_path.rglob("*.safetensors"))
