import math

import pytest
import torch
from fastre_data import parameters, tiny_data
from states import kept, same

from relcl_lib.models.convolution import SelfAttention
from relcl_lib.models.tagger import FastRE, TaggerConfig
from relcl_lib.papers.fastre import analysis
from relcl_lib.papers.fastre.network import batch_loss
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.text import triple_metrics
from relcl_lib.text.spans import find_span


@pytest.fixture(scope="module")
def run():
    """A run that finds some triples of its training sentences, not all."""
    changes = {"epochs": 25, "learning_rate": 0.01, "dropout": 0.0, "embedding_dropout": 0.0}
    return FastreRun(parameters(**changes), tiny_data(), 0).train()


@pytest.fixture(scope="module")
def batch(run):
    return run.tagged.batch(run.tagged.usable[:8], "sum")


def test_gold_rows_are_the_triples_of_the_text(run):
    for index in run.tagged.usable[:20].tolist():
        sentence = run.data.train[index]
        words = sentence.text.lower().split()
        expected = {
            (*find_span(words, s.lower().split()), r, *find_span(words, o.lower().split()))
            for s, r, o in sentence.triples
        }
        rows = analysis.gold_rows(run.tagged, index)
        assert {(a, b, run.schema.relations[r], p, q) for _, a, b, _, r, p, q in rows} == expected
        assert {row[0] for row in rows} == {index}
        assert all(run.schema.relation_types[row[4]] == row[3] for row in rows)


def test_boundaries_are_the_first_and_last_words_of_all_entities(run, batch):
    found = analysis.entity_boundaries(batch)
    for place, index in enumerate(run.tagged.usable[:8].tolist()):
        rows = analysis.gold_rows(run.tagged, index)
        expected = {word for _, a, b, _, _, p, q in rows for word in (a, b, p, q)}
        assert set(found[place].nonzero()[:, 0].tolist()) == expected


def test_attention_received_equals_a_loop_and_sums_to_the_length():
    torch.manual_seed(0)
    attention, hidden = SelfAttention(8, 2), torch.randn(2, 5, 8)
    lengths = [5, 3]
    mask = torch.tensor([[1.0] * n + [0.0] * (5 - n) for n in lengths]).unsqueeze(-1)
    got = analysis.attention_received(attention, hidden, mask)
    weights = attention.weights(hidden, mask)
    for row, n in enumerate(lengths):
        for word in range(5):
            shares = [weights[row, head, i, word].item() for head in range(2) for i in range(n)]
            assert math.isclose(got[row, word], sum(shares) / 2, abs_tol=1e-5)
        assert math.isclose(got[row].sum(), n, rel_tol=1e-5)


def test_gradient_norms_equal_central_differences(run, batch):
    """A word's vector is moved alone, which needs the word to occur once."""
    norms = analysis.gradient_norms(run, batch)
    assert norms.shape == batch.inputs["words"].shape
    assert torch.allclose(norms.max(1).values, torch.ones(8))
    assert not norms[~(torch.arange(norms.shape[1]) < batch.inputs["lengths"][:, None])].any()

    ids, vectors = batch.inputs["words"], run.model.encoder.vectors
    alone = [[w for w in row if (ids == w).sum() == 1 and w > 1][:2] for row in ids.tolist()]
    row = next(row for row, found in enumerate(alone) if len(found) == 2)
    once = alone[row]
    run.model.eval().double()
    lengths = []
    with torch.no_grad():
        for word in once:
            slope = torch.zeros(vectors.shape[1], dtype=torch.float64)
            for i in range(len(slope)):
                ends = []
                for step in (1e-5, -2e-5):  # up, then down across the middle
                    run.model.encoder.vectors[word, i] += step
                    ends.append(batch_loss(run.model, batch, run.settings, run.allowed))
                run.model.encoder.vectors[word, i] += 1e-5
                slope[i] = (ends[0] - ends[1]) / 2e-5
            lengths.append(slope.norm().item())
    run.model.float()
    places = [ids[row].tolist().index(word) for word in once]
    ratio = (norms[row, places[0]] / norms[row, places[1]]).item()
    assert math.isclose(ratio, lengths[0] / lengths[1], rel_tol=1e-2)


def test_the_threshold_as_trained_is_a_half_and_others_change_what_is_found(run):
    gold = [sentence.triples for sentence in run.data.valid]
    before = kept(run.model)
    usual = triple_metrics.triple_scores(run.predict("valid"), gold)["F1"]
    assert usual > 0
    for p, holds in ((0.5, float.__eq__), (1 - 1e-9, float.__lt__)):  # 20 above it: hardly any
        found = triple_metrics.triple_scores(run.predict("valid", threshold=p), gold)["F1"]
        assert holds(found, usual)
    assert analysis.f1_tuned(run, "valid") >= usual
    assert same(before, run.model)


def test_a_global_threshold_is_taken_as_it_is():
    fixed = parameters(method="-Adaptive Thresholding", epochs=20, learning_rate=0.01)
    fixed = FastreRun(fixed, tiny_data(), 0).train()
    low, high = (fixed.predict("valid", threshold=p) for p in (0.05, 0.3))
    assert low != high
    assert analysis.f1_tuned(fixed, "valid") == fixed.tune_threshold(fixed.threshold)[1]


def test_padding_moves_the_last_word_only_where_it_leaks(run):
    short, long = ["Ada", "lived", "in", "Paris"], ["a"] * 12
    assert max(analysis.padding_effect(run, short, long)) < 1e-4
    leaky = FastreRun(parameters(mask_pads=False), tiny_data(), 0)
    last, others = analysis.padding_effect(leaky, short, long)
    assert last > 1e-3
    assert others < 1e-4


def test_a_pass_is_timed_a_sentence(monkeypatch):
    sizes = TaggerConfig(hidden=16, vector_size=4, attention_heads=2, dilations=(1,))
    network = FastRE(sizes, torch.randn(20_000, 4)).eval()
    inputs = analysis.random_sentences(3, 7, torch.device("cpu"))
    assert inputs["words"].shape == (3, 7)
    assert torch.equal(inputs["pieces"].gather(1, inputs["first"]), inputs["words"])
    assert torch.equal(inputs["after"], inputs["first"] + 1)
    assert inputs["after"].max() + 2 == inputs["pieces"].shape[1] == inputs["piece_lengths"][0]
    passes = []

    def repeat(once, number, repeat):
        passes.append((once(), number, repeat))
        return [0.9, 0.6, 0.8]

    monkeypatch.setattr(analysis.timeit, "repeat", repeat)
    assert analysis.tagging_milliseconds(network, inputs, 3) == pytest.approx(200.0)  # the best
    assert passes == [(None, 1, 3)]
