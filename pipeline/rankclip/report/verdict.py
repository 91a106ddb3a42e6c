"""The headline in words: the result, what follows from it, and what the study could have found."""

from __future__ import annotations

import math

from rankclip.evaluation.statistics.additive import Difference
from rankclip.evaluation.statistics.estimate import Estimate
from rankclip.evaluation.statistics.power import POWER
from rankclip.report import labels
from rankclip.report.headline import Headline


def sentence(found: Headline) -> str:
    """The result with its intervals, and whether zero is inside them."""
    treatment, baseline = found.roles.treatment, found.roles.baseline
    if treatment is None or found.difference is None:
        level = found.arms[baseline]
        value = labels.percent(level.mean)
        return f"{labels.arm(baseline)} reaches {value} % {found.subject} ({_interval(level, found, False)})."
    text = f"{_sentence_start(labels.arm(treatment))} minus {labels.arm(baseline)} is "
    text += f"{_points(found.difference)} of {found.subject} ({_interval(found.difference, found, True)})"
    if found.roles.control is not None and found.control is not None:
        text += f"; {labels.arm(treatment)} minus the {_noun(found.roles.control)} is "
        text += f"{_points(found.control)} ({_interval(found.control, found, True)})"
    return text + "."


def detects(found: Headline) -> str:
    """The smallest difference that the study finds, in a sentence; empty where it cannot be told."""
    if found.difference is None or not math.isfinite(found.least.least):
        return ""
    least, low, high = (labels.percent(value) for value in found.least)
    return (
        f"With {labels.count(found.difference.n, 'seed')} of {labels.count(len(found.arms), 'arm')} the "
        f"smallest true difference that is found with probability {POWER:g} is {least} points ({low} to "
        f"{high}, as the spread between seeds is itself known from {found.difference.degrees} degrees of "
        "freedom)."
    )


def verdict(found: Headline) -> str:
    """What follows from the intervals, in plain sentences."""
    treatment, difference = found.roles.treatment, found.difference
    if treatment is None or difference is None:
        return "There is no second arm to compare with."
    if not difference.has_interval:
        if difference.n > 1:
            return "The scores do not vary with the seed, so nothing follows about the methods."
        return "One seed gives no interval, so nothing follows about the methods."
    name, baseline = _sentence_start(labels.arm(treatment)), labels.arm(found.roles.baseline)
    if difference.contains_zero:
        said = f"The seeds do not show a difference between {name} and {baseline}."
        return said + _takes(difference, found.needed)
    said = _claim(found, name, baseline, difference.mean > 0)
    if difference.unlike:
        said += (
            " These two arms vary more from seed to seed than the others; by themselves they differ with "
            f"p = {labels.probability(difference.p_alone)}."
        )
    return said


def _claim(found: Headline, name: str, baseline: str, better: bool) -> str:
    """What a difference says that leaves zero out over seeds."""
    if found.on_examples.contains_zero:
        way, around = "better" if better else "worse", labels.interval(found.on_examples, True)
        return (
            f"{name} is {way} than {baseline} on these test examples, by less than other examples could "
            f"change ({around} points over examples)."
        )
    if not better:
        return f"{name} is worse than {baseline} here."
    if found.control is None or found.roles.control is None:
        return f"{name} is better than {baseline} here; without a control the reason stays open."
    control = _noun(found.roles.control)
    if found.control.low > 0:
        return f"{name} is better than {baseline} and than the {control} here."
    return (
        f"{name} is better than {baseline} here but not shown to be better than the {control}, so the gain "
        "is not evidence for the ranking itself."
    )


def _takes(difference: Difference, seeds: int | None) -> str:
    """How far inside the noise a difference is."""
    if difference.mean == 0.0:
        return ""
    size = f"a difference of {labels.percent(abs(difference.mean))} points"
    if seeds is None:
        return f" To tell {size} from none takes more seeds than can be trained."
    return f" To tell {size} from none takes about {labels.count(seeds, 'seed')} an arm."


def _interval(estimate: Estimate, found: Headline, about_zero: bool) -> str:
    if not estimate.has_interval:
        return f"{labels.count(estimate.n, 'seed')}, so no interval"
    text = f"{100 * found.confidence:g} % interval {labels.interval(estimate, about_zero)}, "
    text += labels.count(estimate.n, "paired seed" if about_zero else "seed")
    if not about_zero:
        return text
    return text + (", zero is inside" if estimate.contains_zero else ", zero is outside")


def _points(estimate: Estimate) -> str:
    return labels.percent(estimate.mean, signed=True) + " points"


def _sentence_start(name: str) -> str:
    return name[:1].upper() + name[1:] if name in labels.PRETTY.values() else name


def _noun(control: str) -> str:
    name = labels.arm(control)
    return name if name != control else f"control {name}"
