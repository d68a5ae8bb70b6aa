"""ASER: KNN-Shapley values by loops and by definition, its retrieval and its swaps."""

from itertools import combinations
from math import factorial

import pytest
import torch
from gratings import batch_of, make_run

from relcl_lib.lab.runtime import make_generator
from relcl_lib.models.resnet import fold_batch_norm
from relcl_lib.papers.hpcr.strategies.aser import knn_shapley


def recursion(distances, same, k):
    """Jia et al., one evaluated row at a time, from the farthest to the nearest."""
    order = sorted(range(len(distances)), key=lambda i: float(distances[i]))
    n, values = len(order), [0.0] * len(order)
    values[order[-1]] = float(same[order[-1]]) / n
    for j in range(n - 1, 0, -1):
        this, following = order[j - 1], order[j]
        change = (float(same[this]) - float(same[following])) / k * min(k, j) / j
        values[this] = values[following] + change
    return torch.tensor(values, dtype=torch.float64)


def made_up(rows, n, seed=0):
    g = torch.Generator().manual_seed(seed)
    distances = torch.rand(2, rows, n, generator=g, dtype=torch.float64)
    return distances, torch.rand(2, rows, n, generator=g) < 0.4


@pytest.mark.parametrize("n, k", [(9, 3), (3, 3), (2, 3), (1, 3), (12, 1)])
def test_values_equal_the_recursion(n, k):
    distances, same = made_up(5, n)
    found = knn_shapley(distances, same, torch.ones(2, n, dtype=torch.bool), k)
    for s in range(2):
        for e in range(5):
            torch.testing.assert_close(found[s, e], recursion(distances[s, e], same[s, e], k))


def test_values_are_shapleys_and_add_up_to_the_vote():
    n, k = 6, 2
    distances, same = made_up(4, n)
    found = knn_shapley(distances, same, torch.ones(2, n, dtype=torch.bool), k)

    def vote(members, s, e):
        nearest = sorted(members, key=lambda i: float(distances[s, e, i]))[:k]
        return sum(float(same[s, e, i]) for i in nearest) / k

    for s in range(2):
        for e in range(4):
            assert float(found[s, e].sum()) == pytest.approx(vote(range(n), s, e))
            for i in range(n):
                others, value = [j for j in range(n) if j != i], 0.0
                for size in range(n):
                    weight = factorial(size) * factorial(n - size - 1) / factorial(n)
                    for group in combinations(others, size):
                        gain = vote([*group, i], s, e) - vote(group, s, e)
                        value += weight * gain
                assert float(found[s, e, i]) == pytest.approx(value)


def test_what_is_no_candidate_counts_for_nothing():
    distances, same = made_up(5, 10)
    candidate = torch.rand(2, 10, generator=torch.Generator().manual_seed(3)) < 0.6
    found = knn_shapley(distances, same, candidate, 3)
    assert candidate.sum(1).unique().numel() == 2  # as many as there are seeds
    assert (found.masked_select(~candidate.unsqueeze(1)) == 0).all()
    for s in range(2):
        chosen = candidate[s]
        for e in range(5):
            expected = recursion(distances[s, e, chosen], same[s, e, chosen], 3)
            torch.testing.assert_close(found[s, e, chosen], expected)


def full_run(**changes):
    """A run whose memory is full, with its next batch."""
    run = make_run(method="ASER", **{"seeds": [0, 2], "options": {"per_class": 3}, **changes})
    run.train_task(0)
    return run, batch_of(run, 1)


def naive(candidates, evaluated):
    """Values of candidates for each evaluated image of one seed; both features and labels."""
    return torch.stack(
        [
            recursion((candidates[0] - feature).norm(dim=1), candidates[1] == label, 3)
            for feature, label in zip(*evaluated, strict=True)
        ]
    )


