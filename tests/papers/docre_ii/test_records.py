"""What records of DocRE-II say beside the scores, and that finished ones stay matched to their runs."""

import pytest
import torch
from docre_data import parameters, tiny_data

from relcl_lib.lab.records import config_hash, read_records, results_root
from relcl_lib.lab.run import HIDDEN
from relcl_lib.models.atlop import PairScores
from relcl_lib.models.pair_attention import PairMatrix
from relcl_lib.models.pair_inference import decode_relations, iterate_logits, with_class_zero
from relcl_lib.papers.docre_ii.linear import LinearRun
from relcl_lib.papers.docre_ii.network import as_facts, fed_logits, pair_matrix
from relcl_lib.papers.docre_ii.parameters import LINEAR, DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun
from relcl_lib.text.document_metrics import (
    average_precision,
    best_threshold,
    fact_scores,
    threshold_f1,
)

RECORDS = read_records(paper="docre_ii")


def make(**changes):
    return DocreRun(parameters(**changes), tiny_data(4), 0)


@torch.no_grad()
def first_pass(run, gold):
    """F1 on test of one inference pass that reads the gold relations or none, document by document."""
    run.model.eval()
    tokens, inference = run.tokens("test"), run.model.inference
    found = [set() for _ in run.data.test]
    for row in tokens.usable.split(1):
        batch = tokens.batch(row)
        read = with_class_zero(batch.labels & gold)
        features = inference.embed_features(run.model.base(batch).features)
        vectors = inference(features, inference.embed_relations(read), pair_matrix(batch))
        labels = decode_relations(inference.classifier(vectors))
        found[int(row)] = {
            fact for _, fact in as_facts(labels, batch.pairs, row, run.data.relations)
        }
    return fact_scores(found, run.data.test)["F1"]


def test_records_say_whether_the_module_reads_what_is_fed_back():
    run = make(stage2_epochs=2).train()
    with torch.no_grad():  # a few steps teach little: make what it reads weigh
        run.model.inference.relations.mul_(20)
    metrics = run.outcome(0)["metrics"]
    assert metrics["F1_fed_gold"] == pytest.approx(first_pass(run, True))
    assert metrics["F1_fed_none"] == pytest.approx(first_pass(run, False))
    assert metrics["F1_fed_gold"] != metrics["F1_fed_none"]
    assert {"F1_fed_gold_dev", "F1_fed_none_dev"} <= set(metrics)
    torch.nn.init.zeros_(run.model.inference.relations)  # now R is 0 whatever is fed back
    metrics = run.outcome(0)["metrics"]
    assert metrics["F1_fed_gold"] == metrics["F1_fed_none"] == metrics["F1_K1"]
    assert metrics["F1_fed_neighbours"] == metrics["F1_K1"]


@torch.no_grad()
def test_neighbours_are_told_and_the_pair_itself_is_not():
    run = make()
    run.model.inference.relations.mul_(20)
    module, batch = run.model.eval().inference, run.tokens("test").batch(torch.arange(3))
    scores, cells, gold = run.model.base(batch), pair_matrix(batch), with_class_zero(batch.labels)
    draw = torch.Generator().manual_seed(3)
    found = fed_logits(module, scores, cells, gold, draw, sum_logits=False)[2]
    own = decode_relations(scores.logits)
    part = torch.randint(4, (len(gold),), generator=torch.Generator().manual_seed(3)).tolist()
    features = module.embed_features(scores.features)
    told = 0
    for pair in range(len(gold)):
        read = [own[i] if part[i] == part[pair] else gold[i] for i in range(len(gold))]
        told += sum(part[i] != part[pair] for i in range(len(gold)))
        vectors = module(features, module.embed_relations(torch.stack(read)), cells)
        assert torch.allclose(module.classifier(vectors)[pair], found[pair], atol=1e-4)
    assert told / len(gold) / (len(gold) - 1) == pytest.approx(0.75, abs=0.05)
    usual = run.model.inference.classifier(module(features, module.embed_relations(own), cells))
    assert not torch.allclose(usual, found, atol=1e-2)


@torch.no_grad()
def test_a_pair_alone_has_no_neighbours_to_read():
    run = make()
    run.model.inference.relations.mul_(20)
    module, pairs, R = run.model.eval().inference, 5, len(run.data.relations)
    cells = PairMatrix(torch.tensor([(document, 0, 1) for document in range(pairs)]), pairs, 2)
    scores = PairScores(torch.randn(pairs, module.config.feature_size), torch.randn(pairs, R + 1))
    gold = with_class_zero(torch.rand(pairs, R) < 0.5)
    found = fed_logits(module, scores, cells, gold, torch.Generator(), sum_logits=False)[2]
    assert torch.allclose(found, iterate_logits(module, scores, cells, 1)[1], atol=1e-5)


