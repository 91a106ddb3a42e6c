"""One run in MLflow."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankclip.files import read_json, write_json
from rankclip.tracking.lines import chunks, points, unsent

if TYPE_CHECKING:
    from mlflow import MlflowClient

Attempt = Callable[[Callable[["MlflowClient", str], Any]], Any]

BATCH = 1000
"""Metrics in one request; MLflow's limit."""
PARAMS_BATCH = 100
"""Parameters or tags in one request; MLflow's limit."""
KEY_TAG = "rankclip.key"
"""Tag by which a run is found again."""


class RunLog:
    """One run in MLflow; every method may be called again and sends only what is missing."""

    def __init__(
        self, attempt: Attempt, name: str, folder: Path, params: dict[str, str], tags: dict[str, str]
    ) -> None:
        """Use `Tracker.open_run`."""
        self._attempt, self._name, self._params, self._tags = attempt, name, params, tags
        self._memory = folder / "mlflow.json"
        self._run = ""
        self._status = ""
        self._start_ms = 0

    def open(self) -> bool:
        """Finds or makes the run; False while MLflow cannot be reached."""
        return bool(self._run) or bool(self._attempt(self._find_or_make))

    def follow(self, metrics: Path) -> None:
        """Sends the complete lines of a metrics.jsonl that have not been sent.

        Each line is a JSON object with "step"; its other numbers become metrics. What is not finite is left
        out of the curves and named in the tag `rankclip.not_finite`.
        """
        if not metrics.exists() or not self.open():
            return
        memory = self._recall()
        lines, memory = unsent(metrics, memory)
        if not lines:
            return
        found, strange = points(lines, self._start_ms)

        def send(client: MlflowClient, _: str) -> bool:
            self._resume(client)
            for batch in chunks(found, BATCH):
                client.log_batch(self._run, metrics=batch)
            if strange:
                client.set_tag(self._run, "rankclip.not_finite", strange)
            return True

        if self._attempt(send):
            write_json(self._memory, memory)

    def log_final(self, values: Mapping[str, Mapping[str, float]]) -> None:
        """Sends `{benchmark: {metric: value}}` as "final/<benchmark>/<metric>", which tables compare."""
        if not self.open():
            return
        flat = {
            f"final/{name}/{metric}": float(x)
            for name, found in values.items()
            for metric, x in found.items()
        }

        def send(client: MlflowClient, _: str) -> None:
            from mlflow.entities import Metric

            known = client.get_run(self._run).data.metrics
            now_ms = int(time.time() * 1000)
            news = [
                Metric(name, value, now_ms, 0)
                for name, value in flat.items()
                if math.isfinite(value) and known.get(name) != value
            ]
            if news:
                self._resume(client)
            for batch in chunks(news, BATCH):
                client.log_batch(self._run, metrics=batch)

        self._attempt(send)

    def finish(self, status: str = "FINISHED") -> None:
        """Ends the run as "FINISHED", "FAILED" or "KILLED"; its end stays where it was if nothing was new."""

        def end(client: MlflowClient, _: str) -> None:
            client.set_terminated(self._run, status)
            self._status = status

        if self.open() and self._status != status:
            self._attempt(end)

    def _find_or_make(self, client: MlflowClient, experiment: str) -> bool:
        found = client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{self._tags[KEY_TAG]}'", max_results=1)
        run = found[0] if found else client.create_run(experiment, tags=self._tags, run_name=self._name)
        _describe(client, run, self._params, self._tags)
        self._run, self._start_ms, self._status = run.info.run_id, run.info.start_time, run.info.status
        if self._status != "FINISHED":
            self._resume(client)
        return True

    def _resume(self, client: MlflowClient) -> None:
        """Marks a run that had ended as running, since there is something new of it."""
        if self._status != "RUNNING":
            client.update_run(self._run, status="RUNNING")
            self._status = "RUNNING"

    def _recall(self) -> dict[str, Any]:
        fresh = {"run": self._run, "offset": 0, "step": -1, "last": ""}
        if not self._memory.exists():
            return fresh
        memory: dict[str, Any] = read_json(self._memory)
        return memory if memory.get("run") == self._run else fresh  # another database knows nothing yet


def _describe(client: MlflowClient, run: Any, params: dict[str, str], tags: dict[str, str]) -> None:
    """Sends parameters, tags and data set where the run lacks them; parameters can never be changed."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

    missing = [Param(name, value) for name, value in params.items() if name not in run.data.params]
    for batch in chunks(missing, PARAMS_BATCH):
        client.log_batch(run.info.run_id, params=batch)
    changed = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
    client.log_batch(run.info.run_id, tags=changed)
    digest = tags.get("data_digest")
    if digest and not run.inputs.dataset_inputs:
        data = Dataset(
            name="train", digest=digest[:36], source_type="local", source=json.dumps({"digest": digest})
        )
        tag = InputTag("mlflow.data.context", "train")
        client.log_inputs(run.info.run_id, datasets=[DatasetInput(data, [tag])])
