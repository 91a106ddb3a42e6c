"""The plots of a sweep."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rankclip.report import drawing
from rankclip.report.drawing import GRID, INK, PAPER
from rankclip.sweep import standing
from rankclip.sweep.ledger import Trial
from rankclip.sweep.shown import places, words
from rankclip.sweep.shown.answers import Answer
from rankclip.sweep.shown.places import NOT_SEARCHED
from rankclip.sweep.shown.shades import Shades
from rankclip.sweep.space import Distribution
from rankclip.sweep.spec import Aim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

Space = Mapping[str, Distribution]
NEAR = 0.15
"""Width of the Gaussian over which the shading averages, as a share of a key's range."""

WON = "#e4572e"


def parallel(answer: Answer, space: Space, aim: Aim) -> str:
    """A line a trial over the searched keys; finished ones go on to what they read, coloured by it."""
    name, names = f"parallel-{answer.arm}", words.short(list(space))
    finished = [trial for trial in answer.trials if trial.state == "finished"]
    read = {trial.number: value for trial in finished if (value := trial.last(aim.metric)) is not None}
    scale = Shades(list(read.values()), aim)
    with drawing.style(name):
        figure = drawing.figure(10.4, 3.6)
        axes = figure.subplots()
        order = sorted(answer.trials, key=lambda trial: scale.place(read.get(trial.number)))
        for trial in order:
            line = [_nudged(its, trial, key) for key, its in space.items()]
            if trial.number in read:
                line.append(scale.place(read[trial.number]))
                won = answer.winner is not None and trial.short == answer.winner.name
                colour, width = (WON, 2.6) if won else (scale.colour(read[trial.number]), 1.5)
                axes.plot(line, color=colour, linewidth=width, zorder=3 if won else 2)
            else:
                axes.plot(line, color=INK, linewidth=0.8, alpha=0.22)
        for at, its in enumerate(space.values()):
            unsearched = [(NOT_SEARCHED, "not searched")] if its.when else []
            _axis(axes, at, [*places.ticks(its), *unsearched])
        ticks = [(scale.place(value), words.level(aim, value)) for value in scale.ticks]
        _axis(axes, len(space), ticks)
        titles = [*(names[key] for key in space), f"{words.metric(aim)}, {words.unit(aim)}".rstrip(", ")]
        axes.set_xticks(range(len(titles)), [_folded(title) for title in titles])
        axes.set_yticks([])
        axes.set_ylim(NOT_SEARCHED - 0.05, 1.06)
        axes.set_xlim(-0.15, len(space) + 0.35)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        return drawing.svg(figure, name)


def _axis(axes: Axes, at: int, ticks: Sequence[tuple[float, str]]) -> None:
    axes.axvline(at, color=GRID, linewidth=1.2)
    for place, told in ticks:
        axes.plot([at], [place], "_", color=INK, markersize=6)
        behind = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1.0}
        axes.text(at + 0.03, place, told, va="center", fontsize=9, zorder=5, bbox=behind)


def _folded(title: str) -> str:
    return title.replace(".", ".\n") if len(title) > 16 and " " not in title else title.replace(", ", ",\n")


def _nudged(its: Distribution, trial: Trial, key: str) -> float:
    """A value's place; equal choices a little apart, so that each trial is seen."""
    if key not in trial.values:
        return NOT_SEARCHED
    apart = (trial.number * 0.618 % 1.0 - 0.5) * 0.08 if its.name == "choice" else 0.0
    return places.place(its, trial.values[key]) + apart


def landscape(answer: Answer, keys: Sequence[str], space: Space, aim: Aim, rung: int) -> str:
    """What trials read at a rung over two keys: dots, and between them what is near, averaged.

    Empty where no trial has both keys.
    """
    name, names = f"landscape-{answer.arm}", words.short(list(space))
    read = [(trial, value) for trial, value in standing.common(answer.trials, aim)[1]
            if all(key in trial.values for key in keys)]  # fmt: skip
    if not read:
        return ""
    spots = np.array([[_nudged(space[key], trial, key) for key in keys] for trial, _ in read])
    values = np.array([value for _, value in read])
    scale = Shades(list(values), aim)
    with drawing.style(name):
        figure = drawing.figure(6.4, 4.4)
        axes = figure.subplots()
        if not any(space[key].name == "choice" for key in keys):
            _shade(axes, spots, values, scale)
        for (trial, value), spot in zip(read, spots, strict=True):
            won = answer.winner is not None and trial.short == answer.winner.name
            edge, marker = (WON, "D") if won else (INK, "o" if trial.state == "finished" else "v")
            axes.plot(*spot, marker, color=scale.colour(value), markeredgecolor=edge,
                      markeredgewidth=2.0 if won else 0.8, markersize=9 if won else 7)  # fmt: skip
        for key, which in zip(keys, (axes.xaxis, axes.yaxis), strict=True):
            ticks = places.ticks(space[key])
            which.set_ticks([at for at, _ in ticks], [told for _, told in ticks])
            which.set_label_text(names[key])
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.04, 1.04)
        axes.set_title(f"{words.metric(aim)} at step {rung:,}")
        scale.bar(figure, axes, aim)
        return drawing.svg(figure, name)


