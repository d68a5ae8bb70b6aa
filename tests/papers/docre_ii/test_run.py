"""Training of DocRE-II: stages, resuming, switches (check 12), another base, records."""

import json
from pathlib import Path

import pytest
import torch
from docre_data import encoder_parts, parameters, tiny_data
from states import kept, same

from relcl_lib.commands.sweep import make_cells, parser
from relcl_lib.data.document_sets import assemble_documents
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.run import DivergenceError
from relcl_lib.models.atlop import PairScores
from relcl_lib.papers.docre_ii.network import base_loss
from relcl_lib.papers.docre_ii.parameters import METHODS, PAPER_ENCODERS, TRAINING, DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun


def make(seed=0, work_dir=None, data=None, **changes):
    return DocreRun(parameters(**changes), data or tiny_data(), seed, work_dir)


def step(run, rows=(0, 1, 2)):
    run.model.train()
    torch.manual_seed(0)
    run.step = 5
    run.training_step(run.tokens("train").batch(torch.tensor(rows)), 10, torch.Generator())


def weights(run, prefix=""):
    return {k: v for k, v in kept(run.model.named_parameters()).items() if k.startswith(prefix)}


# --- the step ----------------------------------------------------------------------------------


def test_a_second_stage_without_its_losses_is_the_first(monkeypatch):
    """Check 12: with the rates of stage 1, one step moves the base in the same way."""
    import relcl_lib.papers.docre_ii.network as network

    first, second = make(clip=1e9), make(clip=1e9)
    step(first)
    second.stage = 2
    for group in second.optimizer.param_groups:
        group["lr"] = group["peak"]
    monkeypatch.setattr(network, "inference_loss", lambda *_: 0.0)
    step(second)
    before = weights(make())
    moved = 0
    for name, value in weights(first, "base.").items():
        assert torch.equal(value, second.model.get_parameter(name)), name
        moved += not torch.equal(value, before[name])
    assert moved > 20


def test_further_documents_of_a_profile_are_for_the_generated_set_alone():
    create = DocreParameters.create
    assert create(profile="quick").generated == 160
    assert create(profile="quick", dataset="mine").generated == 0
    assert create({"dataset": "mine", "generated": None}, profile="quick").generated == 0
    assert create(profile="quick", dataset="mine", generated=3).generated == 3  # loading says no


def test_a_frozen_base_stays_as_it_is():
    run = make(freeze_base=True)
    run.stage = 2
    run.renew_optimizer()
    before = weights(run)
    step(run)
    changed = {name for name, value in weights(run).items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("inference.") for name in changed)


def test_groups_have_the_rates_of_their_stage_and_decay_matrices_only():
    run = make()
    peaks = {g["peak"] for g in run.optimizer.param_groups}
    assert peaks == {1e-3, 3e-3}
    for group in run.optimizer.param_groups:
        assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])
    encoder = {id(p) for p in run.model.base.encoder.parameters()}
    for group in run.optimizer.param_groups:
        assert all((id(p) in encoder) == (group["peak"] == 1e-3) for p in group["params"])
    run.stage = 2
    run.renew_optimizer()
    optimizer = run.optimizer
    assert {g["peak"] for g in optimizer.param_groups} == {1e-4, 3e-3}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(
        list(run.model.parameters())
    )
    fresh = make(method="w/o pre-training")
    assert fresh.stage == 2
    assert {g["peak"] for g in fresh.optimizer.param_groups} == {1e-3, 3e-3}


def test_the_base_loss_is_the_mean_over_pairs():
    run = make()
    run.model.eval()
    tokens = run.tokens("train")
    both = tokens.batch(torch.tensor([0, 5]))
    apart = [tokens.batch(torch.tensor([i])) for i in (0, 5)]
    each = [base_loss(run.model.base(b), b) * len(b.pairs) for b in apart]
    found = base_loss(run.model.base(both), both)
    torch.testing.assert_close(found, sum(each) / len(both.pairs), atol=1e-5, rtol=1e-5)


# --- runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_is_scored(method):
    changes = {"stage1_epochs": 0} if method == "w/o pre-training" else {}
    run = make(method=method, **changes).train()
    assert run.finished
    assert all(entry["loss"] > 0 for entry in run.history)
    scores = run.evaluate("test")
    assert {"F1", "IgnF1", "AP", "Infer-F1", "F1_K0", "recall_inferred"} <= set(scores)
    if method == "ATLOP (base)":  # nothing trained an inference module
        base = run.evaluate_base("test")
        assert base["F1"] == scores["F1_K0"] == scores["F1"]
        assert base["AP"] == scores["AP"] > 0
    assert ("F1_K4" in scores) == (method != "ATLOP (base)")


