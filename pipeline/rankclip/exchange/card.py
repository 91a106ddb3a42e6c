"""The model card: what was trained on what, its numbers, and how to load it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rankclip import files
from rankclip.evaluation.results import RESULTS

SCORES = f"results/*/*/{RESULTS}"
"""Where scores of the runs of studies lie, below the repository."""

OURS = (
    "The weights have no licence yet: whoever publishes them chooses one, as `license:` above, and minds the "
    "terms of the images and captions that they were trained on. The code that trained them is Apache-2.0."
)
WHOSE = "The weights are another program's, converted; the terms of those who trained them hold."

CARD = """---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags:
- clip
---
# {name}

A language-image model that embeds images and English captions in one space.

| | |
| --- | --- |
{facts}

## Numbers

{numbers}

## Use

```python
import open_clip

place = "local-dir:FOLDER"  # or hf-hub:OWNER/NAME
model, _, preprocess = open_clip.create_model_and_transforms(place)
tokenizer = open_clip.get_tokenizer(place)
```

The folder has no files for the class `CLIPModel` of transformers, whose weights have other names.

## Licence

{whose}

## Configuration

```json
{recipe}
```
"""


def card(weights: Path, record: dict[str, Any], root: Path) -> str:
    """The card of a model.

    Args:
        weights: the file of its weights.
        record: that of its run.
        root: the repository, whose scores of exactly these weights are quoted.
    """
    config = record["config"]
    objective = config.get("objective", {}).get("name", f"that of {record.get('origin', 'another program')}")
    model, sha256 = config["model"]["name"], files.sha256(weights)
    facts = {
        "Model": f"{model} of open_clip",
        "Objective": objective,
        "Optimiser steps": steps(record),
        "Pairs seen": f"{seen:,}" if (seen := record["counts"].get("pairs_seen")) else "not known",
        "Seed": record["seed"],
        **{f"sha256 of {name}": value for name, value in record["inputs"].items()},
        "sha256 of the weights": sha256,
        "Run": record["key"],
        "Code": record.get("git_commit") or "not known",
    }
    lines = [f"| {name} | {value} |" for name, value in facts.items()]
    return CARD.format(
        name=f"{model}, {record['arm']}",
        facts="\n".join(lines),
        numbers=numbers(sha256, root),
        recipe=json.dumps(config, indent=2),
        whose=WHOSE if "origin" in record else OURS,
    )


def steps(record: dict[str, Any]) -> str:
    """How many steps a run made, and after which its weights are from, where that is not the last."""
    made = record["steps"]
    if not made:
        return "not known"
    of_weights = record.get("weights_step", made)
    return f"{made:,}" + (f"; the weights are those after step {of_weights:,}" if of_weights < made else "")


def numbers(sha256: str, root: Path) -> str:
    """Every score on test splits of the weights of this digest, as a table."""
    tables = [files.read_table(path) for path in sorted(root.glob(SCORES))]
    rows = {
        (row["benchmark"], row["protocol"], row["metric"]): row["value"]
        for table in tables
        for row in table.to_pylist()
        if row["checkpoint_digest"] == sha256 and row["split"] == "test"
    }
    if not rows:
        return "None of these weights was found where it was exported."
    lines = [f"| {' | '.join(what)} | {value:.4f} |" for what, value in rows.items()]
    return "\n".join(
        ["| Benchmark (test) | Protocol | Metric | Value |", "| --- | --- | --- | --- |", *lines]
    )
