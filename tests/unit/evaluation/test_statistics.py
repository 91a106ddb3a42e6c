"""Intervals over seeds."""

import math

import numpy as np
import pytest
from scipy import stats

from rankclip.evaluation.statistics.estimate import mean_interval, t_quantile

# two-sided 95 % points of Student's t, as printed in textbooks
T_TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042}


@pytest.mark.parametrize(("degrees", "point"), T_TABLE.items())
def test_t_quantiles_are_those_of_the_printed_table(degrees, point):
    assert t_quantile(0.975, degrees) == pytest.approx(point, abs=5e-4)


def test_three_values_give_the_interval_worked_out_by_hand():
    estimate = mean_interval([1.0, 2.0, 3.0])
    half = 4.302652729749464 / math.sqrt(3)
    assert (estimate.n, estimate.mean, estimate.sd) == (3, 2.0, 1.0)
    assert estimate.low == pytest.approx(2 - half, abs=1e-12)
    assert estimate.high == pytest.approx(2 + half, abs=1e-12)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_interval_agrees_with_scipy_stats(n, level):
    values = np.random.default_rng(n).normal(0.6, 0.01, n)
    estimate = mean_interval(values.tolist(), level)
    low, high = stats.t.interval(level, n - 1, values.mean(), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-12)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    intervals = [mean_interval(generator.normal(0.0, 1.0, 3).tolist()) for _ in range(4000)]
    assert np.mean([each.contains_zero for each in intervals]) == pytest.approx(0.95, abs=0.012)


def test_one_value_has_a_mean_and_no_interval():
    estimate = mean_interval([0.25])
    assert (estimate.n, estimate.mean) == (1, 0.25)
    assert math.isnan(estimate.sd)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert not estimate.has_interval
    assert not estimate.contains_zero


@pytest.mark.parametrize("values", [[0.5, 0.5, 0.5], [0.1 + 0.2, 0.3, 0.3]])
def test_values_that_do_not_vary_have_no_interval(values):
    estimate = mean_interval(values)
    assert estimate.mean == pytest.approx(values[0])
    assert estimate.sd == 0.0
    assert not estimate.has_interval


def test_no_value_has_nothing():
    estimate = mean_interval([])
    assert estimate.n == 0
    assert math.isnan(estimate.mean)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.1, bad])


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_outside_zero_to_one_is_refused(level):
    with pytest.raises(ValueError, match=f"got {level}"):
        mean_interval([0.1, 0.2], level)
