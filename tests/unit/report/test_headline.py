"""What the headline says follows from the intervals."""

import re

from rankclip.evaluation.statistics.estimate import NOTHING, Estimate
from rankclip.report import ablation, headline, verdict
from rankclip.report.scores import Scores, Source
from rankclip.report.spec import ReportSpec

SPEC = ReportSpec(baseline="clip", treatment="rankclip")


def say(on_examples=NOTHING, control_on_examples=NOTHING, **values):
    """The headline of arms with the given scores by seed on two benchmarks."""
    arms = tuple(values)
    seeds = range(len(values[arms[0]]))
    cells = {
        arm: {(name, "top1"): dict(zip(seeds, scores, strict=True)) for name in ("shape", "digits")}
        for arm, scores in values.items()
    }
    sources = dict.fromkeys(cells[arms[0]], Source("top1", "zero_shot"))
    scores = Scores(cells, {arm: dict.fromkeys(seeds, 1) for arm in arms}, {}, {}, sources)
    control = "rankclip_shuffled" if "rankclip_shuffled" in arms else None
    roles = ablation.Roles("clip", "rankclip", control)
    means = ablation.with_means(scores, SPEC)
    model = ablation.fits(means)[ablation.MEAN, "top1"]
    names = ablation.headline_benchmarks(scores, SPEC)
    return headline.headline(SPEC, roles, means, model, names, on_examples, control_on_examples)


def test_a_clear_gain_over_both_is_called_one():
    result = say(clip=[0.5, 0.51, 0.5], rankclip=[0.6, 0.61, 0.61], rankclip_shuffled=[0.5, 0.51, 0.52])
    assert verdict.verdict(result) == "RankCLIP is better than CLIP and than the shuffled control here."
    assert verdict.sentence(result).count("zero is outside") == 2


def test_a_gain_that_the_control_shares_is_not_credited_to_ranking():
    result = say(clip=[0.5, 0.51, 0.5], rankclip=[0.6, 0.61, 0.61], rankclip_shuffled=[0.61, 0.6, 0.61])
    assert "not evidence for the ranking itself" in verdict.verdict(result)
    assert "zero is inside" in verdict.sentence(result)


def test_a_difference_whose_interval_holds_zero_is_no_difference():
    result = say(clip=[0.5, 0.6, 0.5], rankclip=[0.6, 0.5, 0.61], rankclip_shuffled=[0.4, 0.5, 0.6])
    said, needed = verdict.verdict(result).split(".", 1)
    assert said == "The seeds do not show a difference between RankCLIP and CLIP"
    assert re.fullmatch(
        r" To tell a difference of 3\.7 points from none takes about \d+ seeds an arm\.", needed
    )


def test_a_small_difference_that_is_sure_is_not_written_as_none():
    result = say(clip=[0.5, 0.52, 0.51], rankclip=[0.5004, 0.52039, 0.51041])
    assert verdict.sentence(result).startswith("RankCLIP minus CLIP is +0.04 points of mean zero-shot top-1")
    assert "interval +0.04 to +0.04, 3 paired seeds, zero is outside" in verdict.sentence(result)
    assert " is 0.00 points " in verdict.detects(result)


def test_a_loss_is_called_worse():
    result = say(clip=[0.5, 0.51, 0.5], rankclip=[0.4, 0.41, 0.41])
    assert verdict.verdict(result) == "RankCLIP is worse than CLIP here."


def test_without_a_control_the_reason_stays_open():
    result = say(clip=[0.5, 0.51, 0.5], rankclip=[0.6, 0.61, 0.61])
    assert result.control is None
    assert "the reason stays open" in verdict.verdict(result)


def test_a_gain_that_other_examples_could_turn_is_one_on_these_examples():
    arms = {"clip": [0.5, 0.51, 0.5], "rankclip": [0.6, 0.61, 0.61]}
    result = say(on_examples=Estimate(100, 0.1, 0.1, -0.01, 0.2), **arms)
    expected = "RankCLIP is better than CLIP on these test examples, by less than other examples could change"
    assert verdict.verdict(result) == f"{expected} (−1.0 to +20.0 points over examples)."
    assert "these test examples" not in verdict.verdict(say(**arms))


def test_a_gain_over_the_control_that_other_examples_could_turn_is_none_over_it():
    arms = {"clip": [0.5, 0.51, 0.5], "rankclip": [0.6, 0.61, 0.61], "rankclip_shuffled": [0.5, 0.51, 0.52]}
    result = say(control_on_examples=Estimate(100, 0.1, 0.1, -0.01, 0.2), **arms)
    assert "not shown to be better than the shuffled control" in verdict.verdict(result)


def test_a_claim_over_two_arms_that_vary_more_than_the_others_says_what_they_show_by_themselves():
    quiet = {f"arm_{place}": [0.5, 0.501, 0.502, 0.5 + place / 1e4] for place in range(6)}
    wild = [0.8, 0.6, 0.8, 0.6]
    baseline = say(clip=[0.5, 0.501, 0.502, 0.501], rankclip=wild, **quiet)
    assert baseline.difference.unlike
    said = verdict.verdict(baseline)
    p = baseline.difference.p_alone
    assert f"so their interval may be too narrow; by themselves they differ with p = {p:.2g}." in said
    shuffled = [0.45, 0.65, 0.45, 0.65]
    control = say(clip=wild, rankclip=wild, rankclip_shuffled=shuffled, **quiet)
    steady = say(clip=[0.3, 0.101, 0.302, 0.1], rankclip=wild, rankclip_shuffled=shuffled, **quiet)
    assert "vary more" not in verdict.verdict(control)  # which claims nothing
    assert steady.control.unlike
    assert verdict.verdict(steady).count("vary more from seed to seed") == 1
    assert "RankCLIP and the shuffled control vary more" in verdict.verdict(steady)


def test_scores_that_do_not_vary_with_the_seed_say_nothing():
    result = say(clip=[0.5, 0.5], rankclip=[0.6, 0.6])
    assert "The scores do not vary with the seed" in verdict.verdict(result)
    assert verdict.detects(result) == ""


def test_arms_that_differ_alike_at_every_seed_are_not_called_without_spread():
    result = say(clip=[0.5, 0.7], rankclip=[0.6, 0.8])
    expected = "The arms differ alike at every seed, so nothing follows about the methods."
    assert verdict.verdict(result) == expected


def test_a_difference_that_no_number_of_seeds_shows_is_said_to_be_one():
    result = say(clip=[0.5, 0.6, 0.5], rankclip=[0.6, 0.5, 0.5001])
    assert "takes more seeds than can be trained" in verdict.verdict(result)
