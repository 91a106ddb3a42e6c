"""How names and numbers are written for a reader, the same in every table, sentence and plot."""

from __future__ import annotations

import math
import re

from rankclip.evaluation.statistics import Estimate

PRETTY = {"clip": "CLIP", "rankclip": "RankCLIP", "rankclip_shuffled": "shuffled control"}
NONE = "–"
MINUS = "−"


def arm(name: str) -> str:
    """An arm's name in prose."""
    return PRETTY.get(name, name)


def metric(name: str) -> str:
    """A metric's name in prose: `image_to_text_r1` is `image to text, R@1`."""
    for direction in ("image_to_text", "text_to_image"):
        if name.startswith(direction + "_"):
            return f"{direction.replace('_', ' ')}, {metric(name[len(direction) + 1 :])}"
    name = re.sub(r"^true_", "any true match, ", name.removesuffix(" (zero_shot)"))
    name = re.sub(r"\br(\d+)\b", r"R@\1", name)
    name = re.sub(r"\bndcg(\d+)\b", r"nDCG@\1", name)
    return re.sub(r"\btop(\d+)\b", r"top-\1", name).replace("_", " ")


def plain(text: str) -> str:
    """Text from outside with what cannot be seen, line breaks and direction marks included, made visible."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def percent(value: float, signed: bool = False) -> str:
    """A share in percent with one decimal, a difference of shares in points; a dash for NaN."""
    if not math.isfinite(value):
        return NONE
    text = f"{abs(100 * value):.1f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def interval(estimate: Estimate, signed: bool = False) -> str:
    """Both ends of an interval in percent or points; a dash where there is none."""
    if not estimate.has_interval:
        return NONE
    return f"{percent(estimate.low, signed)} to {percent(estimate.high, signed)}"


def count(value: int, noun: str) -> str:
    """A count with its noun: `1 seed`, `3 seeds`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"
