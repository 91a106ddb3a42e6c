"""The smallest difference that seeds can show."""

import math

import numpy as np
import pytest

from rankclip.evaluation.statistics.additive import fit
from rankclip.evaluation.statistics.estimate import t_quantile
from rankclip.evaluation.statistics.power import detectable, seeds_needed, smallest_difference


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_test_finds_the_smallest_difference_with_the_power_asked_for(seeds):
    difference = smallest_difference(seeds, sd=0.02, power=0.8)
    studies = np.random.default_rng(0).normal(difference, 0.02, (200_000, seeds))
    t = studies.mean(1) / studies.std(1, ddof=1) * math.sqrt(seeds)
    assert np.mean(abs(t) > t_quantile(0.975, seeds - 1)) == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(("arms", "seeds"), [(3, 3), (8, 3), (3, 5)])
def test_the_pooled_model_finds_it_with_the_power_asked_for(arms, seeds):
    sd, studies = 0.01, 2000
    gain = smallest_difference(seeds, sd * math.sqrt(2), power=0.8, arms=arms)
    drawn = np.random.default_rng(0).normal(0, sd, (studies, arms, seeds))
    drawn[:, 1] += gain
    found = [
        fit({f"{arm}": dict(enumerate(row)) for arm, row in enumerate(each)})
        .difference("1", "0")
        .excludes_zero
        for each in drawn
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / studies))


def test_seeds_and_arms_help_and_one_seed_detects_nothing():
    least = [smallest_difference(seeds, 0.01) for seeds in (1, 2, 3, 5, 20)]
    assert least[0] == math.inf
    assert least == sorted(least, reverse=True)
    assert least[-1] == pytest.approx(2.8 * 0.01 / math.sqrt(20), rel=0.1)  # the normal approximation
    assert smallest_difference(3, 0.01, arms=3) < 0.7 * smallest_difference(3, 0.01)


def test_the_range_holds_the_truth_as_often_as_it_says():
    sd, seeds, arms, studies = 0.01, 3, 4, 2000
    degrees = (arms - 1) * (seeds - 1)
    truth = smallest_difference(seeds, sd, arms=arms)
    measured = sd * np.sqrt(np.random.default_rng(0).chisquare(degrees, studies) / degrees)
    ranges = [detectable(seeds, each, arms) for each in measured]
    assert np.mean([each.low <= truth <= each.high for each in ranges]) == pytest.approx(0.95, abs=0.015)
    assert all(each.low < each.least < each.high for each in ranges)


def test_among_many_comparisons_a_difference_must_be_larger():
    alone, among = (detectable(3, 0.01, 3, comparisons=count).least for count in (1, 20))
    assert among == pytest.approx(smallest_difference(3, 0.01, level=1 - 0.05 / 20, arms=3))
    assert among > 1.5 * alone


@pytest.mark.parametrize(("seeds", "sd", "arms"), [(1, 0.01, 3), (3, 0.01, 1), (3, 0.0, 3), (3, math.nan, 3)])
def test_what_was_not_measured_gives_no_smallest_difference(seeds, sd, arms):
    assert all(math.isnan(value) for value in detectable(seeds, sd, arms))


@pytest.mark.parametrize("difference", [0.003, 0.01, 0.1])
def test_so_many_seeds_are_needed_and_one_fewer_is_not_enough(difference):
    needed = seeds_needed(-difference, sd=0.01, arms=3)
    assert smallest_difference(needed, 0.01, arms=3) <= difference
    assert smallest_difference(needed - 1, 0.01, arms=3) > difference


def test_a_difference_of_nothing_is_never_found():
    assert seeds_needed(1e-9, sd=0.01) is None
