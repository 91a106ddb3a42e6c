"""A view of an experiment as MLflow's pages store one that is shared: columns, order and charts.

The form is that of MLflow 3.13 to 3.17, which say it nowhere but in their pages' code; a page that does not
know it any more shows its own columns and charts.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 165
"""Pixels of a metric's column, whose names are long."""

COMPARISON = "comparison"
"""Name of the view that an experiment is opened with."""

VIEW_TAG = "mlflow.sharedViewState."
"""Tag of an experiment that keeps a view, its name last."""

Chart = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """Charts under a heading."""

    heading: str
    charts: Sequence[Chart]
    columns: int
    """Charts side by side, at most 5."""
    height: int
    """Of a chart in pixels, from 300 to 500."""


def param(name: str) -> str:
    """A column of a parameter."""
    return f"params.`{name}`"


def metric(name: str) -> str:
    """A column of a metric."""
    return f"metrics.`{name}`"


def tag(name: str) -> str:
    """A column of a tag."""
    return f"tags.`{name}`"


def axis(column: str) -> Mapping[str, str]:
    """A column as the axis of a chart."""
    kind, name = column.split(".", 1)
    return {"key": name.strip("`"), "type": {"params": "PARAM", "metrics": "METRIC"}[kind]}


def bar(name: str) -> Chart:
    """Bars of a metric, one for each run or group that has it."""
    return {"type": "BAR", "displayName": name, "metricKey": name, "runsCountToCompare": 30}


def line(name: str) -> Chart:
    """Curves of a metric over steps."""
    return {
        "type": "LINE", "displayName": name, "metricKey": name, "selectedMetricKeys": [name],
        "runsCountToCompare": 100, "lineSmoothness": 0, "xAxisScaleType": "linear", "scaleType": "linear",
        "range": {}, "xAxisKey": "step", "selectedXAxisMetricKey": "", "yAxisKey": "metric",
        "yAxisExpressions": [], "ignoreOutliers": False, "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }  # fmt: skip


def parallel(title: str, params: Sequence[str], metrics: Sequence[str]) -> Chart:
    """Parallel coordinates of the runs that have all of these; the last metric colours them."""
    return {
        "type": "PARALLEL", "displayName": title, "selectedParams": list(params),
        "selectedMetrics": list(metrics), "showAllRuns": True, "runsCountToCompare": 100,
    }  # fmt: skip


def scatter(x: str, y: str) -> Chart:
    """A point for each run; of two columns."""
    return {
        "type": "SCATTER", "xaxis": axis(x), "yaxis": axis(y),
        "runsCountToCompare": 100,
    }  # fmt: skip


def contour(x: str, y: str, z: str) -> Chart:
    """A third column over two others."""
    return {
        "type": "CONTOUR", "xaxis": axis(x), "yaxis": axis(y), "zaxis": axis(z),
        "runsCountToCompare": 100,
    }  # fmt: skip


def shared(
    columns: Sequence[str],
    order: str,
    descending: bool,
    sections: Sequence[Section],
    where: str = "",
    folded: Sequence[str] = (),
    group_by: str = "",
) -> str:
    """The text of a view, as the tag holds it.

    Args:
        columns: of the table, from the left.
        order: column by which runs are sorted.
        descending: largest first.
        sections: of charts; what MLflow draws by itself comes after them.
        where: which runs, in MLflow's language.
        folded: headings of MLflow's own sections that stay closed.
        group_by: parameter over whose values runs are averaged.
    """
    charts: list[Chart] = []
    headings: list[Mapping[str, Any]] = []
    for number, section in enumerate(sections):
        place = f"section-{number}"
        size = {"columns": section.columns, "cardHeight": section.height}
        headings.append({**_heading(place, section.heading, opened=True), **size})
        charts += [
            {"uuid": f"chart-{number}-{at}", "metricSectionId": place, "deleted": False,
             "isGenerated": False, **chart}
            for at, chart in enumerate(section.charts)
        ]  # fmt: skip
    headings += [_heading(f"folded-{at}", heading, opened=False) for at, heading in enumerate(folded)]
    by = {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": group_by}]}
    state = {
        "searchFilter": where, "orderByKey": order, "orderByAsc": not descending, "startTime": "ALL",
        "lifecycleFilter": "Active", "modelVersionFilter": "All Runs", "datasetsFilter": [],
        "selectedColumns": list(columns), "columnOrder": list(columns),
        "columnWidths": {name: WIDTH for name in columns if name.startswith("metrics.")},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts, "compareRunSections": headings, "isAccordionReordered": True,
        "hideEmptyCharts": True, "groupBy": by if group_by else None, "useGroupedValuesInCharts": True,
    }  # fmt: skip
    content = zlib.compress(json.dumps(state).encode(), 9)
    return f"deflate;{base64.b64encode(content).decode()}"


def of_study(primary: str) -> str:
    """The view of a study: its arms, each averaged over its seeds.

    Args:
        primary: metric by which arms are sorted, the largest first.
    """
    followed = "val/mean_top1"
    return shared(
        columns=[param("arm"), param("seed"), metric(primary), metric(followed), tag("git_commit")],
        order=metric(primary),
        descending=True,
        sections=[Section("Mean over an arm's seeds", [bar(primary), line(followed), line("loss")], 3, 360)],
        folded=["Model metrics", "val"],
        group_by="arm",
    )


def _heading(place: str, heading: str, opened: bool) -> Mapping[str, Any]:
    return {
        "uuid": place, "name": heading, "display": opened, "isReordered": True, "deleted": False,
        "isGenerated": False,
    }  # fmt: skip
