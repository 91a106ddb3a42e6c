"""The tables of the question on `shapes`, from its rows in docs/results."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from rankclip.evaluation.statistics import additive, correction
from rankclip.evaluation.statistics.additive import Difference
from rankclip.evaluation.statistics.estimate import Estimate, mean_interval, t_quantile

SCORES, SETTINGS, TRIALS = "scores.csv", "settings.csv", "trials.csv"
SHARE = 0.1
"""Vague captions of the world of `shapes`."""
LEVEL = 0.95
HEADLINE = "mean", "top1"
BASE = "clip"
"""The tuned CLIP: the sweep found nothing better than it is."""
ARMS = (
    "clip", "cyclip", "rankclip", "rankclip_shuffled", "clip_alpha_replay", "rankclip_released",
    "rankclip_options", "rankclip_strong", "rankclip_shuffled_tuned", "rankclip_oracle",
)  # fmt: skip
CONTRASTS = (
    ("rankclip", "clip", "Does RankCLIP beat the tuned CLIP?"),
    ("rankclip", "rankclip_shuffled", "Is it the ranking?"),
    ("rankclip", "clip_alpha_replay", "Is it more than the temperature?"),
    ("clip_alpha_replay", "clip", "What is the temperature worth?"),
    ("rankclip_strong", "clip", "Does RankCLIP help with the oracle's weights?"),
    ("rankclip_strong", "rankclip_shuffled_tuned", "And is that the ranking?"),
    ("rankclip_oracle", "clip", "Could any ranking help here?"),
    ("rankclip_oracle", "rankclip_shuffled_tuned", "Is it what the oracle knows?"),
    ("rankclip_shuffled_tuned", "clip", "What is the tuned control worth?"),
    ("rankclip_released", "clip", "Do the released numerics help?"),
    ("rankclip_options", "clip", "Does ListNet's loss help?"),
    ("rankclip", "cyclip", "Does the list beat the pairs?"),
)
"""Arms, what each is compared with, and what the difference answers."""
OVER_WORLDS = (("rankclip", "clip"), ("rankclip", "rankclip_shuffled"), ("rankclip_oracle", "clip"))

Scores = Mapping[tuple[float, str], Mapping[tuple[str, str], Mapping[int, float]]]
"""By share of vague captions and arm, then benchmark and metric, then seed."""


def read(folder: Path) -> Scores:
    """The scores that were collected."""
    found: dict[tuple[float, str], dict[tuple[str, str], dict[int, float]]] = {}
    for row in rows_of(folder / SCORES):
        cells = found.setdefault((float(row["ambiguity"]), row["arm"]), {})
        cells.setdefault((row["benchmark"], row["metric"]), {})[int(row["seed"])] = float(row["value"])
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tables(found: Scores, folder: Path) -> dict[str, str]:
    """Markdown by the name of its place in the page; tables of what is not there yet are left out."""
    made = {"tuning": tuning(rows_of(folder / TRIALS), rows_of(folder / SETTINGS))}
    if (SHARE, BASE) in found:
        made |= {"arms": arms(found), "contrasts": contrasts(found), "benchmarks": benchmarks(found)}
    if len({share for share, _ in found}) > 1:
        made["ambiguity"] = ambiguity(found)
    return made


def tuning(trials: Sequence[Mapping[str, str]], settings: Sequence[Mapping[str, str]]) -> str:
    """What each arm's sweep did, and what it chose."""
    metric = "val/mean_top1"
    head = ["arm", "trials to the end", "steps", "as it is", "winner", "chosen"]
    lines = [row(head), row(["---", *["---:"] * 4, "---"])]
    for arm in dict.fromkeys(each["arm"] for each in trials):
        own = [each for each in trials if each["arm"] == arm]
        again = [each for each in settings if each["arm"] == arm]
        as_it_is = [100 * float(each[metric]) for each in again if each["setting"] == "as it is"]
        won = [each for each in again if each["winner"] == "True"]
        ended = sum(each["state"] == "finished" for each in own)
        lines.append(
            row(
                [
                    f"`{arm}`",
                    f"{ended} of {len(own)}",
                    f"{sum(int(each['step']) for each in own):,}",
                    f"{fmean(as_it_is):.1f}",
                    f"{fmean(100 * float(each[metric]) for each in won):.1f}" if won else "",
                    chosen(won[0]) if won else "",
                ]
            )
        )
    return "\n".join(lines)


def chosen(setting: Mapping[str, str]) -> str:
    """The values of a setting, in short."""
    if setting["setting"] == "as it is":
        return "as it is"
    said = []
    for key, value in setting.items():
        if key.split(".")[0] in ("train", "objective") and value:
            known = json.loads(value)
            short = key.removeprefix("train.").removeprefix("objective.terms.").removesuffix(".final")
            said.append(
                f"{short.removesuffix('.value')} {f'{known:.3g}' if isinstance(known, float) else known}"
            )
    return ", ".join(said)