def test_variants_and_switches_train():
    pieces = 200
    for changes in (
        {"relation": "argmax", "mixing": "concat", "spurious": True},
        {"feedback": "gold", "own_bonus": 1.0, "inference_classifier": "projected"},
        {
            "sum_logits": True,
            "long_documents": "positions",
            "max_pieces": pieces,
            "encoder_layers": 3,
        },
        {"pair_network": "concat", "mention": "both", "document_vector": True, "bucket": 0},
        {"precision": "bfloat16", "contrast_scale": "released"},
    ):
        run = make(data=tiny_data(4), **changes)
        if "long_documents" in changes:
            assert int(run.tokens("train").lengths.max()) <= pieces
        run.train()
        assert run.history[-1]["loss"] > 0


def test_runs_of_one_base_share_its_scores(tmp_path, monkeypatch):
    settings = {"stage1_epochs": 2, "stage2_epochs": 1, "data": tiny_data(8)}
    without = {"method": "w/o ECA", **settings}
    alone = make(**without).train().record().metrics
    first = make(work_dir=tmp_path, **settings).train().record().metrics
    read, splits = DocreRun.read, []
    monkeypatch.setattr(
        DocreRun, "read", lambda s, *a, **k: splits.append(a[0]) or read(s, *a, **k)
    )
    second = make(work_dir=tmp_path, **without).train()
    splits.clear()
    assert second.record().metrics == alone and splits == ["dev", "test"]
    assert {"F1_base", "F1_base_dev", "AP_base_train", "F1_gain_p"} <= alone.keys()
    assert all(alone[name] == first[name] for name in alone if "_base" in name)
    # Another base in the same place is scored by itself.
    for value in second.base_state.values():
        value.mul_(0.5)
    splits.clear()
    changed = second.record().metrics
    assert (
        splits == ["dev", "test", "dev", "test", "train"] and changed["AP_base"] != alone["AP_base"]
    )


def test_runs_that_differ_in_stage_2_share_stage_1(tmp_path):
    settings = {"stage1_epochs": 2, "stage2_epochs": 1, "data": tiny_data(8), "dropout": 0.1}
    without = {"method": "w/o ECA", "inference_layers": 2, **settings}
    alone = make(work_dir=tmp_path / "alone", **without).train()
    make(work_dir=tmp_path / "shared", **settings).train()
    seen = []
    second = make(work_dir=tmp_path / "shared", **without)
    second.train(lambda run: seen.append((run.stage, run.epochs_done)))
    assert seen == [(2, 3)]  # it trained its stage 2 only
    assert same(alone.model, second.model) and same(alone.base_state, second.base_state)
    assert [h["loss"] for h in second.history] == [h["loss"] for h in alone.history]
    base = make(work_dir=tmp_path / "shared", **{**settings, "method": "ATLOP (base)"})
    base.train(lambda run: pytest.fail("trained"))
    assert base.predict("test")[0] == alone.predict_base("test")
    # What shapes stage 1 does not share it.
    for change in ({"encoder_rate": 2e-3}, {"stage1_epochs": 1}, {"block": 4}):
        seen.clear()
        run = make(work_dir=tmp_path / "shared", **{**settings, **change})
        run.train(lambda run: seen.append(run.stage))
        assert 1 in seen, change


def test_stage_2_starts_from_the_best_base():
    run = make(stage1_epochs=3, data=tiny_data(8))
    found = []

    def watch(run):
        if run.epochs_done == 3:
            found.append({k: v for k, v in kept(run.best).items() if k.startswith("base.")})

    run.train(watch)
    assert same(found[0], {f"base.{name}": value for name, value in run.base_state.items()})
    assert max(h["dev_F1"] for h in run.history if h["stage"] == 2) == run.best_score


def test_over_fitting_finds_the_facts():
    train = tiny_data(1).train
    splits = dict.fromkeys(("train", "dev", "test"), train)
    run = make(
        data=assemble_documents("mine", splits, relations=tiny_data().relations),
        mention="first",
        pair_size=64,
        stage1_epochs=60,
        stage2_epochs=60,
        batch_size=1,
        encoder_rate=2e-3,
        classifier_rate=5e-3,
        base_rate=1e-3,
        inference_rate=5e-3,
        encoder_dropout=0.0,
        dropout=0.0,
    ).train()
    assert run.evaluate_base("test")["F1"] > 90
    assert run.evaluate("test")["F1"] > 65  # noise and contrast slow the second stage down


