"""One run in MLflow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankclip.files import read_json, write_json
from rankclip.tracking.describing import describe
from rankclip.tracking.lines import chunks, points, unsent

if TYPE_CHECKING:
    from mlflow import MlflowClient

Attempt = Callable[[Callable[["MlflowClient", str], Any]], Any]

BATCH = 1000
"""Metrics in one request; MLflow's limit."""
KEY_TAG = "rankclip.key"
"""Tag by which a run is found again."""
PARENT_TAG = "mlflow.parentRunId"
"""Tag that puts a run below another one."""


class RunLog:
    """One run in MLflow; every method may be called again and sends only what is missing."""

    def __init__(
        self,
        attempt: Attempt,
        name: str,
        folder: Path,
        params: dict[str, str],
        tags: dict[str, str],
        parent: RunLog | None = None,
        resume: bool = True,
    ) -> None:
        """Use `Tracker.open_run`."""
        self._attempt, self._name, self._params, self._tags = attempt, name, params, tags
        self._parent, self._resumes = parent, resume
        self._memory = folder / "mlflow.json"
        self._run = ""
        self._status = ""
        self._start_ms = 0

    @property
    def run_id(self) -> str:
        """MLflow's name of the run; empty before it could be opened."""
        return self._run

    @property
    def age_s(self) -> int:
        """Whole seconds since the run was made in MLflow."""
        return int(time.time() - self._start_ms / 1000)

    def open(self) -> bool:
        """Finds or makes the run; False while MLflow cannot be reached."""
        if self._parent and not self._parent.open():
            return False
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
        self.log_values(
            {
                f"final/{name}/{metric}": float(x)
                for name, found in values.items()
                for metric, x in found.items()
            }
        )

    def log_values(self, values: Mapping[str, float]) -> None:
        """Sends what a run has one value of, as of step 0, where MLflow has another; only what is finite."""

        def send(client: MlflowClient, _: str) -> None:
            known = client.get_run(self._run).data.metrics
            news = {
                name: value
                for name, value in values.items()
                if math.isfinite(value) and known.get(name) != value
            }
            if news:
                self._resume(client)
                self._log(client, news, 0)

        if self.open():
            self._attempt(send)

    def log_now(self, values: Mapping[str, float]) -> None:
        """Sends the present values of what changes with time, at the step of the run's age in seconds."""
        if self.open():
            self._attempt(lambda client, _: self._log(client, values, self.age_s))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets those tags that have changed since they were set here."""
        news = {name: text for name, text in tags.items() if self._tags.get(name) != text}

        def send(client: MlflowClient, _: str) -> None:
            for name, text in news.items():
                client.set_tag(self._run, name, text)
            self._tags |= news

        if news and self.open():
            self._attempt(send)

    def finish(self, status: str = "FINISHED") -> bool:
        """Ends the run as "FINISHED", "FAILED" or "KILLED"; its end stays where it was if nothing was new.

        Returns:
            Whether MLflow knows it.
        """

        def end(client: MlflowClient, _: str) -> None:
            client.set_terminated(self._run, status)
            self._status = status

        if self.open() and self._status != status:
            self._attempt(end)
        return self._status == status

    def _log(self, client: MlflowClient, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        found = [Metric(name, value, now_ms, step) for name, value in values.items()]
        for batch in chunks(found, BATCH):
            client.log_batch(self._run, metrics=batch)

    def _find_or_make(self, client: MlflowClient, experiment: str) -> bool:
        found = client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{self._tags[KEY_TAG]}'", max_results=1)
        if self._parent:
            self._tags[PARENT_TAG] = self._parent.run_id
        run = found[0] if found else client.create_run(experiment, tags=self._tags, run_name=self._name)
        describe(client, run, self._params, self._tags)
        self._run, self._start_ms, self._status = run.info.run_id, run.info.start_time, run.info.status
        if self._resumes and self._status != "FINISHED":
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
