"""What the headline says follows from the intervals."""

from rankclip.report import ablation, headline
from rankclip.report.scores import Scores
from rankclip.report.spec import ReportSpec

SPEC = ReportSpec(baseline="clip", treatment="rankclip")


def say(**values):
    """The headline of arms with the given scores by seed on two benchmarks."""
    arms = tuple(values)
    seeds = range(len(values[arms[0]]))
    cells = {
        arm: {(name, "top1"): dict(zip(seeds, scores, strict=True)) for name in ("shape", "digits")}
        for arm, scores in values.items()
    }
    scores = Scores(cells, {arm: dict.fromkeys(seeds, 1) for arm in arms}, {}, {})
    control = "rankclip_shuffled" if "rankclip_shuffled" in arms else None
    roles = ablation.Roles("clip", "rankclip", control)
    names = ablation.headline_benchmarks(scores, "top1")
    return headline.headline(SPEC, roles, ablation.with_means(scores, "top1"), names)


def test_a_clear_gain_over_both_is_called_one():
    result = say(clip=[0.5, 0.51, 0.5], rankclip=[0.6, 0.61, 0.61], rankclip_shuffled=[0.5, 0.51, 0.52])
    assert result.verdict() == "RankCLIP is better than CLIP and than the shuffled control here."
    assert result.sentence().count("zero is outside") == 2


def test_a_gain_that_the_control_shares_is_not_credited_to_ranking():
    result = say(clip=[0.5, 0.51, 0.5], rankclip=[0.6, 0.61, 0.61], rankclip_shuffled=[0.61, 0.6, 0.61])
    assert "not evidence for the ranking itself" in result.verdict()
    assert "zero is inside" in result.sentence()


def test_a_difference_whose_interval_holds_zero_is_no_difference():
    result = say(clip=[0.5, 0.6, 0.5], rankclip=[0.6, 0.5, 0.61], rankclip_shuffled=[0.5, 0.5, 0.5])
    assert result.verdict() == "The seeds do not show a difference between RankCLIP and CLIP."


def test_a_loss_is_called_worse():
    result = say(clip=[0.5, 0.51, 0.5], rankclip=[0.4, 0.41, 0.41])
    assert result.verdict() == "RankCLIP is worse than CLIP here."


def test_without_a_control_the_reason_stays_open():
    result = say(clip=[0.5, 0.51, 0.5], rankclip=[0.6, 0.61, 0.61])
    assert result.control is None
    assert "the reason stays open" in result.verdict()
