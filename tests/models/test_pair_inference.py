"""Checks 2 and 5 to 11 of the specification: decoding, noise, layers, iterations, another base."""

import math

import pytest
import torch
from pair_matrices import pair_matrix, renumbered
from torch.nn.functional import one_hot

from relcl_lib.losses import normalise, view_agreement_loss
from relcl_lib.models.atlop import PairScores
from relcl_lib.models.pair_inference import (
    InferenceConfig,
    PairInference,
    add_noise,
    decode_relations,
    iterate_logits,
    with_class_zero,
)

R, D = 5, 10


def iterate(*given, **options):
    """The relations of each pair after 0, 1, ... iterations."""
    return [decode_relations(found) for found in iterate_logits(*given, **options)]


def make(seed=0, **options):
    torch.manual_seed(seed)
    config = InferenceConfig(R, D, **{"size": 8, "layers": 2, **options})
    return PairInference(config).double().eval()


def scores(cells, seed=0):
    g = torch.Generator().manual_seed(seed)
    p = len(cells.pairs)
    features, logits = (torch.randn(p, w, generator=g, dtype=torch.float64) for w in (D, R + 1))
    return PairScores(features, logits)


# --- decoding ----------------------------------------------------------------------------------


def test_decoding_equals_the_rule():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 20, generator=g).round(decimals=1)  # with ties
    for limit in (1, 4, 30):
        found = decode_relations(logits, limit)
        for row, chosen in zip(logits.tolist(), found.tolist(), strict=True):
            first = sorted(range(1, 20), key=lambda r: (-row[r], r))[:limit]
            kept = [r in first and x > row[0] for r, x in enumerate(row)]
            assert chosen == [not any(kept), *kept[1:]]
    assert (decode_relations(logits)[:, 1:].sum(1) == 4).any()


def test_equal_logits_are_no_relation_and_four_is_the_most():
    assert decode_relations(torch.zeros(1, 97)).nonzero().tolist() == [[0, 0]]
    tied = torch.ones(1, 97)
    tied[0, 0] = 0
    assert int(decode_relations(tied).sum()) == 4


# --- relation matrix ---------------------------------------------------------------------------


def test_relations_are_embedded_as_sums():
    module = make()
    labels = torch.tensor([[0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0]]).bool()
    table = module.relations
    torch.testing.assert_close(
        module.embed_relations(labels), torch.stack([table[1], table[2] + table[4], table[0]])
    )
    # Cells that are not there stay zero: they are filled into the matrix, not embedded.
    cells = pair_matrix([2], n=3)
    matrix = cells.fill(module.embed_relations(labels[:2]))
    assert (matrix[~cells.valid()] == 0).all()


