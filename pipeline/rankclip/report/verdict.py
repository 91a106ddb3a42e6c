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
        value = labels.percent(level.mean, decimals=labels.decimals(level))
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
    exact = labels.decimals(found.difference)
    least, low, high = (labels.percent(value, decimals=exact) for value in found.least)
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
        why = "One seed gives no interval"
        if difference.n > 1:
            alike = any(level.has_interval for level in found.arms.values())
            why = "The arms differ alike at every seed" if alike else "The scores do not vary with the seed"
        return f"{why}, so nothing follows about the methods."
    name, baseline = _sentence_start(labels.arm(treatment)), labels.arm(found.roles.baseline)
    if difference.contains_zero:
        said = f"The seeds do not show a difference between {name} and {baseline}."
        return said + _takes(difference, found.needed)
    said = _claim(found, name, baseline, difference.mean > 0)
    said += _unlike(difference, name, baseline)
    if found.control is not None and found.roles.control is not None and _beats_both(found):
        said += _unlike(found.control, name, f"the {_noun(found.roles.control)}")
    return said


def _unlike(difference: Difference, one: str, other: str) -> str:
    """What to know of a claim whose two arms vary more than the pooled interval has it."""
    if not difference.unlike:
        return ""
    return (
        f" {one} and {other} vary more from seed to seed than the other arms, so their interval may be too "
        f"narrow; by themselves they differ with p = {labels.probability(difference.p_alone)}."
    )


def _beats_both(found: Headline) -> bool:
    """Whether the gains over baseline and control leave zero out, over seeds and over examples."""
    over_seeds = [each is not None and each.low > 0 for each in (found.difference, found.control)]
    over_examples = [found.on_examples, found.control_on_examples]
    return all(over_seeds) and not any(each.contains_zero for each in over_examples)


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
    if _beats_both(found):
        return f"{name} is better than {baseline} and than the {control} here."
    return (
        f"{name} is better than {baseline} here but not shown to be better than the {control}, so the gain "
        "is not evidence for the ranking itself."
    )


def _takes(difference: Difference, seeds: int | None) -> str:
    """How far inside the noise a difference is."""
    if difference.mean == 0.0:
        return ""
    size = (
        f"a difference of {labels.percent(abs(difference.mean), decimals=labels.decimals(difference))} points"
    )
    if seeds is None:
        return f" To tell {size} from none takes more seeds than can be trained."
    return f" To tell {size} from none takes about {labels.count(seeds, 'seed')} an arm."


def _interval(estimate: Estimate, found: Headline, about_zero: bool) -> str:
    if not estimate.has_interval:
        alike = "" if estimate.n == 1 else " without spread"
        return f"{labels.count(estimate.n, 'seed')}{alike}, so no interval"
    ends = labels.interval(estimate, about_zero, decimals=labels.decimals(estimate))
    text = f"{100 * found.confidence:g} % interval {ends}, "
    text += labels.count(estimate.n, "paired seed" if about_zero else "seed")
    if not about_zero:
        return text
    return text + (", zero is inside" if estimate.contains_zero else ", zero is outside")


def _points(estimate: Estimate) -> str:
    return labels.percent(estimate.mean, True, labels.decimals(estimate)) + " points"


def _sentence_start(name: str) -> str:
    return name[:1].upper() + name[1:] if name in labels.PRETTY.values() else name


def _noun(control: str) -> str:
    name = labels.arm(control)
    return name if name != control else f"control {name}"
