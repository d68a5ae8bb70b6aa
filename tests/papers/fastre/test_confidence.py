"""Scores of triples as probabilities: calibration, and the reliability curve."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from relcl_lib.papers.fastre.confidence import (
    ENOUGH,
    calibrate,
    calibration_error,
    describe_calibration,
    log_odds,
    reliability,
)


def test_log_odds_are_those_of_the_product_and_bounded():
    p = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert torch.allclose(log_odds(p.log()), (p / (1 - p)).log())
    assert log_odds(torch.tensor([0.0, -1e9])).tolist() == [30, -30]


@pytest.mark.parametrize("slope, offset", [(1.0, 0.0), (0.5, -1.0)])
def test_the_probability_that_made_the_outcomes_is_found_again(slope, offset):
    generator = torch.Generator().manual_seed(0)
    odds = 3 * torch.randn(20_000, generator=generator, dtype=torch.float64)
    logs = torch.nn.functional.logsigmoid(odds)
    right = torch.rand(len(odds), generator=generator) < torch.sigmoid(slope * odds + offset)
    found = calibrate(logs, right)
    assert found.triples == 20_000
    assert math.isclose(found.slope, slope, abs_tol=0.05)
    assert math.isclose(found.offset, offset, abs_tol=0.05)
    curve = reliability(found(logs), right)
    assert calibration_error(curve) < 0.01
    assert sum(count for *_, count in curve) == 20_000


def test_all_right_is_nearly_certain_and_nothing_is_none():
    logs = torch.tensor([-0.1, -0.5, -1.0])
    found = calibrate(logs, torch.ones(3, dtype=torch.bool))
    assert 0.7 < found(logs).mean() < 0.9  # 4 / 5
    assert calibrate(torch.zeros(0), torch.zeros(0, dtype=torch.bool)) is None


@given(st.lists(st.tuples(st.floats(-20, -1e-6), st.booleans()), min_size=1, max_size=3 * ENOUGH))
def test_calibration_never_turns_the_order_round(pairs):
    logs = torch.tensor([log for log, _ in pairs], dtype=torch.float64)
    right = torch.tensor([hit for _, hit in pairs])
    found = calibrate(logs, right)
    assert found.slope >= 0
    assert (found(logs.sort().values).diff() >= 0).all()
    assert len(pairs) >= ENOUGH or found.slope == 1


def test_few_triples_fit_the_offset_alone():
    logs, right = torch.tensor([-3.0, -2.0, -0.01]), torch.tensor([True, True, False])
    found = calibrate(logs, right)
    assert (found.slope, found.triples) == (1, 3)
    assert found(logs).mean() == pytest.approx((3 / 4 + 3 / 4 + 1 / 3) / 3)  # Platt's targets
    said = "scores were calibrated on 3 triples found in validation: they are rough, below 30"
    assert describe_calibration(found) == said


def test_where_the_wrong_ones_score_higher_all_are_alike():
    logs = torch.linspace(-5, -0.1, ENOUGH)
    right = torch.arange(ENOUGH) < ENOUGH // 2
    found = calibrate(logs, right)
    assert found.slope == 0 and found.offset == pytest.approx(0, abs=1e-9)
    said = f"scores were calibrated on {ENOUGH} triples found in validation"
    assert describe_calibration(found) == said
    assert "not calibrated" in describe_calibration(None)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans())))
def test_a_reliability_curve_is_that_of_a_loop(pairs):
    curve = reliability([p for p, _ in pairs], [hit for _, hit in pairs], 4)
    bins = [[(p, hit) for p, hit in pairs if min(int(p * 4), 3) == k] for k in range(4)]
    bins = [found for found in bins if found]
    assert len(curve) == len(bins)
    for (mean, share, count), found in zip(curve, bins, strict=True):
        assert count == len(found)
        assert math.isclose(mean, sum(p for p, _ in found) / count, abs_tol=1e-9)
        assert math.isclose(share, sum(hit for _, hit in found) / count, abs_tol=1e-9)
