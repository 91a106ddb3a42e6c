"""The plots of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rankclip.report import drawing, labels
from rankclip.report.ablation import MEAN, Row
from rankclip.report.drawing import GRID, INK
from rankclip.report.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curves(runs: Sequence[Run], colours: Mapping[str, str]) -> str:
    """Loss, logit scale and mean validation top-1 over steps: thin lines for seeds, thick ones for means."""
    panels = (
        ("loss", "training loss, nats (more terms, more loss)", 1.0),
        ("logit_scale", "logit scale", 1.0),
        ("val_mean_top1", "mean validation top-1, %", 100.0),
    )
    with drawing.style("curves"):
        figure = drawing.figure(10.4, 3.1)
        for axes, (field, title, factor) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            for arm, colour in colours.items():
                lines = [_line(run, field, factor) for run in runs if run.arm == arm]
                for steps, values in lines:
                    axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.35 if len(lines) > 1 else 1)
                axes.plot(*_mean_line(lines), color=colour, linewidth=1.9)
            axes.set_title(title)
            axes.set_xlabel("step")
            axes.locator_params(nbins=5)
        return drawing.svg(figure, "curves")


def forest(table: Sequence[Row], baseline: str, colours: Mapping[str, str]) -> str:
    """Paired differences to the baseline with their intervals, one row a benchmark, one mark an arm."""
    arms = [arm for arm in colours if arm != baseline]
    places = list(dict.fromkeys((row.benchmark, row.metric) for row in table))
    with drawing.style("forest"):
        figure = drawing.figure(10.4, 1.1 + len(places) * (0.16 + 0.13 * max(1, len(arms))))
        axes = figure.subplots()
        for row in table:
            if row.arm in arms and row.difference.n:
                place = places.index((row.benchmark, row.metric))
                _mark(axes, row, _offset(place, arms.index(row.arm), len(arms)), colours[row.arm])
        axes.axvline(0.0, color=INK, linewidth=1.0)
        axes.set_yticks(range(len(places)), [_place(*place) for place in places])
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        if places and places[0][0] == MEAN:
            axes.axhline(0.5, color=GRID, linewidth=1.2)
        axes.set_xlabel(f"minus {labels.arm(baseline)}, points: more is better")
        return drawing.svg(figure, "forest")


def _mark(axes: Axes, row: Row, y: float, colour: str) -> None:
    difference = row.difference
    if difference.has_interval:
        axes.plot(
            [100 * difference.low, 100 * difference.high],
            [y, y],
            color=colour,
            linewidth=2.0,
            solid_capstyle="butt",
        )
    filled = "D" if row.benchmark == MEAN else "o"
    axes.plot([100 * difference.mean], [y], filled, color=colour, markersize=5.5)


def _offset(place: int, index: int, arms: int) -> float:
    return place + (index - (arms - 1) / 2) * min(0.24, 0.7 / max(1, arms))


def _place(benchmark: str, metric: str) -> str:
    if metric == "top1":
        return labels.plain(benchmark)
    return f"{labels.plain(benchmark)}: {labels.plain(labels.metric(metric))}"


def _line(run: Run, field: str, factor: float) -> tuple[list[int], list[float]]:
    points = [(point.step, getattr(point, field)) for point in run.points]
    known = [(step, factor * value) for step, value in points if value is not None]
    return [step for step, _ in known], [value for _, value in known]


def _mean_line(lines: Sequence[tuple[list[int], list[float]]]) -> tuple[list[int], list[float]]:
    """Mean over seeds at the steps that all of them logged."""
    by_seed = [dict(zip(steps, values, strict=True)) for steps, values in lines]
    common = sorted(set.intersection(*(set(each) for each in by_seed))) if by_seed else []
    return common, [math.fsum(each[step] for each in by_seed) / len(by_seed) for step in common]
