"""The base module (check 3), the two-window encoder and the longer position table (check 13)."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from relcl_lib.models import atlop, window_encoder
from relcl_lib.models.atlop import (
    Atlop,
    AtlopConfig,
    GroupedBilinear,
    pool_context,
    pool_entities,
)
from relcl_lib.models.window_encoder import WindowEncoder, extend_positions
from relcl_lib.text.document_tokens import DocumentBatch

ENDS = (1, 2)


def bert(positions=32, cls=BertModel, config=BertConfig, **options):
    torch.manual_seed(0)
    settings = config(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=positions,
        attn_implementation="eager",
        **options,
    )
    return cls(settings).double().eval()


def documents(lengths, seed=0):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 60, (len(lengths), max(lengths)), generator=g)
    lengths = torch.tensor(lengths)
    ids[:, 0] = ENDS[0]
    ids[torch.arange(len(lengths)), lengths - 1] = ENDS[1]
    ids[torch.arange(ids.shape[1]) >= lengths.unsqueeze(1)] = 0
    return ids, lengths


def batch(sizes=(3, 2), length=14, classes=4):
    """Documents of two mentions an entity, the last entity of one mention."""
    ids, lengths = documents([length - 3 * i for i in range(len(sizes))])
    mentions, pairs = [], []
    for row, size in enumerate(sizes):
        for entity in range(size):
            mentions.append([row, entity, 1 + entity, 2 + entity])
            if entity < size - 1:
                mentions.append([row, entity, 4 + entity, 6 + entity])
        pairs += [[row, s, o] for s in range(size) for o in range(size) if s != o]
    labels = torch.zeros(len(pairs), classes, dtype=torch.bool)
    return DocumentBatch(
        ids, lengths, torch.tensor(mentions), torch.tensor(pairs), labels, max(sizes)
    )


def base(**options):
    network = bert()
    torch.manual_seed(1)
    config = AtlopConfig(4, size=8, block=4, **options)
    encoder = WindowEncoder(network, ENDS, options.get("layers", 1))
    return Atlop(config, encoder).double().eval()


# --- windows -----------------------------------------------------------------------------------


def test_documents_that_fit_take_one_pass():
    network = bert()
    ids, lengths = documents([32, 20])
    rows, places = torch.tensor([0, 1, 1]), torch.tensor([31, 3, 19])
    hidden, attention = WindowEncoder(network, ENDS)(ids, lengths, rows, places)
    for row in range(2):
        n = int(lengths[row])
        out = network(ids[row : row + 1, :n], output_attentions=True)
        torch.testing.assert_close(hidden[row, :n], out.last_hidden_state[0])
        for at in (rows == row).nonzero()[:, 0]:
            torch.testing.assert_close(attention[at, :, :n], out.attentions[-1][0, :, places[at]])


def by_hand(network, ids, size, end):
    """One long document: each window through the network, put back piece by piece."""
    length = len(ids)
    first = torch.cat([ids[: size - len(end)], torch.tensor(end)])
    second = torch.cat([ids[:1], ids[length - size + 1 :]])
    hidden = torch.zeros(length, 16, dtype=torch.float64)
    attention = torch.zeros(2, length, length, dtype=torch.float64)
    cover = torch.zeros(length)
    places = (
        [(j, j) for j in range(size - len(end))],
        [(j, length - size + j) for j in range(1, size)],
    )
    for window, where in zip((first, second), places, strict=True):
        out = network(window.unsqueeze(0), output_attentions=True)
        for j, at in where:
            hidden[at] += out.last_hidden_state[0, j]
            cover[at] += 1
            for k, other in where:
                attention[:, at, other] += out.attentions[-1][0, :, j, k]
    attention = attention / (attention.sum(-1, keepdim=True) + 1e-10)
    return hidden / cover.clamp(min=1).unsqueeze(1), attention, cover


@pytest.mark.parametrize("length", [33, 40, 61, 62, 63])
def test_two_windows_equal_a_loop(length):
    network = bert()
    ids, lengths = documents([length, 20])
    places = torch.arange(length)
    rows = torch.zeros(length, dtype=torch.long)
    hidden, attention = WindowEncoder(network, ENDS)(ids, lengths, rows, places)
    expected = by_hand(network, ids[0], 32, [ENDS[1]])
    torch.testing.assert_close(hidden[0], expected[0])
    torch.testing.assert_close(attention, expected[1].transpose(0, 1))
    # Check 13: every piece is covered up to twice the window less the specials.
    assert int((expected[2] == 0).sum()) == max(0, length - 62)
    assert int((expected[2] == 2).sum()) == max(0, 62 - length)
    # The short neighbour is read as if it were alone.
    alone = network(ids[1:, :20]).last_hidden_state
    torch.testing.assert_close(hidden[1:, :20], alone)


def test_windows_of_roberta_end_twice():
    network = bert(35, RobertaModel, RobertaConfig, pad_token_id=0)
    encoder = WindowEncoder(network, ENDS)
    assert encoder.window == 34
    ids, lengths = documents([50])
    hidden, _ = encoder(ids, lengths, torch.tensor([0]), torch.tensor([1]))
    torch.testing.assert_close(hidden[0], by_hand(network, ids[0], 34, [2, 2])[0])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("lengths", [[32, 20], [33, 20], [12, 62, 40]], ids=str)
@pytest.mark.parametrize(
    "network",
    [bert(), bert(35, RobertaModel, RobertaConfig, pad_token_id=0)],
    ids=["BERT", "RoBERTa"],
)
def test_without_a_gradient_only_the_rows_are_made(network, lengths, layers, monkeypatch):
    encoder = WindowEncoder(network, ENDS, layers).eval()
    ids, lengths = documents(lengths)
    rows = torch.tensor([1, 0, 1, 1])
    places = torch.tensor([3, 11, 0, 3])
    hidden, attention = encoder(ids, lengths, rows, places)
    made, usual = [], window_encoder.attention_rows

    def spy(*tensors, **options):
        made.append(usual(*tensors, **options))
        return made[-1]

    monkeypatch.setattr(window_encoder, "attention_rows", spy)
    window_encoder._register()
    with torch.no_grad():
        fused, some = encoder(ids, lengths, rows, places)
        encoder(ids, lengths, rows[:0], places[:0])  # no mention at all
    assert len(made) == 2 * len(network.encoder.layer)
    real = torch.arange(ids.shape[1]) < lengths.unsqueeze(1)
    torch.testing.assert_close(fused[real], hidden[real])
    torch.testing.assert_close(some, attention)
    assert network.config._attn_implementation == "eager"


def test_in_bfloat16_the_maps_are_so_too():
    network = bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).float()
    encoder = WindowEncoder(network, ENDS).train()
    ids, lengths = documents([32, 20])
    rows, places = torch.tensor([0, 1, 1]), torch.tensor([31, 3, 19])
    mask = (torch.arange(32) < lengths.unsqueeze(1)).long()
    whole = network(ids, attention_mask=mask, output_attentions=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden, attention = encoder(ids, lengths, rows, places)
    assert attention.dtype == torch.bfloat16
    torch.testing.assert_close(hidden, whole.last_hidden_state, atol=0.05, rtol=0.05)
    expected = whole.attentions[-1][rows, :, places]
    torch.testing.assert_close(attention.float(), expected, atol=0.01, rtol=0.05)
    assert not attention[1:, :, 20:].any()  # no place attends to a pad


def test_more_positions_keep_the_first_block():
    network = bert()
    old = copy.deepcopy(network)
    extend_positions(network)
    table = network.embeddings.position_embeddings.weight
    p = old.embeddings.position_embeddings.weight
    assert table.shape == (96, 16)
    assert (table[:32] - p).abs().max() < 1e-6
    u = [(p[j] - 0.4 * p[0]) / 0.6 for j in range(32)]
    for i, j in ((1, 0), (1, 5), (2, 31)):
        torch.testing.assert_close(table[32 * i + j], 0.4 * u[i] + 0.6 * u[j])
    ids, _ = documents([30])
    torch.testing.assert_close(network(ids).last_hidden_state, old(ids).last_hidden_state)
    assert WindowEncoder(network, ENDS).window == 96
    longer, _ = documents([90])
    assert network(longer).last_hidden_state.isfinite().all()


def test_the_mean_of_several_layers():
    network = bert()
    ids, lengths = documents([12])
    found, rows = WindowEncoder(network, ENDS, layers=3)(
        ids, lengths, torch.tensor([0]), torch.tensor([4])
    )
    out = network(ids, output_attentions=True, output_hidden_states=True)
    torch.testing.assert_close(found, sum(out.hidden_states[-3:]) / 3)
    torch.testing.assert_close(rows[0], sum(a[0, :, 4] for a in out.attentions) / 3)


# --- pooling -----------------------------------------------------------------------------------


def test_entities_are_pooled_by_logsumexp():
    vectors = torch.randn(6, 3, dtype=torch.float64) * 50
    owner = torch.tensor([4, 0, 4, 4, 2, 0])
    found = pool_entities(vectors, owner, 6)
    for entity in range(6):
        mine = vectors[owner == entity]
        expected = mine.logsumexp(0) if len(mine) else torch.zeros(3, dtype=torch.float64)
        torch.testing.assert_close(found[entity], expected)
    same = pool_entities(vectors[:1].repeat(5, 1), torch.zeros(5, dtype=torch.long), 1)
    torch.testing.assert_close(same[0], vectors[0] + math.log(5))
    small = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: pool_entities(x, torch.tensor([0, 2, 2, 2]), 4), small
    )


def test_context_pooling():
    attention = torch.rand(2, 3, 4, 9, dtype=torch.float64).softmax(-1)
    hidden = torch.randn(2, 9, 5, dtype=torch.float64)
    found = pool_context(attention, hidden)
    for b in range(2):
        for s in range(3):
            for o in range(3):
                weights = (attention[b, s] * attention[b, o]).mean(0)
                expected = (weights / (weights.sum() + 1e-5)) @ hidden[b]
                torch.testing.assert_close(found[b, s, o], expected)
    torch.testing.assert_close(found, found.transpose(1, 2))
    ones = pool_context(attention, torch.ones(2, 9, 1, dtype=torch.float64))
    assert ((ones > 0.999) & (ones < 1)).all()


# --- the network -------------------------------------------------------------------------------


def by_pair(model, inputs):
    """Section 2.3 of the specification, pair by pair."""
    config, network = model.config, model.encoder.network
    found = []
    for row, s, o in inputs.pairs.tolist():
        n = int(inputs.lengths[row])
        out = network(
            inputs.ids[row : row + 1, :n], output_attentions=True, output_hidden_states=True
        )
        hidden = sum(out.hidden_states[-config.layers :])[0] / config.layers
        attention = sum(out.attentions[-config.layers :])[0] / config.layers
        vectors, maps = [], []
        for entity in (s, o):
            mine = [m for m in inputs.mentions.tolist() if m[:2] == [row, entity]]
            ends = [m[2:] if config.mention == "both" else m[2:3] for m in mine]
            vectors.append(torch.stack([hidden[e].mean(0) for e in ends]).logsumexp(0))
            maps.append(torch.stack([attention[:, e].mean(1) for e in ends]).mean(0))
        weights = (maps[0] * maps[1]).mean(0)
        context = (weights / (weights.sum() + 1e-5)) @ hidden
        more = [hidden[0]] if config.document_vector else []
        z = [
            torch.tanh(layer(torch.cat([vector, context, *more])))
            for layer, vector in zip((model.subject, model.object), vectors, strict=True)
        ]
        if config.pair_network == "concat":
            features = F.relu(model.combine(torch.cat(z)))
        else:
            groups = zip(*(x.split(config.block) for x in z), strict=True)
            outer = torch.cat([torch.outer(a, b).flatten() for a, b in groups])
            features = F.relu(model.combine.linear(outer))
        found.append(torch.cat([features, model.classifier(features)]))
    return torch.stack(found)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pair_network": "concat"},
        {
            "mention": "both",
            "layers": 3,
            "document_vector": True,
            "classifier": "normalised",
        },
    ],
    ids=["paper", "concat", "released"],
)
def test_pairs_equal_a_loop(options):
    model, inputs = base(**options), batch()
    scores = model(inputs)
    assert scores.logits.shape == (8, 5)
    found = torch.cat(scores, dim=1)
    torch.testing.assert_close(found, by_pair(model, inputs))


def test_an_entity_without_a_mention_has_zero_vector_and_attention():
    model, inputs = base(), batch()
    inputs = inputs._replace(mentions=inputs.mentions[inputs.mentions[:, 1] != 2])
    scores = model(inputs)
    assert scores.logits.isfinite().all()
    scores.logits.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_document_alone_or_beside_a_larger_one():
    model, inputs = base(), batch((3, 2))
    together = model(inputs).logits[6:]
    rows = inputs.mentions[:, 0] == 1
    n = int(inputs.lengths[1])
    alone = DocumentBatch(
        inputs.ids[1:, :n],
        inputs.lengths[1:],
        inputs.mentions[rows] - torch.tensor([1, 0, 0, 0]),
        inputs.pairs[6:] - torch.tensor([1, 0, 0]),
        inputs.labels[6:],
        2,
    )
    torch.testing.assert_close(model(alone).logits, together)


def test_chunks_of_pairs_change_neither_outcome_nor_gradient(monkeypatch):
    outcomes, made = [], []
    for most in (320, 319):
        monkeypatch.setattr(atlop, "MOST", most)  # 8 x 4 numbers for each of ten pairs, or one less
        torch.manual_seed(3)
        layer = GroupedBilinear(8, 4, chunk=3).double()
        layer.linear.register_forward_pre_hook(lambda _, given: made.append(len(given[0])))
        left, right = (torch.randn(10, 8, dtype=torch.float64, requires_grad=True) for _ in "lr")
        out = layer(left, right)
        out.square().sum().backward()
        outcomes.append((out, left.grad, right.grad, layer.linear.weight.grad))
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other)
    # Ten pairs at once, then three at a time: each part once forward, once more for the gradient.
    assert made[:5] == [10, 3, 3, 3, 1] and sorted(made[5:]) == [1, 3, 3, 3]
    monkeypatch.setattr(atlop, "MOST", 320)
    with torch.no_grad():  # nothing is kept, so what is made at a time stays small
        torch.testing.assert_close(layer(left, right), out)
    assert made[9:] == [3, 3, 3, 1]


def test_under_autocast_pairs_do_not_share_their_margins():
    model = base().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, logits = model(batch((12, 11), length=41))
    margins = (logits[:, 1] - logits[:, 0]).unique()
    assert logits.dtype == torch.float32 and len(margins) > 0.97 * len(features.unique(dim=0))
    torch.testing.assert_close(logits, model.classifier(features.float()))


def test_switches_are_checked():
    for options in ({"pair_network": "sum"}, {"size": 9}):
        with pytest.raises(ValueError, match="must be"):
            Atlop(
                AtlopConfig(**{"n_relations": 4, "size": 8, "block": 4, **options}), base().encoder
            )
