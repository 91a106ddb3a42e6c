"""The experiment of a study."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rankclip import lifecycle
from rankclip.files import one_line
from rankclip.tracking import database
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
    _client(root).search_experiments(max_results=1)


def _client(root: Path) -> MlflowClient:
    lifecycle.quiet()
    # MLflow's 7 retries of 2 minutes would hold a training up.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    address = database.ready(root)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=address)


class Tracker:
    """The experiment `rankclip/<study>`."""

    def __init__(self, root: Path, study: str, primary_metric: str = "final/mean/top1") -> None:
        """Nothing is opened before the first run needs it.

        Args:
            root: the repository's folder.
            study: its name ends the experiment's name.
            primary_metric: metric by which MLflow sorts; greater is better.
        """
        self.root, self.study = root, study
        self.tags = {"rankclip.study": study}
        if primary_metric:
            self.tags["mlflow.experiment.primaryMetric.name"] = primary_metric
            self.tags["mlflow.experiment.primaryMetric.greaterIsBetter"] = "True"
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
    ) -> RunLog:
        """The run with this `key`, resumed if the experiment has it and else made.

        Args:
            name: short and unique, as "rankclip seed 1".
            key: digest that tells this run from all others.
            folder: work folder of the run; `mlflow.json` there remembers what has been sent.
            params: nested settings; sent flat, as "train.lr".
            tags: texts, as "arm", "git_commit".
            data_digest: digest of the training data; shown as the run's data set and as a tag.
        """
        every = {"arm": "", **(tags or {}), KEY_TAG: key}
        if data_digest:
            every["data_digest"] = data_digest
        run = RunLog(self.attempt, name, folder, flatten(params or {}), {k: v for k, v in every.items() if v})
        run.open()
        return run

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
        client = _client(self.root)
        name = f"rankclip/{self.study}"
        found = client.get_experiment_by_name(name)
        if found is None:
            ours = uri(self.root).startswith("sqlite:")
            store = (artifacts(self.root) / self.study).as_uri() if ours else None
            return client, client.create_experiment(name, artifact_location=store, tags=self.tags)
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        for tag, value in self.tags.items():
            if found.tags.get(tag) != value:
                client.set_experiment_tag(found.experiment_id, tag, value)
        return client, found.experiment_id
