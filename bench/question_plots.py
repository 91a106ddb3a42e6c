"""The plots of the question on `shapes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench import drawing
from bench.question_tables import ARMS, BASE, HEADLINE, LEVEL, OVER_WORLDS, SHARE, Scores, fitted, world

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "clip": "#7d8896", "cyclip": "#9a62c7", "rankclip": "#2f7de1", "rankclip_shuffled": "#d98324",
    "clip_alpha_replay": "#1b2027", "rankclip_released": "#c4526b", "rankclip_options": "#3aa0c9",
    "rankclip_strong": "#124f9e", "rankclip_shuffled_tuned": "#8f4d08", "rankclip_oracle": "#2a9d8f",
}  # fmt: skip


def draw(found: Scores, folder: Path) -> None:
    """Draws `arms.png` and `ambiguity.png`, as far as their runs are there."""
    if (SHARE, BASE) in found:
        with drawing.style():
            figure = drawing.figure(9.6, 3.6)
            levels, alphas = figure.subplots(1, 2, width_ratios=[3, 2])
            _differences(levels, found)
            _alphas(alphas, found)
            figure.savefig(folder / "arms.png")
    if len({share for share, _ in found}) > 1:
        with drawing.style():
            figure = drawing.figure(6.4, 3.6)
            _over_worlds(figure.subplots(), found)
            figure.savefig(folder / "ambiguity.png")


def _differences(axes: Axes, found: Scores) -> None:
    """Every arm minus the tuned CLIP: the mean with its interval, and each seed."""
    here = {arm: found[SHARE, arm] for arm in ARMS if (SHARE, arm) in found}
    model, base = fitted(here, HEADLINE), here[BASE][HEADLINE]
    names = [arm for arm in here if arm != BASE]
    for place, arm in enumerate(reversed(names)):
        difference = model.difference(arm, BASE, LEVEL)
        ends = [100 * (difference.mean - difference.low)], [100 * (difference.high - difference.mean)]
        axes.errorbar([100 * difference.mean], [place], xerr=ends, fmt="o", color=COLOURS[arm], capsize=3)
        own = [100 * (value - base[seed]) for seed, value in here[arm][HEADLINE].items()]
        axes.plot(own, [place - 0.22] * len(own), "|", color=COLOURS[arm], alpha=0.6)
    axes.axvline(0, color="#1b2027", linewidth=0.8)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_title("mean top-1 minus the tuned CLIP, points (95 % and seeds)")


def _alphas(axes: Axes, found: Scores) -> None:
    """Top-1 against the alpha at which a run ended."""
    for arm in ARMS:
        if (SHARE, arm) in found:
            cells = found[SHARE, arm]
            seeds = list(cells[HEADLINE])
            axes.plot(
                [cells["run", "alpha"][seed] for seed in seeds],
                [100 * cells[HEADLINE][seed] for seed in seeds],
                "o", color=COLOURS[arm], label=arm, markersize=3.5,
            )  # fmt: skip
    axes.set_xlabel("alpha at the end")
    axes.set_title("mean top-1, %, each run")
    axes.legend(fontsize=6.5)


def _over_worlds(axes: Axes, found: Scores) -> None:
    """Differences over the share of vague captions."""
    shares = sorted({share for share, _ in found})
    for place, (arm, other) in enumerate(OVER_WORLDS):
        each = [fitted(world(found, share), HEADLINE).difference(arm, other, LEVEL) for share in shares]
        axes.errorbar(
            [share + 0.006 * (place - 1) for share in shares],
            [100 * one.mean for one in each],
            yerr=[[100 * abs(getattr(one, end) - one.mean) for one in each] for end in ("low", "high")],
            fmt="o-", capsize=3, markersize=4, label=f"{arm} - {other}",
        )  # fmt: skip
    axes.axhline(0, color="#1b2027", linewidth=0.8)
    axes.set_xlabel("share of vague captions")
    axes.set_title("difference in mean top-1, points (95 %)")
    axes.legend(fontsize=8)