def test_another_base_plugs_in():
    class Pooled(torch.nn.Module):
        """Mean piece embeddings of the two entities' markers; nothing of ATLOP."""

        feature_size = 12

        def __init__(self, vocabulary, columns):
            super().__init__()
            self.table = torch.nn.Embedding(vocabulary, 6)
            self.classifier = torch.nn.Linear(12, columns)

        def forward(self, batch):
            row, entity, place, _ = batch.mentions.unbind(1)
            vectors = self.table(batch.ids[row, place + 1])
            n = batch.n_entities
            total = vectors.new_zeros(len(batch.ids) * n, 6).index_add(0, row * n + entity, vectors)
            document, s, o = batch.pairs.unbind(1)
            features = torch.cat([total[document * n + s], total[document * n + o]], 1)
            return PairScores(features, self.classifier(features))

    def build_pooled(settings, data):
        tokenizer, _ = encoder_parts()
        return tokenizer, Pooled(len(tokenizer), len(data.relations) + 1)

    run = DocreRun(parameters(), tiny_data(), 0, make_base=build_pooled).train()
    assert run.base_name == "pooled"
    assert len(run.predict("test")) == 4
    assert run.configuration()["parameters"]["base"] == "pooled"


def test_a_document_without_pairs_gets_no_fact():
    data = tiny_data(4)
    alone = data.dev[0].__class__("alone", data.dev[0].sentences, data.dev[0].entities[:1], ())
    splits = {"train": [*data.train, alone], "dev": [alone, *data.dev], "test": data.test}
    run = make(data=assemble_documents("mine", splits, relations=data.relations)).train()
    assert run.predict("dev")[-1][0] == set()
    with pytest.raises(ValueError, match="no document of mine's training split has a pair"):
        make(
            data=assemble_documents(
                "mine", {"train": [alone], "dev": [alone]}, relations=data.relations
            )
        )


def test_iterations_only_change_what_is_read_off():
    run = make(data=tiny_data(4)).train()
    three, one = run.predict("test", 3), run.predict("test", 1)
    assert three[:2] == one
    assert run.evaluate("test", 0)["F1"] == run.evaluate("test")["F1_K0"]
    assert run.evaluate("test", 1)["F1"] == run.evaluate("test")["F1_K1"]


# --- parameters and records --------------------------------------------------------------------


def test_training_is_that_of_table_7():
    for dataset, encoder, key in (
        ("docred", "bert-base-cased", "docred"),
        ("docred", "roberta-large", "roberta"),
        ("cdr", "allenai/scibert_scivocab_cased", "cdr"),
        ("gda", "allenai/scibert_scivocab_cased", "gda"),
    ):
        found = DocreParameters(dataset=dataset, encoder=encoder).resolved()
        assert {name: getattr(found, name) for name in TRAINING[key]} == TRAINING[key]
    assert DocreParameters(dataset="cdr").resolved().markers == "mention"


@pytest.mark.parametrize("dataset", ["docred", "redocred", "cdr", "gda", "mine"])
def test_the_encoder_goes_with_the_data_set(dataset):
    """`sweep table1 --dataset cdr` alone is Table 3, with SciBERT and its rates."""
    cell = {"dataset": dataset}
    if dataset != "mine":
        (cell,) = make_cells(parser().parse_args(["docre_ii", "table1", "--dataset", dataset]))
    found = DocreParameters.create({**cell, "profile": "full"}).resolved()
    scibert = dataset in ("cdr", "gda")
    assert found.encoder == ("allenai/scibert_scivocab_cased" if scibert else "bert-base-cased")
    assert Path(found.encoder).name in PAPER_ENCODERS.get(dataset, (Path(found.encoder).name,))
    given = DocreParameters.create({**cell, "profile": "full", "encoder": "roberta-large"})
    assert given.resolved().encoder == "roberta-large"
    own = TRAINING[dataset] if scibert else TRAINING["roberta"]
    assert given.resolved().base_rate == own["base_rate"]


def test_the_reduced_profile_takes_the_base_that_was_best_on_dev():
    lines = (repository_root() / "data/tries/docre_ii/cdr_base_search.jsonl").read_text()
    tries = [json.loads(line) for line in lines.splitlines()]
    for score in ("dev_F1", "dev_AP"):
        for seed in (0, 1):
            tried = [run for run in tries if run["seed"] == seed]
            best = max(tried, key=lambda run: max(epoch[score] for epoch in run["epochs"]))
            profile = DocreParameters.profiles["reduced"]
            assert {name: profile[name] for name in best["change"]} == best["change"]