def test_what_is_fed_back():
    logits = torch.tensor([[0.0, 3.0, 2.0, 1.0, -1.0, -1.0], [5.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    assert make().fed_back(logits).long().tolist() == [[0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    largest = make(relation="argmax").fed_back(logits)
    assert largest.long().tolist() == [[0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]


# --- noise -------------------------------------------------------------------------------------


def noisy_case(seed=0, pairs=40, documents=3):
    g = torch.Generator().manual_seed(seed)
    gold = with_class_zero(torch.rand(pairs, R, generator=g) < 0.12)
    predicted = with_class_zero(torch.rand(pairs, R, generator=g) < 0.12)
    return predicted, gold, torch.arange(pairs) * documents // pairs


SPURIOUS = (0.05, 0.15)


def test_no_noise_changes_nothing():
    predicted, _, documents = noisy_case()
    assert torch.equal(add_noise(predicted, documents, rate=(0.0, 0.0)), predicted)
    assert add_noise(predicted[:0], documents[:0]).shape == (0, R + 1)


def test_changed_pairs_get_one_class_that_was_not_predicted():
    predicted, gold, documents = noisy_case()
    generator = torch.Generator().manual_seed(1)
    options = {"rate": (0.0, 1.0), "spurious": SPURIOUS, "generator": generator}
    seen = torch.zeros(R + 1, dtype=torch.bool)
    right = 0
    for _ in range(200):
        found = add_noise(predicted, documents, **options)
        changed = (found != predicted).any(1)
        assert (found[changed].sum(1) == 1).all()
        assert not (found & predicted)[changed].any()
        assert (found[~changed] == predicted[~changed]).all()
        seen |= found[changed].any(0)
        right += int((found & gold)[changed].sum())
    assert seen.all()  # class 0 among them, for a pair with a relation
    assert right  # by chance a changed pair may be told what is gold


@pytest.mark.parametrize(
    ("rate", "mean"), [((0.0, 0.4), 0.20), ((0.2, 0.5), 0.35), ((0.3, 0.3), 0.3)]
)
def test_the_share_of_changed_relations_has_the_mean_of_its_range(rate, mean):
    """Check 10: 1,000 draws of r ~ U(0, 0.4) average 0.20 (U(0.2, 0.5) in the release)."""
    predicted, _, documents = noisy_case(pairs=90)
    related = ~predicted[:, 0]
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(1000):
        changed = (
            add_noise(predicted, documents, rate=rate, generator=generator) != predicted
        ).any(1)
        shares.append(changed[related].float().mean())
        assert not changed[~related].any()  # as printed: only predicted relations are replaced
    assert float(sum(shares) / 1000) == pytest.approx(mean, abs=0.02)


def test_spurious_relations_are_half_as_many_in_the_mean():
    predicted, _, documents = noisy_case(pairs=90, documents=1)
    related = int((~predicted[:, 0]).sum())
    options = {"rate": (0.0, 0.0), "spurious": SPURIOUS}
    generator = torch.Generator().manual_seed(0)
    added = 0
    for _ in range(500):
        found = add_noise(predicted, documents, **options, generator=generator)
        assert (found[~predicted[:, 0]] == predicted[~predicted[:, 0]]).all()
        added += int((found != predicted).any(1).sum())
    assert added / 500 == pytest.approx(0.5 * related, rel=0.1)


def right_after_noise(relations, spare, pairs=3000, draws=40):
    """How often gold is what the base says, and what R says, by what became of the base's answer.

    One document, a base that is right for 70 % of the pairs. Returns (share, standard error) of each:
    `base kept`, `base changed` (the base's relation is gold), `none kept`, `none changed` (no relation
    is gold), `read` (a changed pair's noisy class is gold) and `any` (so is a class of those not
    predicted, in the mean).
    """
    g = torch.Generator().manual_seed(relations)

    def answers():
        which = torch.randint(1, relations + 1, (pairs,), generator=g)
        return one_hot((torch.rand(pairs, generator=g) < 0.3) * which, relations + 1).bool()

    gold, other = answers(), answers()
    predicted = torch.where(torch.rand(pairs, 1, generator=g) < 0.7, gold, other)
    one = torch.zeros(pairs, dtype=torch.long)
    right, none = (predicted & gold).any(1), predicted[:, 0]
    chance = (gold & ~predicted).sum(1) / (~predicted).sum(1)
    seen = {
        name: []
        for name in ("base kept", "base changed", "none kept", "none changed", "read", "any")
    }
    for _ in range(draws):
        found = add_noise(
            predicted, one, spurious=SPURIOUS, spared=gold if spare else None, generator=g
        )
        changed = (found != predicted).any(1)
        for name, group in (("base", ~none), ("none", none)):
            seen[f"{name} changed"].append(right[group & changed])
            seen[f"{name} kept"].append(right[group & ~changed])
        seen["read"].append((found & gold).any(1)[changed])
        seen["any"].append(chance[changed])
    found = {name: torch.cat(parts).double() for name, parts in seen.items()}
    return {name: (float(x.mean()), float(x.std() / len(x) ** 0.5)) for name, x in found.items()}


def apart(one, other):
    """How many standard errors lie between two shares."""
    return abs(one[0] - other[0]) / (one[1] ** 2 + other[1] ** 2 + 1e-12) ** 0.5


@pytest.mark.parametrize("relations", [1, 96])
def test_noise_says_nothing_of_gold(relations):
    """P(gold | the base's answer, noisy R) is the same whatever R is, but for chance."""
    seen = right_after_noise(relations, spare=False)
    assert apart(seen["base kept"], seen["base changed"]) < 4
    assert apart(seen["none kept"], seen["none changed"]) < 4
    assert apart(seen["read"], seen["any"]) < 4


@pytest.mark.parametrize("relations", [1, 96])
def test_sparing_gold_tells_it(relations):
    seen = right_after_noise(relations, spare=True)
    assert seen["read"][0] == 0 < seen["any"][0] or relations == 1
    if (
        relations == 1
    ):  # R = none means yes, R = the relation means no: what is told is turned round
        assert seen["base changed"][0] == 1 > seen["base kept"][0] + 0.1
        assert seen["none changed"][0] == 1 > seen["none kept"][0] + 0.1


def test_a_pair_with_nothing_left_to_draw_stays():
    predicted, gold = torch.tensor([[False, True]]), torch.tensor([[True, False]])
    document = torch.zeros(1, dtype=torch.long)
    assert torch.equal(add_noise(predicted, document, rate=(1.0, 1.0), spared=gold), predicted)
    assert torch.equal(add_noise(predicted, document, rate=(1.0, 1.0)), ~predicted)


# --- layers ------------------------------------------------------------------------------------


def test_a_layer_equals_its_equations():
    cells = pair_matrix([4])
    module = make(layers=1, mixing="concat")
    layer = module.layers[0]
    first, second = (torch.randn(len(cells.pairs), 8, dtype=torch.float64) for _ in range(2))
    memory = torch.cat([first, second], 1)
    tilde = [
        attend(x, memory, cells) for attend, x in zip(layer.attend, (first, second), strict=True)
    ]
    gate = torch.sigmoid(layer.gate(torch.cat(tilde, 1)))
    mixed = gate * tilde[0] + (1 - gate) * tilde[1]
    expected = [layer.norms[i](x + layer.networks[i](mixed)) for i, x in enumerate((first, second))]
    torch.testing.assert_close(module(first, second, cells), torch.cat(expected, 1))
    plain = make(layers=1, fusion=False)
    assert plain.layers[0].gate is None
    assert plain(first, second, cells).shape == (len(cells.pairs), 16)


def test_two_layers_reach_pairs_that_share_no_entity():
    cells = pair_matrix([6])
    rows = cells.pairs[:, 1:].tolist()
    near, far = rows.index([0, 1]), rows.index([2, 3])
    for layers, reached in ((1, False), (2, True)):
        module = make(layers=layers)
        first, second = (
            torch.randn(len(rows), 8, dtype=torch.float64, requires_grad=True) for _ in range(2)
        )
        out = module(first, second, cells)[near].square().sum()
        (gradient,) = torch.autograd.grad(out, first)
        assert bool(gradient[far].abs().max() > 0) == reached


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": "all"},
        {"mixing": "concat"},
        {"classifier": "projected"},
        {"own_bonus": 1.0},
    ],
)
def test_permuting_entities_permutes_predictions(options):
    """Check 7, and every switch once."""
    cells = pair_matrix([5])
    module, given = make(**options), scores(cells)
    other, rank = renumbered(cells, [4, 2, 0, 1, 3])
    expected = logits(module, given, cells)
    found = logits(module, PairScores(*(x[rank] for x in given)), other)
    torch.testing.assert_close(found, expected[rank])
    beside = pair_matrix([5, 7])
    more = scores(beside, seed=1)
    p = len(cells.pairs)
    wider = PairScores(*(torch.cat([a, b[p:]]) for a, b in zip(given, more, strict=True)))
    torch.testing.assert_close(logits(module, wider, beside)[:p], expected)


def logits(module, given, cells):
    relations = module.embed_relations(module.fed_back(given.logits))
    return module.classifier(module(module.embed_features(given.features), relations, cells))


def test_the_predictor_takes_a_single_pair():
    module = make().train()
    seen = module.predictor[1].running_mean.clone()
    assert module.predict(torch.randn(1, 16, dtype=torch.float64)).isfinite().all()
    assert torch.equal(module.predictor[1].running_mean, seen)
    module.predict(torch.randn(4, 16, dtype=torch.float64))
    assert not torch.equal(module.predictor[1].running_mean, seen)


def test_slot_weights_are_the_means_of_the_halves():
    module = make()
    halves = module.classifier.weight.abs().split(8, 1)
    assert module.slot_weights() == pytest.approx([float(h.detach().mean()) for h in halves])
    assert len(make(classifier="projected").slot_weights()) == 2


def test_switches_are_checked():
    for options in (
        {"mixing": "sum"},
        {"classifier": "two"},
        {"relation": "all"},
        {"size": 6},
    ):
        with pytest.raises(ValueError, match="must be"):
            make(**options)


# --- iterations --------------------------------------------------------------------------------


@pytest.mark.parametrize("summed", [False, True])
def test_iterations_equal_a_loop(summed):
    cells, module = pair_matrix([4, 3]), make()
    given = scores(cells)
    found = iterate(module, given, cells, 3, sum_logits=summed)
    assert len(found) == 4
    total, y = given.logits.float(), decode_relations(given.logits.float())
    assert torch.equal(found[0], y)  # check 8: K = 0 is the base
    for labels in found[1:]:
        vectors = module(
            module.embed_features(given.features), y.double() @ module.relations, cells
        )
        new = module.classifier(vectors).float()
        total = total + new if summed else new
        y = decode_relations(total)
        assert torch.equal(labels, y)


@pytest.mark.parametrize("summed", [False, True])
def test_a_first_pass_can_be_fed_something_else(summed):
    cells, module = pair_matrix([4, 3]), make()
    given = scores(cells)
    own = decode_relations(given.logits.float())
    other = with_class_zero(torch.rand(len(cells.pairs), R, generator=torch.manual_seed(3)) < 0.3)
    plain = iterate(module, given, cells, 2, sum_logits=summed)
    found = iterate(module, given, cells, 2, sum_logits=summed, fed=(own, other))
    assert len(found) == 5
    for one, another in zip(plain, found, strict=False):
        assert torch.equal(one, another)
    assert torch.equal(found[3], plain[1])
    vectors = module(
        module.embed_features(given.features), other.double() @ module.relations, cells
    )
    expected = module.classifier(vectors) + (given.logits if summed else 0)
    assert torch.equal(found[4], decode_relations(expected))
    assert not torch.equal(found[4], found[3])


def test_a_silent_inference_module():
    """Check 8: logits of 0 leave the sum as it is, and alone they are no relation."""
    cells, module = pair_matrix([4]), make()
    torch.nn.init.zeros_(module.classifier.weight)
    torch.nn.init.zeros_(module.classifier.bias)
    given = scores(cells)
    base, *later = iterate(module, given, cells, 3, sum_logits=True)
    assert base[:, 1:].any()
    assert all(torch.equal(found, base) for found in later)
    for found in iterate(module, given, cells, 2)[1:]:
        assert found[:, 0].all()


def test_a_fixed_point_stays():
    cells, module = pair_matrix([3]), make()
    # Large biases: each iteration says the same.
    with torch.no_grad():
        module.classifier.bias[0] += 25
        module.classifier.bias[2] += 50
    _, first, *later = iterate(module, scores(cells), cells, 4)
    assert all(torch.equal(found, first) for found in later)


def test_without_the_stop_of_the_gradient_the_views_collapse():
    """Check 11: the spread of normalised vectors, about 1 / sqrt(width) where they do not."""
    spread = {}
    for stopped in (True, False):
        torch.manual_seed(0)
        x = torch.randn(64, 12)
        network = torch.nn.Linear(12, 16)
        predictor = torch.nn.Sequential(
            torch.nn.Linear(16, 16),
            torch.nn.BatchNorm1d(16),
            torch.nn.ReLU(),
            torch.nn.Linear(16, 16),
        )
        optimizer = torch.optim.SGD([*network.parameters(), *predictor.parameters()], lr=0.5)
        for _ in range(200):
            left, right = (network(x + 0.5 * torch.randn_like(x)) for _ in range(2))
            if stopped:
                loss = view_agreement_loss(predictor(left), predictor(right), left, right)
            else:
                cosines = (normalise(predictor(left)) * normalise(right)).sum(-1)
                cosines = cosines + (normalise(predictor(right)) * normalise(left)).sum(-1)
                loss = (2 - cosines).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        spread[stopped] = float(normalise(network(x)).detach().std(0).mean()) * math.sqrt(16)
    assert spread[True] > 0.9
    assert spread[False] < 0.2
