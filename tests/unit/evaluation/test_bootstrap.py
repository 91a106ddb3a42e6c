"""Intervals over test examples."""

import math

import numpy as np
import pytest

from rankclip.evaluation.statistics import bootstrap
from rankclip.evaluation.statistics.bootstrap import bootstrap_interval, bootstrap_means


def twin(values, draws, clusters=None):
    """The resampled means, one resample and one cluster at a time."""
    generator = np.random.default_rng(7)
    names = np.arange(len(values)) if clusters is None else clusters
    members = [values[names == name] for name in np.unique(names)]
    return np.array(
        [
            np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))]).mean()
            for _ in range(draws)
        ]
    )


def test_the_interval_is_that_of_the_normal_approximation_for_many_examples():
    values = (np.random.default_rng(3).random(2000) < 0.3).astype(float)
    estimate = bootstrap_interval(values, seed=1)
    half = 1.96 * math.sqrt(values.mean() * (1 - values.mean()) / 2000)
    assert (estimate.n, estimate.mean) == (2000, values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.002)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.002)


@pytest.mark.parametrize("kind", ["counted", "gathered", "clusters", "clusters of different sizes"])
def test_resampled_means_are_distributed_as_those_of_a_slow_twin(kind):
    generator = np.random.default_rng(0)
    values = generator.random(90)
    clusters = None
    if kind == "counted":
        values = (values < 0.4).astype(float)
    elif kind == "clusters":
        clusters = np.arange(90) // 5
        values = values + clusters % 2
    elif kind == "clusters of different sizes":
        clusters = np.sort(generator.integers(0, 12, 90))
        values = values + clusters % 3
    fast, slow = bootstrap_means(values, 1, 4000, clusters), twin(values, 2000, clusters)
    assert fast.mean() == pytest.approx(slow.mean(), abs=5 * slow.std() / math.sqrt(2000))
    assert fast.std() == pytest.approx(slow.std(), rel=0.07)


def test_gathering_in_parts_is_gathering_at_once(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = bootstrap_means(values, 1, 40)
    monkeypatch.setattr(bootstrap, "CELLS", 50 * 7)
    np.testing.assert_array_equal(bootstrap_means(values, 1, 40), whole)


def test_examples_that_come_together_make_the_interval_wider():
    right = np.repeat((np.random.default_rng(0).random(200) < 0.5).astype(float), 5)
    alone, together = (
        bootstrap_interval(right, seed=0, clusters=clusters) for clusters in (None, np.arange(1000) // 5)
    )
    assert alone.mean == together.mean
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(math.sqrt(5), rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    drawn = generator.exponential(1.0, (1000, 100))
    found = [bootstrap_interval(values, seed=0, draws=500) for values in drawn]
    # of 100 skewed examples the percentile interval covers a little less than it says
    assert np.mean([each.low <= 1.0 <= each.high for each in found]) == pytest.approx(0.94, abs=0.02)


def test_it_repeats_itself_for_a_seed_and_only_for_it():
    values = np.random.default_rng(3).random(50)
    first, again, other = (bootstrap_interval(values, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_order_does_not_matter_where_values_are_counted():
    values = (np.random.default_rng(3).random(500) < 0.2).astype(float)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values[::-1], seed=1)


@pytest.mark.parametrize("values", [[1.0], [1.0] * 50, [0.25] * 3])
def test_examples_that_are_all_equal_have_no_interval(values):
    estimate = bootstrap_interval(values, seed=0)
    assert estimate.mean == values[0]
    assert not estimate.has_interval


def test_no_example_has_nothing():
    assert bootstrap_interval([], seed=0).n == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval([0.1, bad], seed=0)


def test_a_level_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"got 95"):
        bootstrap_interval([0.1, 0.2], seed=0, level=95)
