"""Weights of runs as models that MLflow lists: linked, never copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rankclip.tracking.run import RunLog
from rankclip.tracking.tracker import Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

WEIGHTS_TAG = "rankclip.weights"
"""Tag of a model and of its versions: where its weights are."""


@dataclass(frozen=True)
class Weights:
    """The weights of a run."""

    run: RunLog
    name: str
    """What MLflow calls the model."""
    address: str
    """Of the file, as "file:///..."."""
    params: Mapping[str, str]


def link(tracker: Tracker, weights: Weights) -> LoggedModel | None:
    """Has MLflow list weights as a model of their run, once; None while it cannot be reached."""

    def find_or_make(client: MlflowClient, experiment: str) -> LoggedModel:
        from mlflow.entities import LoggedModelOutput

        known = client.search_logged_models([experiment], f"tags.`{WEIGHTS_TAG}` = '{weights.address}'")
        of_run = [model for model in known if model.source_run_id == weights.run.run_id]
        if of_run:
            return of_run[0]
        made = client.create_logged_model(
            experiment,
            name=weights.name,
            source_run_id=weights.run.run_id,
            tags={WEIGHTS_TAG: weights.address, "mlflow.model.isExternal": "true"},
            params=dict(weights.params),
        )
        client.log_outputs(weights.run.run_id, [LoggedModelOutput(made.model_id, 0)])
        return client.finalize_logged_model(made.model_id, "READY")

    return tracker.attempt(find_or_make) if weights.run.open() else None


def name_winner(tracker: Tracker, name: str, weights: Weights, aliases: list[str], text: str) -> None:
    """Registers weights as a version of the model `name`, once, and gives it aliases, which others lose.

    Args:
        tracker: where.
        name: of the registered model.
        weights: what is registered.
        aliases: as "winner".
        text: what the version's page says of it.
    """
    model = link(tracker, weights)

    if model is None:
        return

    def register(client: MlflowClient, _: str) -> None:
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        known = client.search_model_versions(f"name = '{name}'")
        version = next((one for one in known if one.tags.get(WEIGHTS_TAG) == weights.address), None)
        if version is None:
            version = client.create_model_version(
                name,
                source=model.artifact_location,  # "models:/<id>" is looked up where MLflow is by default
                run_id=weights.run.run_id,
                tags={WEIGHTS_TAG: weights.address},
                description=text,
                model_id=model.model_id,
            )
        for alias in aliases:
            client.set_registered_model_alias(name, alias, version.version)

    tracker.attempt(register)
