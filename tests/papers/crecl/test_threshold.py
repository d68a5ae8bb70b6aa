"""Thresholds against loops, and at their limits."""

import torch

from relcl_lib.papers.crecl.threshold import keep_most, refused_share, shares_below, weigh


def drawn(seed, known, unknown):
    """Scores with ties, whether each is right, and places of unknown ones among others."""
    generator = torch.Generator().manual_seed(seed)
    best = torch.randint(0, 15, (known,), generator=generator) / 20
    right = torch.rand(known, generator=generator) < 0.8
    places = torch.randint(0, 13, (unknown,), generator=generator).double() / 12
    return best, right, places


def test_a_place_is_the_share_of_known_scores_below():
    known = torch.tensor([0.3, 0.1, 0.2, 0.2])
    found = shares_below(torch.tensor([0.0, 0.1, 0.2, 0.25, 0.9]), known)
    assert found.tolist() == [0, 0, 0.25, 0.75, 1]
    # So a threshold between 0.1 and 0.2 refuses a quarter of the known ones, and the first two.
    assert refused_share(found, torch.tensor([0.0, 0.25, 1.0]).double()).tolist() == [0, 0.4, 0.8]


def test_weighing_finds_the_best_of_all_thresholds():
    for seed in range(40):
        best, right, places = drawn(seed, 1 + seed % 23, 1 + seed % 17)

        def gain(least, best=best, right=right, places=places):
            refused = float((best < least).double().mean())
            hits = sum(hit and score >= least for score, hit in zip(best, right, strict=True))
            answered = sum(float(place) >= refused - 1e-9 for place in places)
            return float(hits / len(best) - answered / len(places))

        every = [-1, *(score + step for score in best.tolist() for step in (-0.01, 0.01))]
        assert abs(gain(weigh(best, right, places)) - max(map(gain, every))) < 1e-6


def test_no_more_than_one_in_ten_is_refused():
    scores = torch.arange(40).flip(0) / 50
    for count in range(1, 41):
        assert int((scores[:count] < keep_most(scores[:count])).sum()) == count // 10
    tied = torch.tensor([0.5] * 15 + [0.7] * 5)
    assert 0.49 < keep_most(tied) < 0.5
    assert 0.5 < keep_most(torch.tensor([0.5] + [0.7] * 9)) < 0.7


def test_all_or_none_may_be_refused():
    best, right = torch.tensor([0.4, 0.6]), torch.tensor([True, True])
    assert 0.39 < weigh(best, right, torch.zeros(3).double()) <= 0.6
    assert 0.39 < weigh(best, right, torch.ones(3).double()) < 0.4
    assert weigh(best, ~right, torch.full((3,), 0.7).double()) > 0.6
