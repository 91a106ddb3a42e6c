"""Where MLflow's pages show an experiment."""

from __future__ import annotations

from pathlib import Path

from rankclip.tracking.tracker import client_of
from rankclip.tracking.view import COMPARISON, VIEW_TAG


def page(root: Path, experiment: str, view: str = COMPARISON, charts: bool = True) -> str:
    """What follows the address of MLflow's server to open an experiment as a comparison of its runs.

    Args:
        root: the repository's folder.
        experiment: its name, as `experiment_name` gives it.
        view: name of a view that the experiment has; without it MLflow's own is shown.
        charts: the charts, else the table.

    Returns:
        As "/#/experiments/1/runs?...", or "" where there is no such experiment.

    Raises:
        Exception: whatever MLflow raises when it cannot be reached.
    """
    found = client_of(root).get_experiment_by_name(experiment)
    if found is None:
        return ""
    return path(found.experiment_id, view if f"{VIEW_TAG}{view}" in found.tags else "", charts)


def path(experiment_id: str, view: str = "", charts: bool = True) -> str:
    """As `page`, of the experiment with this id."""
    mode = "CHART" if charts else "TABLE"
    shown = f"&viewStateShareKey={view}" if view else ""
    # without the first, MLflow's pages open what was opened last, at first that of generative AI
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning&compareRunsMode={mode}{shown}"
