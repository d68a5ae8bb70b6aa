"""Check 8 of the CRECL specification: exemplars chosen by K-means."""

import pytest
import torch

from relcl_lib.continual.memory import ExemplarMemory, nearest_to_centres


def generators(seeds=1, start=0):
    return [torch.Generator().manual_seed(start + s) for s in range(seeds)]


def offer(counts, first=0, seed=0, d=6):
    """Rows of classes first, first + 1, ...: labels (1, n), features (1, n, d), ids (1, n)."""
    g = torch.Generator().manual_seed(seed)
    label = torch.cat([torch.full((n,), first + i) for i, n in enumerate(counts)])
    features = torch.randn(1, len(label), d, generator=g) + label[None, :, None]
    return {
        "label": label[None],
        "features": features,
        "sentence": 1000 * first + torch.arange(len(label))[None],
    }


def test_equals_the_plain_construction():
    from sklearn.cluster import KMeans

    features = offer([40])["features"][0]
    found = nearest_to_centres(features, 7)
    points = features.double().numpy()
    centres = KMeans(7, n_init=10, random_state=0).fit(points).cluster_centers_
    for centre, place in zip(centres, found.tolist(), strict=True):
        distances = ((points - centre) ** 2).sum(1)
        # The two samples of a pair are equally far from its centre: either will do.
        assert distances[place] == pytest.approx(distances.min())
    assert torch.equal(nearest_to_centres(features, 7), found)


def test_one_exemplar_is_nearest_to_the_mean():
    rows = offer([30])
    features = rows["features"][0]
    memory = ExemplarMemory(1, 1)
    memory.add(generators(), **rows)
    nearest = (features - features.mean(0)).norm(dim=1).argmin()
    assert memory.contents()["sentence"].tolist() == [[nearest.item()]]


@pytest.mark.parametrize("selection", ["kmeans", "random"])
def test_sizes_and_old_classes_stay(selection):
    memory = ExemplarMemory(10, 6, selection=selection)
    memory.add(generators(), **offer([25, 4, 10]))
    assert len(memory) == 10 + 4 + 10
    first = {name: value.clone() for name, value in memory.contents().items()}
    small = first["sentence"][first["label"] == 1]
    assert sorted(small.tolist()) == [25, 26, 27, 28]  # all of a class that has fewer than L
    memory.add(generators(), **offer([12, 30, 3], first=3, seed=1))
    assert len(memory) == 24 + 10 + 10 + 3
    for name, value in memory.contents().items():
        assert torch.equal(value[:, :24], first[name])
    counts = torch.bincount(memory.contents()["label"][0])
    assert counts.tolist() == [10, 4, 10, 10, 10, 3]
    assert "features" not in memory.contents()


def test_classes_offered_again_are_chosen_anew():
    memory = ExemplarMemory(3, 2)
    memory.add(generators(), **offer([8, 8]))
    before = memory.contents()["sentence"].clone()
    again = offer([8], first=1, seed=3)
    memory.add(generators(), **again)
    after = memory.contents()
    assert len(memory) == 6
    assert torch.equal(after["sentence"][:, :3], before[:, :3])
    assert (after["sentence"][:, 3:] >= 1000).all()


def test_random_selection_follows_its_generator():
    def chosen(start):
        memory = ExemplarMemory(5, 1, selection="random")
        memory.add(generators(start=start), **offer([40]))
        return memory.contents()["sentence"].tolist()

    assert chosen(0) == chosen(0)
    assert chosen(0) != chosen(1)


def test_samples_that_repeat_do_not_stop_it():
    rows = offer([9])
    rows["features"] = rows["features"][:, :1].expand(-1, 9, -1)
    memory = ExemplarMemory(3, 1)
    memory.add(generators(), **rows)
    assert len(memory) == 3


def test_seeds_side_by_side_are_separate():
    parts = [offer([20, 15], seed=s) for s in (0, 1)]
    together = ExemplarMemory(4, 2, seeds=2)
    together.add(generators(2), **{k: torch.cat([p[k] for p in parts]) for k in parts[0]})
    for s, part in enumerate(parts):
        alone = ExemplarMemory(4, 2)
        alone.add(generators(start=s), **part)
        for name, value in alone.contents().items():
            assert torch.equal(together.contents()[name][s], value[0])
    assert together.sample(3, generators(2))["sentence"].shape == (2, 3)


def test_state_goes_and_comes():
    memory, other = ExemplarMemory(4, 3), ExemplarMemory(4, 3)
    memory.add(generators(), **offer([9, 9]))
    other.load_state_dict(memory.state_dict())
    for one in (memory, other):
        one.add(generators(), **offer([9], first=2, seed=5))
    for name, value in memory.contents().items():
        assert torch.equal(other.contents()[name], value)


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="kmeans"):
        ExemplarMemory(3, 2, selection="best")
    memory = ExemplarMemory(3, 2)
    with pytest.raises(ValueError, match="9 exemplars do not fit: there is room for 6"):
        memory.add(generators(), **offer([5, 5, 5]))
    uneven = [offer([9, 2], seed=0), offer([6, 5], seed=1)]
    side_by_side = ExemplarMemory(4, 2, seeds=2)
    with pytest.raises(ValueError, match="one memory for each seed"):
        side_by_side.add(generators(2), **{k: torch.cat([p[k] for p in uneven]) for k in uneven[0]})