def test_the_base_is_called_once_a_batch():
    run = make().train()
    calls = []
    run.model.base.register_forward_hook(lambda *_: calls.append(1))
    scores = run.evaluate("test")
    assert {"F1_K4", "F1_fed_gold", "F1_fed_none", "F1_fed_neighbours"} <= set(scores)
    assert len(calls) == -(-len(run.tokens("test").usable) // (2 * run.settings.batch_size))


@torch.no_grad()
def margins_of(run, split, base):
    """Margins, labels and gold facts of a split, document by document."""
    run.model.eval()
    if base:
        run.model.base.load_state_dict(run.base_state)
    tokens, found = run.tokens(split), []
    for row in tokens.usable.split(1):
        batch = tokens.batch(row)
        scores, k = run.model.base(batch), 0 if base else run.settings.iterations
        logits = iterate_logits(run.model.inference, scores, pair_matrix(batch), k)[-1]
        found.append((logits[:, 1:] - logits[:, :1], batch.labels))
    gold = sum(len(document.gold()) for document in getattr(run.data, split))
    return *map(torch.cat, zip(*found, strict=True)), gold


def test_records_have_the_threshold_of_training_and_that_of_dev():
    run = make(stage2_epochs=1).train()
    metrics = run.outcome(0)["metrics"]
    for of, base in (("", False), ("_base", True)):  # the base last: it takes stage 1's weights
        dev, test = (margins_of(run, split, base) for split in ("dev", "test"))
        threshold = best_threshold(*dev)
        assert metrics[f"threshold{of}_dev"] == pytest.approx(threshold, abs=1e-3)
        for split, suffix in ((test, ""), (dev, "_dev")):
            tuned = threshold_f1(*split, threshold)
            assert metrics[f"F1_tuned{of}{suffix}"] == pytest.approx(tuned, abs=0.5)
            assert metrics[f"AP{of}{suffix}"] == pytest.approx(average_precision(*split), abs=0.1)
        assert metrics[f"F1_tuned{of}_dev"] >= metrics[f"F1{of}_dev"]
    train = margins_of(run, "train", True)
    own = threshold_f1(*train, 0.0)
    assert metrics["F1_base_train"] == pytest.approx(own, abs=0.5)
    assert metrics["AP_base_train"] == pytest.approx(average_precision(*train), abs=0.1)
    assert "F1_tuned" not in run.evaluate("test")  # tuned on dev or not at all


def test_without_an_inference_module_nothing_is_fed():
    metrics = make(method="ATLOP (base)").train().record().metrics
    assert "F1_K0" in metrics
    assert not [name for name in metrics if "fed" in name]


def test_what_was_cut_is_counted_in_every_split():
    run = make(method="ATLOP (base)", max_pieces=100).train()
    record = run.record()
    for split in ("train", "dev", "test"):
        name = "training" if split == "train" else split
        report = record.dataset[f"{name}_documents"]
        assert report == run.tokens(split).report
        assert report["documents_cut"] > 0 and {"mentions_cut", "entities_cut"} <= set(report)
    bare = run.configuration()
    bare["dataset"] = {k: v for k, v in bare["dataset"].items() if not k.endswith("_documents")}
    assert config_hash(bare) == config_hash(record)  # a record without them is this run's, too


@pytest.mark.parametrize(
    "record", RECORDS, ids=lambda r: f"{r.experiment}-{r.method}-{r.seed}-{config_hash(r)}"
)
def test_finished_records_are_matched_to_their_runs(record):
    """What a run of the same settings would look for today is the file that lies there."""
    run = LinearRun if record.method == LINEAR else DocreRun
    shared = (record.parameters.keys() & DocreParameters.model_fields.keys()) - {"base"}
    chosen = DocreParameters(
        dataset=record.dataset["name"],
        method=record.method,
        variant=record.variant,
        encoder="tiny",
        **{name: record.parameters[name] for name in shared},
    )
    hidden = {*HIDDEN, "dataset", "method", "variant", *run.elsewhere}
    hidden |= {*chosen.resolved().as_before}
    settings = chosen.resolved().model_dump(exclude=hidden)
    named = ("base", "encoder_type", "orientation", "strengths")
    apart = {name: record.parameters[name] for name in named if name in record.parameters}
    assert settings | apart == record.parameters
    (path,) = results_root().glob(f"docre_ii/*/*-{config_hash(record)}.json")
    assert path.parent.name == record.experiment
