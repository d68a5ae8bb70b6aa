"""Splitting off validation data: what is alike stays together."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from relcl_lib.data.splits import SEED, split_off
from relcl_lib.lab.runtime import make_generator


@given(st.lists(st.integers(0, 20)), st.sampled_from([0.1, 0.25, 0.5]))
def test_alike_items_come_to_one_side_in_their_order(items, share):
    kept, taken = split_off(items, share, alike=lambda item: item)
    distinct = len(set(items))
    assert not set(kept) & set(taken)
    assert sorted(kept + taken) == sorted(items)
    assert len(set(taken)) == (min(max(1, int(distinct * share)), distinct - 1) if items else 0)
    for side in (kept, taken):
        assert side == [item for item in items if item in set(side)]


@given(st.lists(st.text(max_size=3), unique=True), st.sampled_from([0.1, 0.25]))
def test_of_distinct_items_the_draw_is_that_of_places(items, share):
    order = torch.randperm(len(items), generator=make_generator(SEED, "hold out")).tolist()
    count = min(max(1, int(len(items) * share)), len(items) - 1) if items else 0
    places = sorted(order[:count])
    drawn = [item for at, item in enumerate(items) if at not in places], [items[i] for i in places]
    assert split_off(items, share) == split_off(items, share, alike=str) == drawn
