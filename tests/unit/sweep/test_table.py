"""What a person sees of a sweep while its trials train."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rankclip.sweep.ledger import Trial
from rankclip.sweep.shown import table, words
from rankclip.sweep.shown.table import Table
from tests.unit.sweep.outcomes import CROSS, END, IN, LR, RUNGS, TOP1, sweep

VALUES = {CROSS: 0.1234567, IN: 0.5, END: 0.6667}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(table.time, "monotonic", lambda: now[0])
    return now


def console(terminal: bool = False, width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def said(shown: Table) -> list[str]:
    assert isinstance(shown.console.file, io.StringIO)
    return shown.console.file.getvalue().splitlines()


def at(trial: Trial, *reads: float) -> Trial:
    return replace(
        trial, reports=[{"step": step, TOP1: read} for step, read in zip(RUNGS, reads, strict=False)]
    )


def test_a_key_is_named_by_its_shortest_end_that_no_other_has() -> None:
    assert words.short([CROSS, IN, END, LR]) == {
        CROSS: "rank_cross.weight.final",
        IN: "rank_in.weight.final",
        END: "end",
        LR: "lr",
    }
    assert words.short(["train.lr", "model.lr"]) == {"train.lr": "train.lr", "model.lr": "model.lr"}
    assert words.short(["train.lr", "train.group.lr"]) == {
        "train.lr": "train.lr",
        "train.group.lr": "group.lr",
    }


def test_without_a_terminal_every_event_is_a_line(clock: list[float]) -> None:
    shown = Table(sweep(trials=2), "rankclip", [], RUNGS, console=console(), left=lambda: {"time": "0:09:00"})
    trial = Trial("rankclip", 0, VALUES)
    with shown:
        shown.changed(trial)
        shown.changed(trial)  # nothing new
        clock[0] += 20.0
        shown.changed(at(trial, 0.25))
        shown.changed(replace(at(trial, 0.25), state="stopped"))
    assert said(shown) == [
        "rankclip/trial-000  begins: rank_cross.weight.final 0.1235, rank_in.weight.final 0.5, end 0.6667",
        "rankclip/trial-000  step 10/90  mean validation top-1 25.0 %",
        "rankclip/trial-000  stopped at step 10/90  mean validation top-1 25.0 %  [RankCLIP: 1 of 2 trials "
        "ended · best 25.0 % at step 10 (trial-000) · about 0:00:20 to go · time left 0:09:00]",
    ]


def test_an_error_is_quoted(clock: list[float]) -> None:
    shown = Table(sweep(), "rankclip", [], RUNGS, console=console())
    shown.changed(replace(Trial("rankclip", 3, VALUES), state="failed", error="the loss is [not] finite"))
    assert "rankclip/trial-003  failed at step 0: the loss is [not] finite" in said(shown)[0]


def test_a_trial_that_is_resumed_or_begun_once_more_keeps_what_it_reached(clock: list[float]) -> None:
    known = at(Trial("rankclip", 0, VALUES), 0.25)
    shown = Table(sweep(), "rankclip", [known], RUNGS, console=console())
    shown.changed(known)
    assert said(shown)[-1].startswith("rankclip/trial-000  goes on after step 10: ")
    shown.changed(at(known, 0.25, 0.4))
    shown.changed(known)  # its process had died, and the driver tells of the trial as it was proposed
    assert shown.trials[0].last(TOP1) == 0.4
    assert len(said(shown)) == 2


def test_the_best_is_among_those_that_came_farthest_and_did_not_fail() -> None:
    first, other, failed = (Trial("rankclip", number, VALUES) for number in range(3))
    known = [
        replace(at(first, 0.9), state="stopped"),
        replace(at(other, 0.1, 0.2), state="stopped"),
        replace(at(failed, 0.1, 0.3), state="failed"),
    ]
    shown = Table(sweep(), "rankclip", known, RUNGS, console=console())
    assert "best 20.0 % at step 30 (trial-001)" in shown.summary()


def test_the_time_to_go_follows_from_the_steps_of_all_trials(clock: list[float]) -> None:
    shown = Table(sweep(trials=4), "rankclip", [], RUNGS, console=console())
    assert shown.seconds_left() is None
    trials = [Trial("rankclip", number, VALUES) for number in range(4)]
    for trial in trials[:3]:
        shown.changed(trial)
    clock[0] += 60.0
    shown.changed(replace(at(trials[0], 0.1), state="stopped"))
    shown.changed(replace(at(trials[1], 0.1, 0.2), state="stopped"))
    shown.refresh({"rankclip/trial-002": 20})
    # 60 steps in 60 s; an ended trial took 20 on average: nothing left of the third, 20 of the fourth
    assert shown.seconds_left() == pytest.approx(20.0)


def test_what_an_earlier_driver_did_is_no_work_of_this_one(clock: list[float]) -> None:
    ended = replace(at(Trial("rankclip", 0, VALUES), 0.1, 0.2, 0.3), state="finished")
    left = at(Trial("rankclip", 1, VALUES), 0.1)
    shown = Table(sweep(trials=2), "rankclip", [ended, left], RUNGS, console=console())
    clock[0] += 40.0
    assert shown.seconds_left() is None
    shown.changed(left)
    shown.refresh({"rankclip/trial-001": 50})
    assert shown.seconds_left() == pytest.approx(40.0)


def test_the_step_of_a_running_trial_is_read_from_its_curve_now_and_then(
    clock: list[float], tmp_path: Path
) -> None:
    curve = tmp_path / "metrics.jsonl"
    shown = Table(sweep(), "rankclip", [], RUNGS, console=console(), curve=lambda trial: curve)
    shown.changed(Trial("rankclip", 0, VALUES))
    curve.write_text(json.dumps({"step": 7, "loss": 1.0}) + "\n")
    shown.refresh()
    assert shown.at[0] == 0
    clock[0] += table.LOOK_EVERY_S
    shown.refresh()
    assert shown.at[0] == 7


def test_the_table_has_running_trials_and_those_that_ended_last(clock: list[float]) -> None:
    shown = Table(sweep(), "rankclip", [], RUNGS, console=console(terminal=True))
    with shown:
        for number in range(table.ENDED_SHOWN + 3):
            trial = Trial("rankclip", number, VALUES)
            shown.changed(trial)
            if number < table.ENDED_SHOWN + 2:
                shown.changed(replace(at(trial, 0.1, 0.2), state="stopped"))
        shown.refresh({f"rankclip/trial-{table.ENDED_SHOWN + 2:03d}": 17})
        paper = console()
        paper.print(shown.table())
    assert isinstance(paper.file, io.StringIO)
    lines = paper.file.getvalue().splitlines()
    assert "10 of 24 trials ended" in lines[0]
    rows = [line.split() for line in lines if line.startswith("trial-")]
    assert [row[0] for row in rows] == [f"trial-{number:03d}" for number in range(2, table.ENDED_SHOWN + 3)]
    assert rows[0] == ["trial-002", "0.123", "0.5", "0.667", "30/90", "2/3", "20.0", "stopped"]
    assert rows[-1] == ["trial-010", "0.123", "0.5", "0.667", "17/90", "0/3", "–", "training"]
