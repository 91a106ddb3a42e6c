"""What a run is told once: parameters, tags and data set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rankclip.tracking.lines import chunks

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 100
"""Parameters or tags in one request; MLflow's limit."""


def describe(client: MlflowClient, run: Any, params: dict[str, str], tags: dict[str, str]) -> None:
    """Sends parameters, tags and data set where the run lacks them; parameters can never be changed."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

    missing = [Param(name, value) for name, value in params.items() if name not in run.data.params]
    for batch in chunks(missing, BATCH):
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
