"""The plots, as SVG to be placed inside an HTML page: the only module that touches matplotlib.

Text stays text and takes the page's font; ink and grid take the page's colours, so that one drawing serves
light and dark. Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rankclip.report import labels
from rankclip.report.ablation import MEAN, Row
from rankclip.report.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID = "#010203", "#040506"  # stand-ins, replaced by the page's own colours
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of arms may hold dollar signs
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def curves(runs: Sequence[Run], colours: Mapping[str, str]) -> str:
    """Loss, logit scale and mean validation top-1 over steps: thin lines for seeds, thick ones for means."""
    panels = (
        ("loss", "training loss, nats (more terms, more loss)", 1.0),
        ("logit_scale", "logit scale", 1.0),
        ("val_mean_top1", "mean validation top-1, %", 100.0),
    )
    with _style("curves"):
        figure = _figure(10.4, 3.1)
        for axes, (field, title, factor) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            for arm, colour in colours.items():
                lines = [_line(run, field, factor) for run in runs if run.arm == arm]
                for steps, values in lines:
                    axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.35 if len(lines) > 1 else 1)
                axes.plot(*_mean_line(lines), color=colour, linewidth=1.9)
            axes.set_title(title)
            axes.set_xlabel("step")
            axes.locator_params(nbins=5)
        return _svg(figure, "curves")


def forest(table: Sequence[Row], baseline: str, colours: Mapping[str, str]) -> str:
    """Paired differences to the baseline with their intervals, one row a benchmark, one mark an arm."""
    arms = [arm for arm in colours if arm != baseline]
    places = list(dict.fromkeys((row.benchmark, row.metric) for row in table))
    with _style("forest"):
        figure = _figure(10.4, 1.1 + len(places) * (0.16 + 0.13 * max(1, len(arms))))
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
        return _svg(figure, "forest")


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


def _style(name: str) -> Any:
    from matplotlib import style

    return style.context({**STYLE, "svg.hashsalt": name})


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawing = buffer.getvalue()
    start, end = drawing.index("<svg "), drawing.index(">", drawing.index("<svg "))
    opening = re.sub(r' (width|height|xmlns|xmlns:xlink)="[^"]*"', "", drawing[start:end])
    drawing = opening + drawing[end:]
    drawing = re.sub(r"<(metadata|style)\b.*?</\1>", "", drawing, flags=re.DOTALL)
    # several drawings share a page, so each keeps its identifiers to itself
    drawing = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{name}-", drawing)
    return drawing.replace(INK, "var(--ink)").replace(GRID, "var(--grid)")
