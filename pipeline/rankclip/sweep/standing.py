"""How the trials of an arm stand to each other: only what is of equal steps is compared."""

from __future__ import annotations

from collections.abc import Sequence

from rankclip.sweep.ledger import Trial
from rankclip.sweep.spec import Aim


def step(trial: Trial) -> int:
    """The last rung that a trial reached; 0 before the first."""
    return int(trial.last("step") or 0)


def at(trial: Trial, rung: int, aim: Aim) -> float | None:
    """What a trial read at a rung; None where it did not."""
    return next((report.get(aim.metric) for report in trial.reports if int(report["step"]) == rung), None)


def first_of(values: Sequence[float], aim: Aim) -> float:
    """The best of some readings."""
    return max(values) if aim.mode == "max" else min(values)


def best(trials: Sequence[Trial], aim: Aim) -> Trial | None:
    """The best of the trials that came farthest; None where none reached a rung.

    Those that failed are none of them: what they read before tells nothing.
    """
    able = [trial for trial in trials if trial.state != "failed" and trial.last(aim.metric) is not None]
    farthest = max(map(step, able), default=0)
    there = [trial for trial in able if step(trial) == farthest]
    sign = aim.sign
    return max(there, key=lambda trial: sign * (trial.last(aim.metric) or 0.0), default=None)


def common(trials: Sequence[Trial], aim: Aim) -> tuple[int, list[tuple[Trial, float]]]:
    """The last rung that all finished and stopped trials reached, and what each read at it; 0 for none."""
    ended = [trial for trial in trials if trial.state in ("finished", "stopped") and trial.reports]
    reached = [{int(report["step"]) for report in trial.reports if aim.metric in report} for trial in ended]
    rung = max(set.intersection(*reached), default=0) if reached else 0
    read = [(trial, value) for trial in ended if (value := at(trial, rung, aim)) is not None]
    return rung, read


def front(trials: Sequence[Trial], aims: Sequence[Aim]) -> list[Trial]:
    """The finished trials than which no other is better in one aim and as good in all (Pareto)."""
    able = []
    for trial in trials:
        read = [value for aim in aims if (value := trial.last(aim.metric)) is not None]
        if trial.state == "finished" and len(read) == len(aims):
            able.append((trial, [aim.sign * value for aim, value in zip(aims, read, strict=True)]))
    return [
        trial
        for trial, own in able
        if not any(other != own and all(a >= b for a, b in zip(other, own, strict=True)) for _, other in able)
    ]


def tally(trials: Sequence[Trial]) -> dict[str, int]:
    """How many trials ended how; `unfinished` are those that a resumed sweep goes on with."""
    states = {"finished": 0, "stopped": 0, "failed": 0, "unfinished": 0}
    for trial in trials:
        states["unfinished" if trial.state == "proposed" else trial.state] += 1
    return states
