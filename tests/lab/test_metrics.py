import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from relcl_lib.lab.metrics import (
    average_accuracy,
    average_anytime_accuracy,
    confidence_interval,
    final_accuracy,
    forgetting,
    new_task_accuracy,
    old_task_accuracy,
)

HAND = [[0.8, 0, 0], [0.6, 0.7, 0], [0.5, 0.4, 0.9]]
MATRIX_METRICS = [
    average_accuracy,
    final_accuracy,
    average_anytime_accuracy,
    forgetting,
    lambda a: forgetting(a, "released"),
    new_task_accuracy,
    old_task_accuracy,
]

matrices = st.integers(1, 6).flatmap(
    lambda tasks: arrays(np.float64, (tasks, tasks), elements=st.floats(0, 100))
)


def test_hand_matrix():
    np.testing.assert_allclose(average_accuracy(HAND), [0.8, 0.65, 0.6])
    assert final_accuracy(HAND) == pytest.approx(0.6)
    assert average_anytime_accuracy(HAND) == pytest.approx(0.68333, abs=1e-5)
    assert forgetting(HAND) == pytest.approx(0.3)
    assert forgetting(HAND, "released") == pytest.approx(0.2)
    np.testing.assert_allclose(new_task_accuracy(HAND), [0.8, 0.7, 0.9])
    np.testing.assert_allclose(old_task_accuracy(HAND), [np.nan, 0.6, 0.45])


def test_forgetting_is_negative_only_in_the_papers_definition():
    improves = [[0.5, 0], [0.7, 0.9]]
    assert forgetting(improves) == pytest.approx(-0.2)
    assert forgetting(improves, "released") == 0.0


def test_forgetting_uses_the_best_row_not_the_diagonal():
    a = [[0.5, 0, 0], [0.8, 0.6, 0], [0.4, 0.6, 0.9]]
    assert forgetting(a) == pytest.approx((0.4 + 0.0) / 2)


def test_single_task():
    a = [[0.7]]
    assert final_accuracy(a) == average_anytime_accuracy(a) == 0.7
    assert forgetting(a) == forgetting(a, "released") == 0.0
    np.testing.assert_array_equal(new_task_accuracy(a), [0.7])
    np.testing.assert_array_equal(old_task_accuracy(a), [np.nan])


@pytest.mark.parametrize("metric", MATRIX_METRICS)
def test_leading_dimensions_and_tensors(metric):
    a = np.random.default_rng(0).random((2, 3, 4, 4))
    expected = np.array([[metric(a[i, j]) for j in range(3)] for i in range(2)])
    np.testing.assert_allclose(metric(a), expected)
    np.testing.assert_allclose(metric(torch.tensor(a, requires_grad=True)), expected)
    half = torch.tensor(a, dtype=torch.bfloat16)
    np.testing.assert_allclose(metric(half), expected, atol=0.02)


@pytest.mark.parametrize("metric", MATRIX_METRICS)
@given(a=matrices)
def test_future_tasks_are_not_read(metric, a):
    future = np.triu(np.ones_like(a, dtype=bool), 1)
    np.testing.assert_array_equal(metric(np.where(future, np.nan, a)), metric(a))


@given(matrices)
def test_properties(a):
    tasks = len(a)
    lower = a[np.tril_indices(tasks)]
    assert lower.min() - 1e-9 <= final_accuracy(a) <= lower.max() + 1e-9
    assert lower.min() - 1e-9 <= average_anytime_accuracy(a) <= lower.max() + 1e-9
    released = forgetting(a, "released")
    assert released >= 0
    assert released >= forgetting(a) * (tasks - 1) / tasks - 1e-9
    np.testing.assert_allclose(forgetting(2 * a), 2 * forgetting(a), atol=1e-9)
    # The average accuracy is the new task's and the old tasks' shares together.
    shares = np.arange(tasks) * np.nan_to_num(old_task_accuracy(a)) + new_task_accuracy(a)
    np.testing.assert_allclose(shares / np.arange(1, tasks + 1), average_accuracy(a), atol=1e-9)


@given(matrices)
def test_definitions_of_forgetting_agree_if_nothing_improves_at_the_end(a):
    a = a.copy()
    a[-1] = 0.0
    a[-1, -1] = 50.0
    tasks = len(a)
    expected = forgetting(a) * (tasks - 1) / tasks
    assert forgetting(a, "released") == pytest.approx(expected, abs=1e-9)


def test_a_missing_accuracy_is_not_hidden():
    a = [[0.8, 0], [np.nan, 0.5]]
    assert np.isnan(final_accuracy(a))
    assert np.isnan(forgetting(a))


@pytest.mark.parametrize(
    "bad", [[0.5, 0.6], [[0.5, 0.6]], 0.5, np.zeros((0, 0)), np.zeros((2, 3, 4))]
)
@pytest.mark.parametrize("metric", MATRIX_METRICS)
def test_not_square(metric, bad):
    with pytest.raises(ValueError, match=r"\(\.\.\., T, T\)"):
        metric(bad)


def test_unknown_variant():
    with pytest.raises(ValueError, match="'paper' or 'released'"):
        forgetting(HAND, "code")


def test_confidence_interval_of_ten_runs():
    values = np.random.default_rng(1).normal(50, 2, 10)
    mean, half = confidence_interval(values)
    assert isinstance(mean, float)
    assert mean == pytest.approx(values.mean())
    assert half == pytest.approx(0.71536 * values.std(ddof=1), rel=1e-5)


def test_confidence_interval_by_hand():
    # t_{0.975, 1} = 12.7062; sd of (1, 3) is sqrt(2), so the half width is t itself.
    assert confidence_interval([1, 3]) == (2.0, pytest.approx(12.7062, abs=1e-4))


def test_confidence_interval_of_one_run_has_no_width():
    mean, half = confidence_interval([42.0])
    assert mean == 42.0
    assert math.isnan(half)


def test_confidence_interval_along_an_axis():
    values = np.random.default_rng(2).random((3, 5))
    mean, half = confidence_interval(torch.tensor(values), axis=0)
    for task in range(5):
        expected = confidence_interval(values[:, task])
        assert (mean[task], half[task]) == pytest.approx(expected)


@given(
    arrays(np.float64, st.integers(2, 12), elements=st.floats(-100, 100)),
    st.floats(0.5, 0.9),
)
def test_confidence_interval_properties(values, level):
    mean, half = confidence_interval(values, level)
    wider = confidence_interval(values, 0.95)[1]
    assert 0 <= half <= wider
    shifted = confidence_interval(values + 7, level)
    assert shifted == pytest.approx((mean + 7, half), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [([], 0.95, "at least one run"), (3.0, 0.95, "at least one run"), ([1, 2], 95, "level")],
)
def test_confidence_interval_refuses(values, level, message):
    with pytest.raises(ValueError, match=message):
        confidence_interval(values, level)
