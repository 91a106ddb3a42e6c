"""How names and numbers are written for a reader, the same in every table, sentence and plot."""

from __future__ import annotations

import math
import re

from rankclip.evaluation.statistics.estimate import Estimate
from rankclip.report.scores import Source

PRETTY = {"clip": "CLIP", "rankclip": "RankCLIP", "rankclip_shuffled": "shuffled control"}
NONE = "–"
MINUS = "−"

DESCRIBING = frozenset({"geometry"})
"""Protocols that describe a model: to have more or less of it is no merit."""

NO_SHARES = ("median_rank", "mistake_severity")
"""Ends of the names of metrics that are no shares."""


def arm(name: str) -> str:
    """An arm's name in prose."""
    return PRETTY.get(name, name)


def describes(source: Source) -> bool:
    """Whether a number only describes: a distance in the space, or a spread."""
    return source.protocol in DESCRIBING or source.metric.endswith("_sd")


def is_share(source: Source) -> bool:
    """Whether a number is written in percent."""
    return source.protocol not in DESCRIBING and not source.metric.endswith(NO_SHARES)


def metric(name: str) -> str:
    """A metric's name in prose: `image_to_text_r1` is `image to text, R@1`."""
    for direction in ("image_to_text", "text_to_image"):
        if name.startswith(direction + "_"):
            return f"{direction.replace('_', ' ')}, {metric(name[len(direction) + 1 :])}"
    name = re.sub(r"^true_", "any true match, ", name)
    name = re.sub(r"^(in|cross)_modal_top(\d+)", r"\1-modal, overlap of the first \2", name)
    name = re.sub(r"^(in|cross)_modal_tau", r"\1-modal, Kendall's tau x 100", name)
    name = re.sub(r"^(median_rank|mistake_severity)", r"\1, less is better", name)
    name = re.sub(
        r"\br(\d+)\b", r"R@\1", name.replace("map_at_r", "mAP@R").replace("r_precision", "R-precision")
    )
    name = re.sub(r"^(image|text)_(image|text)_spearman", r"\1-\2 Spearman x 100", name)
    name = re.sub(r"\bndcg(\d+)\b", r"nDCG@\1", name)
    return re.sub(r"\btop(\d+)\b", r"top-\1", name).replace("_", " ")


def protocol(name: str) -> str:
    """A protocol's name in prose."""
    return "zero-shot" if name == "zero_shot" else name.replace("_", " ")


def plain(text: str) -> str:
    """Text from outside with what cannot be seen, line breaks and direction marks included, made visible."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def percent(value: float, signed: bool = False, decimals: int = 1) -> str:
    """A share in percent, a difference of shares in points; a dash for NaN."""
    if not math.isfinite(value):
        return NONE
    text = f"{abs(100 * value):.{decimals}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def decimals(estimate: Estimate) -> int:
    """With how many decimals a sentence has it: two where the interval is narrower than a point."""
    return 2 if estimate.has_interval and estimate.high - estimate.low < 0.01 else 1


def value(number: float, source: Source, signed: bool = False) -> str:
    """A number in the unit of its metric: a share as `percent` writes it, anything else with three digits."""
    if is_share(source) or not math.isfinite(number):
        return percent(number, signed)
    text = f"{abs(number):.3g}" if abs(number) < 999.5 else f"{abs(number):,.0f}"
    return (MINUS if number < 0 else "+" if signed else "") + text


def interval(
    estimate: Estimate, signed: bool = False, source: Source | None = None, decimals: int = 1
) -> str:
    """Both ends of an interval in percent or points, or in the unit of `source`; a dash without one."""
    if not estimate.has_interval:
        return NONE
    low, high = (
        percent(end, signed, decimals) if source is None else value(end, source, signed)
        for end in (estimate.low, estimate.high)
    )
    return f"{low} to {high}"


def coefficient(value: float) -> str:
    """A correlation with two decimals; a dash for NaN."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS) if math.isfinite(value) else NONE


def probability(value: float) -> str:
    """A p-value with two digits; a dash for NaN."""
    if not math.isfinite(value):
        return NONE
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def count(value: int, noun: str) -> str:
    """A count with its noun: `1 seed`, `3 seeds`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"
