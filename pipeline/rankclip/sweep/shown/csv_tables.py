"""A sweep as tables for other programs: every trial, and every run of the settings trained again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankclip import files
from rankclip.sweep import standing
from rankclip.sweep.outcome import Outcome

TRIALS, SETTINGS = "trials.csv", "settings.csv"


def write(outcome: Outcome, folder: Path) -> None:
    """Writes `trials.csv` and `settings.csv`."""
    files.write_text(folder / TRIALS, trials(outcome))
    files.write_text(folder / SETTINGS, settings(outcome))


def trials(outcome: Outcome) -> str:
    """A row for each trial: how far it came and what it read there, of one seed."""
    keys, metrics = list(outcome.spec.space), [aim.metric for aim in outcome.spec.aims]
    rows: list[list[Any]] = [["arm", "trial", "state", "step", "steps", "seconds", "error", *metrics, *keys]]
    for trial in outcome.trials:
        known: list[Any] = [
            trial.arm,
            trial.number,
            trial.state,
            standing.step(trial),
            outcome.steps[trial.arm],
        ]
        known += [round(trial.seconds, 1), trial.error, *map(trial.last, metrics)]
        rows.append([*known, *_values(keys, trial.values)])
    return _csv(rows)


def settings(outcome: Outcome) -> str:
    """A row for each fresh seed of a setting, and whether that setting is its arm's winner."""
    keys = list(outcome.spec.space)
    rows: list[list[Any]] = [["arm", "setting", "winner", "seed", outcome.spec.aims[0].metric, *keys]]
    for one in outcome.settings:
        won = outcome.winners.get(one.arm) == one
        for seed, score in one.scores.items():
            rows.append([one.arm, one.name, won, seed, score, *_values(keys, one.values)])
    return _csv(rows)


def _values(keys: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """JSON of the values by key; empty for keys that were not searched."""
    return [json.dumps(values[key]) if key in values else "" for key in keys]


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