def _shade(axes: Axes, spots: NDArray[np.float64], values: NDArray[np.float64], scale: Shades) -> None:
    """Levels of the mean of what is near, by a Gaussian of width `NEAR` (Nadaraya and Watson)."""
    line = np.linspace(-0.03, 1.03, 60)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    near = np.exp(-((grid[:, :, None] - spots) ** 2).sum(-1) / (2 * NEAR**2))
    smooth = (near @ values) / np.maximum(near.sum(-1), 1e-12)
    if np.ptp(smooth) > 0:
        levels = np.linspace(scale.low, scale.high, 11)
        axes.contourf(line, line, smooth, levels, cmap=scale.colours, alpha=0.55, extend="both")


def cost(answers: Sequence[Answer], aim: Aim, colours: Mapping[str, str]) -> str:
    """The best finished trial so far over the steps that were spent on it and all before it."""
    with drawing.style("cost"):
        figure = drawing.figure(10.4, 3.1)
        axes = figure.subplots()
        factor = 100.0 if words.is_share(aim) else 1.0
        for answer in answers:
            spent = list(itertools.accumulate(map(standing.step, answer.trials)))
            read = [
                (steps, factor * value)
                for steps, trial in zip(spent, answer.trials, strict=True)
                if trial.state == "finished" and (value := trial.last(aim.metric)) is not None
            ]
            if read:
                colour, best = colours[answer.arm], max if aim.mode == "max" else min
                at, values = [steps for steps, _ in read], [value for _, value in read]
                axes.plot(at, values, "o", color=colour, markersize=4, alpha=0.45)
                so_far = list(itertools.accumulate(values, best))
                axes.step([*at, spent[-1]], [*so_far, so_far[-1]], where="post", color=colour, linewidth=1.9)
        axes.set_xlabel("steps trained, all trials together, in the order of their numbers")
        axes.set_ylabel(f"{words.metric(aim)}, {words.unit(aim)}".rstrip(", "))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        return drawing.svg(figure, "cost")


def front(answers: Sequence[Answer], aims: Sequence[Aim], colours: Mapping[str, str]) -> str:
    """Finished trials by the first two aims; those that none other beats in all aims are joined."""
    with drawing.style("front"):
        figure = drawing.figure(7.4, 4.0)
        axes = figure.subplots()
        factors = [100.0 if words.is_share(aim) else 1.0 for aim in aims[:2]]
        for answer in answers:
            kept = standing.front(answer.trials, aims)
            for trial in answer.trials:
                if trial.state == "finished":
                    spot = _spot(trial, aims, factors)
                    axes.plot(*spot, "o", color=colours[answer.arm], alpha=1.0 if trial in kept else 0.3)
            line = sorted(_spot(trial, aims, factors) for trial in kept)
            if line:
                axes.plot(*zip(*line, strict=True), color=colours[answer.arm], linewidth=1.4)
        named = [f"{words.metric(aim)}, {words.unit(aim)}".rstrip(", ") for aim in aims[:2]]
        better = ["more is better" if aim.mode == "max" else "less is better" for aim in aims[:2]]
        axes.set_xlabel(f"{named[0]} ({better[0]})")
        axes.set_ylabel(f"{named[1]} ({better[1]})")
        return drawing.svg(figure, "front")


def _spot(trial: Trial, aims: Sequence[Aim], factors: Sequence[float]) -> tuple[float, ...]:
    return tuple(
        factor * (trial.last(aim.metric) or 0.0) for aim, factor in zip(aims[:2], factors, strict=True)
    )
