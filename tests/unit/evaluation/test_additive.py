"""Differences of arms from the pooled model: against textbooks and on simulated studies."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rankclip.evaluation.statistics.additive import fit
from rankclip.evaluation.statistics.estimate import mean_interval


def study(arms, seeds, correlation=0.5, sd=0.01, gain=0.0, generator=None):
    """Scores by arm and seed; the last arm gains, and equal seeds share a part of the variance."""
    generator = generator or np.random.default_rng(0)
    shared = generator.normal(0, sd * math.sqrt(correlation), seeds)
    own = generator.normal(0, sd * math.sqrt(1 - correlation), (arms, seeds))
    scores = 0.5 + shared + own
    scores[-1] += gain
    return {f"arm-{arm}": dict(enumerate(row.tolist())) for arm, row in enumerate(scores)}


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_two_arms_make_the_paired_t_test(seeds):
    scores = study(2, seeds)
    first, second = (list(by_seed.values()) for by_seed in scores.values())
    difference = fit(scores).difference("arm-1", "arm-0")
    paired = mean_interval([b - a for a, b in zip(first, second, strict=True)])
    expected = (paired.mean, paired.sd, paired.low, paired.high)
    assert (difference.mean, difference.sd, difference.low, difference.high) == pytest.approx(expected)
    assert difference.p == pytest.approx(stats.ttest_rel(second, first).pvalue)
    assert difference.p_alone == pytest.approx(difference.p)


def test_a_table_worked_out_by_hand():
    # arms' means 2, 3, 7; seeds' means 3, 5; residuals +-1, 0, -+1: squares 4 with 2 degrees of freedom
    scores = {"a": {1: 2.0, 2: 2.0}, "b": {1: 2.0, 2: 4.0}, "c": {1: 5.0, 2: 9.0}}
    model = fit(scores)
    assert (model.degrees, model.variance) == (2, 2.0)
    difference = model.difference("c", "a")
    half = 4.302652729749464 * math.sqrt(2 * 2.0 / 2)
    assert (difference.mean, difference.sd) == (5.0, 2.0)
    assert (difference.low, difference.high) == pytest.approx((5 - half, 5 + half))
    # seeds' mean square 3 * 2 = 6 beside 2: (6 - 2) / (6 + 2 * 2)
    assert model.seed_correlation().value == pytest.approx(0.4)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_the_seed_correlation_is_found_within_its_interval_as_often_as_it_says(correlation):
    generator = np.random.default_rng(0)
    studies = 1000
    found = [fit(study(4, 5, correlation, generator=generator)).seed_correlation() for _ in range(studies)]
    covered = np.mean([each.low <= correlation <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.05 * 0.95 / studies))
    assert np.median([each.value for each in found]) == pytest.approx(correlation, abs=0.1)


def test_pairing_makes_differences_vary_less_by_the_seed_correlation():
    scores = study(30, 60, correlation=0.8)
    model = fit(scores)
    unpaired = 2 * np.mean([np.var(list(by_seed.values()), ddof=1) for by_seed in scores.values()])
    assert model.sd**2 / unpaired == pytest.approx(1 - model.seed_correlation().value, rel=0.02)


def test_two_arms_alone_are_compared_as_if_there_were_no_others():
    scores = study(5, 4)
    alone = fit({name: scores[name] for name in ("arm-0", "arm-1")}).difference("arm-1", "arm-0")
    assert fit(scores).difference("arm-1", "arm-0").p_alone == pytest.approx(alone.p)


def test_differences_are_paired_by_seed_not_by_order():
    scores = {"a": {3: 0.5, 1: 0.4, 2: 0.6}, "b": {1: 0.51, 2: 0.71, 3: 0.6}}
    difference = fit(scores).difference("b", "a")
    assert difference.mean == pytest.approx(0.32 / 3)
    assert difference.sd < 0.01


def test_only_seeds_that_all_arms_have_count():
    scores = {"a": {1: 0.5, 2: 0.7, 9: 5.0}, "b": {1: 0.4, 2: 0.5, 8: -5.0}}
    difference = fit(scores).difference("a", "b")
    assert (difference.n, difference.mean) == (2, pytest.approx(0.15))


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 5), st.integers(2, 5), st.lists(st.floats(-1, 1), min_size=5, max_size=5), st.randoms())
def test_what_seeds_share_and_the_order_of_arms_change_nothing(arms, seeds, shifts, dice):
    scores = study(arms, seeds)
    names = list(scores)
    dice.shuffle(names)
    moved = {name: {seed: value + shifts[seed] for seed, value in scores[name].items()} for name in names}
    one, other = (fit(each).difference("arm-1", "arm-0") for each in (scores, moved))
    assert (other.mean, other.low, other.p) == pytest.approx((one.mean, one.low, one.p), rel=1e-6, abs=1e-9)


def test_more_arms_make_the_interval_narrower():
    generator = np.random.default_rng(0)
    widths = {
        arms: np.mean(
            [
                (found := fit(study(arms, 3, generator=generator)).difference("arm-1", "arm-0")).high
                - found.low
                for _ in range(200)
            ]
        )
        for arms in (2, 3, 8)
    }
    assert widths[2] > 1.4 * widths[3] > 1.4 * widths[8]


@pytest.mark.parametrize("arms", [2, 4])
def test_of_equal_arms_as_many_are_told_apart_as_the_level_says(arms):
    generator = np.random.default_rng(arms)
    studies = 4000
    found = [fit(study(arms, 3, generator=generator)).difference("arm-1", "arm-0") for _ in range(studies)]
    rate = np.mean([each.excludes_zero for each in found])
    error = math.sqrt(0.05 * 0.95 / studies)
    assert rate == pytest.approx(0.05, abs=3 * error)
    assert np.mean([each.p < 0.05 for each in found]) == rate


def test_a_noisy_arm_is_called_unlike_and_an_equal_one_is_not():
    generator = np.random.default_rng(0)
    alike, noisy = 0, 0
    for _ in range(300):
        scores = study(6, 5, generator=generator)
        alike += fit(scores).difference("arm-1", "arm-0").unlike
        scores["arm-1"] = {seed: value + generator.normal(0, 0.1) for seed, value in scores["arm-1"].items()}
        noisy += fit(scores).difference("arm-1", "arm-0").unlike
    assert alike <= 27  # 15 expected
    assert noisy >= 270


def test_two_arms_that_differ_alike_at_every_seed_have_no_test_of_their_own():
    steady = {0: 0.1, 1: 0.2, 2: 0.3}
    scores = {
        "a": steady,
        "b": {seed: value + 0.1 for seed, value in steady.items()},
        "c": {0: 0, 1: 0, 2: 1},
    }
    difference = fit(scores).difference("b", "a")
    assert np.ptp([scores["b"][seed] - scores["a"][seed] for seed in steady]) > 0  # by rounding alone
    assert math.isnan(difference.p_alone)
    assert difference.has_interval


def test_one_seed_and_scores_that_do_not_vary_have_no_interval():
    for scores in ({"a": {0: 0.5}, "b": {0: 0.6}}, {"a": {0: 0.1, 1: 0.3}, "b": {0: 0.2, 1: 0.4}}):
        model = fit(scores)
        difference = model.difference("b", "a")
        assert difference.mean == pytest.approx(0.1)
        assert not difference.has_interval
        assert not difference.excludes_zero
        assert not difference.unlike
        assert math.isnan(difference.p)
        assert math.isnan(model.seed_correlation().value)


def test_scores_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="no seed is common to all arms"):
        fit({"a": {1: 0.5}, "b": {2: 0.4}})
    with pytest.raises(ValueError, match="no seed is common"):
        fit({})
    with pytest.raises(ValueError, match="finite"):
        fit({"a": {1: 0.5}, "b": {1: math.nan}})
    with pytest.raises(ValueError, match=r"got 1\.5"):
        fit(study(2, 2)).difference("arm-1", "arm-0", level=1.5)
