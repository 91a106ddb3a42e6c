"""How keys, values and aims of a sweep are written, the same in the table, the summary and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rankclip.evaluation.statistics.estimate import Estimate
from rankclip.report import labels
from rankclip.report.scores import Source
from rankclip.sweep.spec import ELAPSED, Aim

NONE = labels.NONE


def short(keys: Sequence[str]) -> dict[str, str]:
    """The shortest end of each dotted key that no other one has."""
    parts = {key: key.split(".") for key in keys}
    found = {}
    for key, own in parts.items():
        others = [other for other in parts.values() if other is not own]
        size = next(
            (size for size in range(1, len(own)) if all(other[-size:] != own[-size:] for other in others)),
            len(own),
        )
        found[key] = ".".join(own[-size:])
    return found


def value(given: Any, digits: int = 4) -> str:
    """A searched value."""
    if given is None:
        return "null"
    if isinstance(given, bool):
        return str(given).lower()
    return f"{given:.{digits}g}" if isinstance(given, float) else str(given)


def values(given: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """A setting in a line; keys that are not searched under it are left out."""
    return ", ".join(f"{name} {value(given[key])}" for key, name in names.items() if key in given)


def is_share(aim: Aim) -> bool:
    """Whether an aim is a share, so that it is told in percent and differences in points."""
    return aim.metric.startswith("val/") and labels.is_share(_source(aim))


def metric(aim: Aim) -> str:
    """An aim in prose."""
    if aim.metric == ELAPSED:
        return "seconds of training"
    *over, name = aim.metric.removeprefix("val/").split("/")
    if not over:
        return f"mean validation {labels.metric(name.removeprefix('mean_'))}"
    return f"validation {labels.metric(name)} of {'/'.join(over)}"


def unit(aim: Aim) -> str:
    """What stands behind a level."""
    return "%" if is_share(aim) else "s" if aim.metric == ELAPSED else ""


def level(aim: Aim, number: float | None) -> str:
    """What an aim reads, in percent where it is a share."""
    return NONE if number is None else labels.value(number, _source(aim))


def reading(aim: Aim, number: float | None) -> str:
    """The same with its unit."""
    return f"{level(aim, number)} {unit(aim)}".rstrip()


def difference(aim: Aim, number: float) -> str:
    """A difference of an aim, in points where it is a share."""
    told = labels.value(number, _source(aim), signed=True)
    return f"{told} {'points' if is_share(aim) else unit(aim)}".rstrip()


def interval(aim: Aim, estimate: Estimate, signed: bool = False) -> str:
    """Both ends of an interval in the aim's unit; a dash without one."""
    return labels.interval(estimate, signed=signed, source=_source(aim))


def duration(seconds: float) -> str:
    """A time as h:mm:ss."""
    return str(timedelta(seconds=round(max(0.0, seconds))))


def _source(aim: Aim) -> Source:
    return Source(aim.metric.rpartition("/")[2], "geometry" if aim.metric == ELAPSED else "zero_shot")
