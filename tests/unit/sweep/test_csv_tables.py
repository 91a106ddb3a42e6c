"""A sweep's tables for other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rankclip.sweep.ledger import Trial
from rankclip.sweep.shown import csv_tables
from tests.unit.sweep import outcomes


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_trial_has_a_row_with_its_end_and_its_values() -> None:
    failed = Trial("rankclip", 24, {outcomes.CROSS: 0.5}, "failed", error="it broke, twice")
    outcome = outcomes.outcome(trials=[*outcomes.trials(), failed])
    found = rows(csv_tables.trials(outcome))
    assert len(found) == 25
    assert found[24] == {
        **dict.fromkeys(found[0], ""),
        "arm": "rankclip",
        "trial": "24",
        "state": "failed",
        "step": "0",
        "steps": "90",
        "seconds": "0.0",
        "error": "it broke, twice",
        outcomes.CROSS: "0.5",
    }
    assert [float(row[outcomes.TOP1]) for row in found[:24]] == [
        trial.last(outcomes.TOP1) for trial in outcome.trials[:24]
    ]


def test_every_fresh_seed_has_a_row_and_the_winner_is_marked(tmp_path: Path) -> None:
    outcome = outcomes.outcome()
    csv_tables.write(outcome, tmp_path)
    found = rows((tmp_path / csv_tables.SETTINGS).read_text())
    assert len(found) == sum(len(setting.scores) for setting in outcome.settings)
    won = {row["setting"] for row in found if row["winner"] == "True"}
    assert won == {outcome.winners["rankclip"].name}
    assert len(rows((tmp_path / csv_tables.TRIALS).read_text())) == len(outcome.trials)