def test_the_table_of_the_search_for_a_base_is_that_of_its_runs():
    folder, best = repository_root() / "data" / "tries", {}
    for line in (folder / "docre_ii" / "cdr_base_search.jsonl").read_text().splitlines():
        run = json.loads(line)
        best.setdefault(run["setting"], []).append(max(run["epochs"], key=lambda e: e["dev_F1"]))
    lines = (folder / "README.md").read_text(encoding="utf-8").split("| base alone |")[1]
    shown = [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines.splitlines()[2:]]
    keys = ("dev_F1", "test_F1", "test_AP", "test_F1_tuned")
    assert shown == [
        [str(len(runs)), *(" / ".join(f"{run[key]:.1f}" for run in runs) for key in keys)]
        for runs in sorted(best.values(), key=lambda runs: -runs[0]["dev_F1"])
    ]


def test_variants_resolve_to_what_the_specification_lists():
    paper = DocreParameters().resolved()
    assert (paper.mention, paper.own_bonus, paper.feedback) == ("opening", 0.0, "predicted")
    assert (paper.inference_layers, paper.iterations, paper.relation) == (2, 3, "set")
    assert paper.noise == 0.4 and paper.noise_range == (0.0, 0.4)
    released = DocreParameters(variant="released").resolved()
    assert (released.markers, released.encoder_layers, released.sum_logits) == ("typed", 3, True)
    assert released.noise_range == (0.2, 0.5)
    assert (paper.spurious, released.spurious) == (False, True)
    assert paper.noise_draw == released.noise_draw == "blind"
    assert not DocreParameters(variant="released", dataset="cdr").resolved().spurious
    assert DocreParameters(variant="released", dataset="cdr", spurious=True).resolved().spurious
    assert DocreParameters(variant="released", own_bonus=0.0).resolved().own_bonus == 0.0


def test_misspelt_and_contradictory_parameters():
    with pytest.raises(ParameterError, match="did you mean encoder"):
        parameters(encoders="x")
    for noise in ([0.2, 1.5], [0.1]):
        with pytest.raises(ParameterError, match="noise"):
            parameters(noise=noise)
    for changes, word in (
        ({"stage1_epochs": 0, "stage2_epochs": 0}, "nothing to train"),
        ({"inference_size": 18}, "multiple of 4"),
        ({"noise": [0.5, 0.2]}, "must not fall"),
        ({"pair_size": 30}, "multiple of block"),
        ({"freeze_base": True, "stage1_epochs": 0}, "untrained base"),
        ({"method": "w/o pre-training", "freeze_base": True}, "untrained base"),
    ):
        with pytest.raises(ParameterError, match=word):
            parameters(**changes).resolved()


def test_a_record_has_both_modules_on_both_splits():
    record = make(data=tiny_data(4)).train().record()
    assert record.protocol == "stand-in"
    assert {"F1", "F1_base", "F1_base_dev", "IgnF1_dev", "weight_features"} <= set(record.metrics)
    assert record.parameters["encoder_type"] == "bert"
    assert record.backbone == "random-tiny-bert"


def test_unlabelled_test_documents_are_not_scored():
    data = tiny_data(4)
    hidden = [d.__class__(d.title, d.sentences, d.entities, None) for d in data.test]
    splits = {"train": data.train, "dev": data.dev, "test": hidden}
    run = make(data=assemble_documents("mine", splits, relations=data.relations)).train()
    record = run.record()
    assert "F1_dev" in record.metrics
    assert "F1" not in record.metrics
    assert "no public labels" in record.note


def test_gradients_end_with_their_step():
    """What outlives a step on a CPU splits the memory that the next one needs in one piece."""
    run = make()
    tokens = run.tokens("train")
    run.model.train()
    run.training_step(tokens.batch(tokens.usable[:2]), 4, torch.Generator())
    assert all(p.grad is None for p in run.model.parameters())


def test_a_training_that_diverges_stops_and_leaves_no_checkpoint(tmp_path):
    run = make(work_dir=tmp_path, encoder_rate=1e30)
    with pytest.raises(
        DivergenceError, match=r"the loss is (nan|inf) in epoch 1.* lower learning rate"
    ):
        run.train()
    assert run.done == 0 and not list(tmp_path.rglob("*.safetensors"))