def test_marked_slots_are_so_many_of_each_class_and_none_twice():
    run, batch = full_run()
    held = run.memory.contents()["label"]
    everything = held >= 0
    first = run.strategy._balanced(everything, batch.draws["retrieval"])
    second = run.strategy._balanced(~first, batch.draws["retrieval"])
    assert not (first & second).any()
    for s in range(2):
        for c in held[s].unique():
            count = int((held[s] == c).sum())
            assert int((first[s] & (held[s] == c)).sum()) == min(3, count)
            assert int((second[s] & (held[s] == c)).sum()) == min(3, max(0, count - 3))


def test_retrieval_and_swaps_equal_loops_over_images(monkeypatch):
    run, batch = full_run(memory_batch=4)
    marked, balanced = [], run.strategy._balanced
    monkeypatch.setattr(
        run.strategy, "_balanced", lambda *a: marked.append(balanced(*a)) or marked[-1]
    )
    network, memory = fold_batch_norm(run.network), run.memory.contents()
    features = network(memory["image"].float() / 255)[1].double()
    stream = network(batch.images.float() / 255)[1].double()
    found = run.strategy.retrieve(batch)
    labels = memory["label"]
    for s in range(2):
        candidate, evaluated = (mask[s].nonzero()[:, 0] for mask in marked)
        table = (features[s, candidate], labels[s, candidate])
        helped = naive(table, (features[s, evaluated], labels[s, evaluated]))
        harmed = naive(table, (stream[s], batch.labels[s]))
        score = helped.mean(0) - harmed.mean(0)
        held = memory["image"][s, candidate]
        # By their scores: many are alike, and rounding says which of those come first.
        best = [int((held == image).flatten(1).all(1).nonzero()[0]) for image in found["image"][s]]
        assert found["label"][s].tolist() == labels[s, candidate[best]].tolist()
        torch.testing.assert_close(score[best], score.topk(4).values)

    marked.clear()
    before = {name: field.clone() for name, field in memory.items()}
    seed, slot, row = run.strategy._swapped(batch, batch.images, batch.labels)
    again = [make_generator(s, "reservoir", 1) for s in run.seeds]
    assert len(seed) > 0
    for s, g in enumerate(again):
        bound = torch.rand(1, generator=g) / 6
        shares = torch.tensor([float((labels[s] == y).sum()) / 20 for y in batch.labels[s]])
        minority = shares < bound
        torch.rand(20, generator=g)  # which evaluate
        evaluated = marked[0][s]
        keys = torch.rand(20, generator=g)
        free = [i for i in keys.argsort().tolist() if not evaluated[i]][: 3 * 6]
        candidates = sorted(free)
        table = (
            torch.cat([features[s, candidates], stream[s]]),
            torch.cat([labels[s, candidates], batch.labels[s]]),
        )
        rows = (
            torch.cat([features[s, evaluated], stream[s, minority]]),
            torch.cat([labels[s, evaluated], batch.labels[s, minority]]),
        )
        value, n = naive(table, rows).sum(0), len(candidates)
        leaving = slot[seed == s].tolist()
        assert set(leaving) <= set(candidates)
        staying = [i for i in range(n) if candidates[i] not in leaving]
        kept_best = [*staying, *(n + row[seed == s]).tolist()]
        assert len(set(kept_best)) == n
        torch.testing.assert_close(
            value[kept_best].sort().values, value.topk(n).values.sort().values
        )
    fields = {"image": batch.images, "label": batch.labels}
    fields |= {name: before[name][:, :10] for name in ("logits", "features")}
    run.memory.swap(seed, slot, row, **fields)
    after = run.memory.contents()
    assert torch.equal(after["image"][seed, slot], batch.images[seed, row])
    kept = torch.ones(2, 20, dtype=torch.bool)
    kept[seed, slot] = False
    assert torch.equal(after["label"][kept], before["label"][kept])


def test_few_candidates_are_filled_up():
    run, batch = full_run(options={"per_class": 1}, memory_batch=9)
    held = run.memory.contents()["label"]
    found = run.strategy.retrieve(batch)
    assert found["label"].shape == (2, 9)
    for s in range(2):
        classes = held[s].unique().tolist()
        assert sorted(found["label"][s, : len(classes)].tolist()) == classes
