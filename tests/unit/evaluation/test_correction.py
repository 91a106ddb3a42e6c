"""Corrections for many comparisons."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rankclip.evaluation.statistics.correction import adjusted

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def holm_step_by_step(p, level):
    """Which hypotheses Holm's procedure rejects, as the paper tells it."""
    rejected = set()
    for place in sorted(range(len(p)), key=lambda place: p[place]):
        if p[place] > level / (len(p) - len(rejected)):
            break
        rejected.add(place)
    return rejected


def test_a_family_worked_out_by_hand():
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    expected = [0.02, 0.04, 0.04, 0.02]
    assert adjusted([0.01, 0.04, 0.03, 0.005], "benjamini_hochberg") == pytest.approx(expected)
    assert adjusted([0.01, 0.9], "none") == [0.01, 0.9]


@given(PROBABILITIES, st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_procedure_rejects(p, level):
    found = {place for place, value in enumerate(adjusted(p)) if value <= level}
    clear = {place for place in range(len(p)) if not math.isclose(adjusted(p)[place], level, rel_tol=1e-9)}
    assert found & clear == holm_step_by_step(p, level) & clear


@given(PROBABILITIES)
def test_benjamini_hochberg_is_that_of_scipy(p):
    assert adjusted(p, "benjamini_hochberg") == pytest.approx(stats.false_discovery_control(p).tolist())


@given(PROBABILITIES, st.sampled_from(["holm", "benjamini_hochberg"]), st.randoms())
def test_a_correction_only_raises_keeps_the_order_and_follows_its_hypothesis(p, method, dice):
    found = adjusted(p, method)
    assert all(1 >= after >= before - 1e-15 for before, after in zip(p, found, strict=True))
    places = list(range(len(p)))
    assert sorted(places, key=lambda i: (p[i], i)) == sorted(places, key=lambda i: (found[i], p[i], i))
    dice.shuffle(places)
    assert adjusted([p[i] for i in places], method) == pytest.approx([found[i] for i in places])


def test_what_is_no_comparison_does_not_count():
    found = adjusted([0.02, math.nan, 0.5])
    assert found[0] == 0.04
    assert math.isnan(found[1])
    assert adjusted([]) == []


def test_among_null_comparisons_any_is_claimed_at_most_as_often_as_the_level_says():
    generator = np.random.default_rng(0)
    studies = 3000
    # comparisons to one baseline depend on each other, as those of a study do
    scores = generator.normal(size=(studies, 9)) + generator.normal(size=(studies, 1))
    p = 2 * stats.norm.sf(abs(scores) / math.sqrt(2))
    error = math.sqrt(0.05 * 0.95 / studies)
    assert np.mean([min(adjusted(row)) < 0.05 for row in p]) <= 0.05 + 3 * error
    assert np.mean([min(row) < 0.05 for row in p]) > 0.15


@pytest.mark.parametrize("bad", [-0.1, 1.1])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        adjusted([0.5, bad])
