"""The memory of experiences: uniform groups, the fixed budget, draws of groups and of all."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.continual.experience_memory import ExperienceMemory


def generators(seeds, start=0):
    return [torch.Generator().manual_seed(start + s) for s in range(seeds)]


def fill(memory, sizes, draws=None):
    """Offer experiences of the sizes given; sample i of experience k is named 1000 k + i."""
    draws = draws or generators(memory.seeds)
    for index, size in enumerate(sizes):
        names = (1000 * index + torch.arange(size)).expand(memory.seeds, -1)
        memory.add(draws, position=names, image=names.remainder(256).byte()[..., None])
    return memory


def groups(memory, seed=0):
    names = memory.contents()["position"][seed] // 1000
    return torch.bincount(names).tolist()


@given(st.integers(1, 9), st.lists(st.integers(1, 20), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_each_experience_keeps_its_own_number(m, sizes):
    memory = fill(ExperienceMemory(m * len(sizes), 2, per_experience=m), sizes)
    kept = [min(m, size) for size in sizes]
    for seed in range(2):
        assert groups(memory, seed) == kept
        names = memory.contents()["position"][seed]
        assert len(set(names.tolist())) == len(names)
        assert torch.equal(memory.contents()["image"][seed, :, 0], names.remainder(256).byte())
    assert memory.group_sizes.tolist() == kept
    assert set(memory.contents()) == {"position", "image"}


@given(st.integers(6, 40), st.lists(st.integers(1, 30), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_budget_is_never_passed_and_shared_evenly(budget, sizes):
    memory = ExperienceMemory(budget)
    for index in range(len(sizes)):
        before = None if not memory.filled else memory.contents()["position"][0].tolist()
        draws = generators(1, index)
        names = (1000 * index + torch.arange(sizes[index]))[None]
        memory.add(draws, position=names)
        share = budget // (index + 1)
        assert memory.filled <= budget
        assert groups(memory) == [min(size, share) for size in sizes[: index + 1]]
        if before is not None:  # what stays of an old experience was there before
            old = [n for n in memory.contents()["position"][0].tolist() if n < 1000 * index]
            assert set(old) <= set(before)


def test_every_sample_has_the_same_chance():
    kept = torch.zeros(40)
    for repeat in range(40):
        memory = ExperienceMemory(10, 100)
        draws = generators(100, 1000 * repeat)
        memory.add(draws, position=torch.arange(40).expand(100, -1))
        memory.add(draws, position=torch.arange(40, 80).expand(100, -1))  # now 5 and 5
        names = memory.contents()["position"]
        kept += torch.bincount(names[names < 40], minlength=40)
    torch.testing.assert_close(kept / 4000, torch.full((40,), 5 / 40), rtol=0, atol=0.02)


def test_draws_of_groups():
    memory = fill(ExperienceMemory(30, 2, per_experience=10), [10, 3, 20])
    drawn = memory.sample_groups(16, generators(2))["position"]
    assert drawn.shape == (2, 48)
    assert torch.equal(drawn // 1000, torch.arange(3).repeat_interleave(16).expand(2, -1))
    counts = torch.bincount(memory.sample_groups(9000, generators(2))["position"][0] % 1000)
    stored = memory.contents()["position"][0]
    inside = counts[stored[stored < 1000]]
    assert inside.sum() >= 9000  # with replacement: 9000 draws of ten samples
    assert (inside > 750).all()
    assert memory.sample_groups(0, generators(2)) is None
    assert ExperienceMemory(3).sample_groups(4, generators(1)) is None


def test_draws_of_all():
    memory = fill(ExperienceMemory(40, per_experience=20), [20, 5])
    drawn = memory.sample_union(20_000, generators(1))["position"][0]
    assert (drawn >= 1000).float().mean().item() == pytest.approx(5 / 25, abs=0.02)
    assert ExperienceMemory(3).sample_union(4, generators(1)) is None


def test_saved_and_restored():
    memory = fill(ExperienceMemory(12, per_experience=4), [9, 9])
    again = ExperienceMemory(12, per_experience=4)
    again.load_state_dict({k: v.clone() for k, v in memory.state_dict().items()})
    for each in (memory, again):
        each.add(
            generators(1, 5), position=torch.arange(2000, 2009)[None], image=torch.zeros(1, 9, 1)
        )
    assert torch.equal(memory.contents()["position"], again.contents()["position"])
    assert again.group_sizes.tolist() == [4, 4, 4]


def test_bad_input():
    with pytest.raises(ValueError, match="per_experience=0"):
        ExperienceMemory(5, per_experience=0)
    with pytest.raises(ValueError, match="holds 8 samples and 8 are in use"):
        fill(ExperienceMemory(8, per_experience=4), [4, 4, 4])
    with pytest.raises(ValueError, match=r"budget of 2 samples cannot be shared by 3"):
        fill(ExperienceMemory(2), [4, 4, 4])
