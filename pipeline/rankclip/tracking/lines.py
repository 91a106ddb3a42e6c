"""From our files to what MLflow takes: flat parameters, and the new lines of a metrics.jsonl as points."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mlflow.entities import Metric

Value = TypeVar("Value")
Json = dict[str, Any]


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as flat dotted texts, `{"train": {"lr": 0.001}}` as `{"train.lr": "0.001"}`.

    A list of settings that each have a name is taken as a mapping by name: its numbers can be compared;
    other lists become JSON. None and empty mappings are left out.
    """
    flat: dict[str, str] = {}
    for name, given in params.items():
        value = by_name(given) if isinstance(given, list) else given
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            flat[f"{prefix}{name}"] = text[:6000]
    return flat


def by_name(items: list[Any]) -> Any:
    """A list of mappings with different names as one mapping by name; any other list as it is."""
    if not items or not all(isinstance(item, Mapping) and "name" in item for item in items):
        return items
    named = {item["name"]: {key: value for key, value in item.items() if key != "name"} for item in items}
    return named if len(named) == len(items) else items


def unsent(metrics: Path, memory: Json) -> tuple[list[Json], Json]:
    """The complete lines after what `memory` has seen, and the memory once they are sent.

    A resumed run shortens its file to its checkpoint and writes on, so when the last line seen is no longer
    where it was, the file is read again and what lies before the last step seen is passed over. So is a
    damaged line: curves must not stop a training.
    """
    content = metrics.read_bytes()
    content = content[: content.rfind(b"\n") + 1]
    offset, last = memory["offset"], memory["last"].encode()
    rewound = content[:offset][-len(last) :] != last if last else False
    lines = [line for line in content[0 if rewound else offset :].split(b"\n") if line]
    records = [record for record in map(parsed, lines) if record]
    if rewound:
        records = [record for record in records if record["step"] >= memory["step"]]
    if records:
        step = max(memory["step"], *(record["step"] for record in records))
        seen = lines[-1].decode(errors="replace")
        memory = {**memory, "offset": len(content), "step": step, "last": f"{seen}\n"}
    return records, memory


def parsed(line: bytes) -> Json | None:
    """The record of a line of a metrics.jsonl, or None of a damaged one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def points(records: Sequence[Json], start_ms: int) -> tuple[list[Metric], str]:
    """Metrics of all records, and the first that is not finite as "name at step N"."""
    from mlflow.entities import Metric

    found, strange = [], ""
    for record in records:
        step = record["step"]
        # Not the clock: a line that is sent twice is then one point, since MLflow's key has the time in it.
        when_ms = start_ms + int(1000 * record.get("elapsed_s", 0))
        for name, value in record.items():
            if name == "step" or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if math.isfinite(value):
                found.append(Metric(name, float(value), when_ms, step))
            else:
                strange = strange or f"{name} at step {step}"
    return found, strange


def chunks(values: Sequence[Value], size: int) -> Iterator[list[Value]]:
    """`values` in lists of at most `size`."""
    left = iter(values)
    while chunk := list(islice(left, size)):
        yield chunk
