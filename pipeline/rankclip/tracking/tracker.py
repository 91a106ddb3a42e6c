"""The experiment of a study, or of one of its sweeps."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rankclip import lifecycle
from rankclip.files import one_line
from rankclip.tracking import database, view
from rankclip.tracking.lines import flatten
from rankclip.tracking.place import artifacts, uri
from rankclip.tracking.run import KEY_TAG, RunLog

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

RETRY_S = 60.0
"""Seconds after a failure before MLflow is asked again."""


def ping(root: Path) -> None:
    """Asks the tracker for one experiment; raises whatever MLflow raises when it cannot be reached."""
    client_of(root).search_experiments(max_results=1)


def client_of(root: Path) -> MlflowClient:
    """Where results are tracked, which is not asked yet."""
    lifecycle.quiet()
    # MLflow's 7 retries of 2 minutes would hold a training up.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else at the end of every run
    address = database.ready(root)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=address)


KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""Has MLflow's pages take an experiment for one of training, where they would ask or guess."""


def experiment_name(study: str, sweep: str = "") -> str:
    """What MLflow calls a study, `rankclip/<study>`, or a sweep of it, `rankclip/<study>/<sweep>`."""
    return f"rankclip/{study}/{sweep}" if sweep else f"rankclip/{study}"


class Tracker:
    """The experiment of a study or of a sweep."""

    def __init__(
        self,
        root: Path,
        study: str,
        primary_metric: str = "final/mean/top1",
        sweep: str = "",
        greater_is_better: bool = True,
    ) -> None:
        """Nothing is opened before the first run needs it.

        Args:
            root: the repository's folder.
            study: name of the study.
            primary_metric: metric by which MLflow sorts.
            sweep: name of the sweep, if it is one's.
            greater_is_better: of the primary metric.
        """
        self.root, self.study, self.sweep = root, study, sweep
        self.tags = {"rankclip.study": study, KIND_TAG: KIND}
        if primary_metric:
            self.tags["mlflow.experiment.primaryMetric.name"] = primary_metric
            self.tags["mlflow.experiment.primaryMetric.greaterIsBetter"] = str(greater_is_better)
            if not sweep:
                self.tags[f"{view.VIEW_TAG}{view.COMPARISON}"] = view.of_study(primary_metric)
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._silent_until = 0.0
        self._warned = False

    def open_run(
        self,
        name: str,
        key: str,
        folder: Path,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        data_digest: str = "",
        parent: RunLog | None = None,
        resume: bool = True,
    ) -> RunLog:
        """The run with this `key`, resumed if the experiment has it and else made.

        Args:
            name: short and unique, as "rankclip seed 1".
            key: digest that tells this run from all others.
            folder: work folder of the run; `mlflow.json` there remembers what has been sent.
            params: nested settings; sent flat, as "train.lr".
            tags: texts, as "arm", "git_commit".
            data_digest: digest of the training data; shown as the run's data set and as a tag.
            parent: the run below which this one is shown; one level is all that MLflow shows.
            resume: whether a run that had ended without finishing goes on, as far as MLflow tells.
        """
        every = {"arm": "", **(tags or {}), KEY_TAG: key}
        if data_digest:
            every["data_digest"] = data_digest
        told = {tag: text for tag, text in every.items() if text}
        run = RunLog(self.attempt, name, folder, flatten(params or {}), told, parent, resume)
        run.open()
        return run

    def tell(self, tags: Mapping[str, str]) -> None:
        """Sets those tags of the experiment that have changed since they were set here."""
        news = {name: text for name, text in tags.items() if self.tags.get(name) != text}

        def send(client: MlflowClient, experiment: str) -> None:
            for name, text in news.items():
                client.set_experiment_tag(experiment, name, text)
            self.tags |= news

        if news:
            self.attempt(send)

    def attempt(self, action: Callable[[MlflowClient, str], Result]) -> Result | None:
        """`action(client, experiment id)`, or None while MLflow cannot be reached (said once)."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            if self._client is None:
                self._client, self._experiment = self._connect()
            return action(self._client, self._experiment)
        except Exception as error:  # whatever a server, a database or a network may raise
            self._silent_until = time.monotonic() + RETRY_S
            if not self._warned:
                self._warned = True
                logger.warning(
                    "MLflow at %s does not take the results (%s); they are in files and can be sent later",
                    uri(self.root),
                    one_line(error),
                )
            return None

    def _connect(self) -> tuple[MlflowClient, str]:
        client = client_of(self.root)
        name = experiment_name(self.study, self.sweep)
        found = client.get_experiment_by_name(name)
        if found is None:
            ours = uri(self.root).startswith("sqlite:")
            store = (artifacts(self.root) / self.study / self.sweep).as_uri() if ours else None
            return client, client.create_experiment(name, artifact_location=store, tags=self.tags)
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        for tag, value in self.tags.items():
            if found.tags.get(tag) != value:
                client.set_experiment_tag(found.experiment_id, tag, value)
        return client, found.experiment_id