def arms(found: Scores) -> str:
    """Levels of every arm in the world of `shapes`."""
    here = {arm: found[SHARE, arm] for arm in ARMS if (SHARE, arm) in found}
    head = [
        "arm",
        "mean top-1",
        f"minus `{BASE}`",
        "minus `rankclip_shuffled`",
        "R@1 to text",
        "to image",
        "alpha",
    ]
    lines = [row(head), row(["---", *["---:"] * 6])]
    model = fitted(here, HEADLINE)
    for arm, cells in here.items():
        level = mean_interval([100 * value for value in cells[HEADLINE].values()], LEVEL)
        recall = [fmean(100 * value for value in cells["retrieval", f"{way}_r1"].values())
                  for way in ("image_to_text", "text_to_image")]  # fmt: skip
        minus = [
            "" if arm == other or other not in here else points(model.difference(arm, other, LEVEL))
            for other in (BASE, "rankclip_shuffled")
        ]
        alpha = f"{fmean(cells['run', 'alpha'].values()):.1f}"
        lines.append(row([f"`{arm}`", around(level), *minus, *(f"{each:.1f}" for each in recall), alpha]))
    return "\n".join(lines)


def contrasts(found: Scores) -> str:
    """The differences that answer the question, corrected for how many they are (Holm)."""
    here = {arm: found[SHARE, arm] for arm in ARMS if (SHARE, arm) in found}
    model = fitted(here, HEADLINE)
    asked = [each for each in CONTRASTS if each[0] in here and each[1] in here]
    differences = [model.difference(arm, other, LEVEL) for arm, other, _ in asked]
    p = correction.adjusted([each.p for each in differences])
    lines = [
        row(["question", "difference", "points (95 %)", "p", "of all these (Holm)"]),
        row(["---", "---", *["---:"] * 3]),
    ]
    for (arm, other, question), difference, corrected in zip(asked, differences, p, strict=True):
        named = f"`{arm}` - `{other}`"
        lines.append(row([question, named, points(difference), f"{difference.p:.3f}", f"{corrected:.3f}"]))
    return "\n".join(lines)


def benchmarks(found: Scores) -> str:
    """Top-1 of every arm on every benchmark, means over seeds."""
    here = {arm: found[SHARE, arm] for arm in ARMS if (SHARE, arm) in found}
    names = [name for name, metric in next(iter(here.values())) if metric == "top1" and name != "mean"]
    lines = [row(["arm", *names]), row(["---", *["---:"] * len(names)])]
    for arm, cells in here.items():
        lines.append(
            row(
                [
                    f"`{arm}`",
                    *(f"{fmean(100 * v for v in cells[name, 'top1'].values()):.1f}" for name in names),
                ]
            )
        )
    return "\n".join(lines)


def ambiguity(found: Scores) -> str:
    """Levels and differences by the share of vague captions, and how they change with it."""
    lines = [
        row(["vague captions", f"`{BASE}`", *(f"`{arm}` - `{other}`" for arm, other in OVER_WORLDS)]),
        row(["---", *["---:"] * (1 + len(OVER_WORLDS))]),
    ]
    for share in sorted({share for share, _ in found}):
        here = world(found, share)
        model = fitted(here, HEADLINE)
        level = mean_interval([100 * value for value in here[BASE][HEADLINE].values()], LEVEL)
        gains = [points(model.difference(arm, other, LEVEL)) for arm, other in OVER_WORLDS]
        lines.append(row([f"{share:g}", around(level), *gains]))
    slopes = [points(slope(found, arm, other)) for arm, other in OVER_WORLDS]
    lines.append(row(["change from 0 to 0.6", "", *slopes]))
    return "\n".join(lines)


def world(found: Scores, share: float) -> dict[str, Mapping[tuple[str, str], Mapping[int, float]]]:
    """The arms that all worlds have, in one of them."""
    names = dict.fromkeys(name for pair in OVER_WORLDS for name in pair)
    return {arm: found[share, arm] for arm in names}


def slope(found: Scores, arm: str, other: str) -> Estimate:
    """The change of a difference from no vague captions to 0.6, by least squares over worlds and seeds."""
    x, y = [], []
    for share in sorted({share for share, _ in found}):
        mine, its = (found[share, each][HEADLINE] for each in (arm, other))
        x += [share] * len(mine)
        y += [mine[seed] - its[seed] for seed in mine]
    shares, values = np.asarray(x) / 0.6, np.asarray(y)
    centred = shares - shares.mean()
    change = float(centred @ values / (centred @ centred))
    residual = values - values.mean() - change * centred
    degrees = len(values) - 2
    error = float(np.sqrt(residual @ residual / degrees / (centred @ centred)))
    half = t_quantile(0.5 + LEVEL / 2, degrees) * error
    return Estimate(len(values), change, error, change - half, change + half)


def fitted(
    here: Mapping[str, Mapping[tuple[str, str], Mapping[int, float]]], cell: tuple[str, str]
) -> additive.Additive:
    """The additive model of arms and seeds."""
    return additive.fit({arm: cells[cell] for arm, cells in here.items()})


def points(difference: Difference | Estimate) -> str:
    """A difference of shares in points, with its interval."""
    mean, low, high = (100 * each for each in (difference.mean, difference.low, difference.high))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def around(level: Estimate) -> str:
    """A level with its interval."""
    return f"{level.mean:.1f} ({level.low:.1f} to {level.high:.1f})"


def row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
