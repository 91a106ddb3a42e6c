"""What a person sees of runs that train elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankclip import progress
from rankclip.progress import Watch, last_report, said, time_left


def line(step: int, **values: float) -> bytes:
    return json.dumps({"step": step, "loss": 2.34567, **values}).encode() + b"\n"


def test_a_curve_that_is_not_there_yet_has_no_report(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_report(path) is None
    path.touch()
    assert last_report(path) is None


def test_the_last_report_is_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line(1) + line(2) + line(3)[:-1])  # whole, but maybe not yet to its end
    assert last_report(path) == {"step": 2, "loss": 2.34567}
    path.write_bytes(line(1) + b'{"step": 2, "lo')
    assert last_report(path) == {"step": 1, "loss": 2.34567}
    path.write_bytes(b'{"step": 2, "lo')
    assert last_report(path) is None


def test_lines_that_tell_of_no_step_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line(4) + b'"5"}\n' + b"7\n" + b'{"val": 1}\n' + b"\n")
    assert last_report(path) == {"step": 4, "loss": 2.34567}


def test_only_the_end_of_a_long_curve_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(line(step) for step in range(9000)))
    assert path.stat().st_size > 4 * progress.LONGEST_LINES
    assert last_report(path) == {"step": 8999, "loss": 2.34567}


def test_a_report_is_told_in_short() -> None:
    report = {"step": 3, "loss": 2.34567, "logit_scale": 14.2857, "lr": 0.1, "gradient_norm": 3.0}
    report |= {"samples_per_s": 1234.5, "data_wait": 0.031, "mfu": 0.42, "quarantined": 0, "skipped": 2}
    assert said(report) == (
        "loss 2.346  logit_scale 14.29  1,234 samples/s  data wait 3%  MFU 42%  skipped 2"
    )


def test_a_term_that_is_new_is_shown_without_being_named_anywhere() -> None:
    report = {"step": 3, "epoch": 1, "loss": 2.0, "sigmoid": 0.5, "val/shape/top1": 0.1, "elapsed_s": 9}
    report |= {f"diagnostics/sigmoid/{number}": 0.1 for number in range(500)}
    assert said(report) == "loss 2  sigmoid 0.5"


def test_the_time_left_follows_from_the_steps_done() -> None:
    assert time_left({"step": 20, "elapsed_s": 60.0}, 50) == "0:01:30"
    assert time_left({"step": 0, "elapsed_s": 0.0}, 50) == time_left({"step": 20}, 50) == ""


def test_without_a_terminal_each_unfinished_run_has_a_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    runs = {f"clip/seed-{seed}": (tmp_path / f"{seed}.jsonl", 50) for seed in range(3)}
    (tmp_path / "0.jsonl").write_bytes(line(20, logit_scale=14.0, samples_per_s=900.0, elapsed_s=8.2))
    (tmp_path / "1.jsonl").write_bytes(line(50))
    with Watch(runs) as watch:
        watch.refresh()
        assert capsys.readouterr().err == ""
        clock[0] += progress.PLAIN_EVERY_S
        watch.refresh()
        expected = "clip/seed-0  step 20/50  loss 2.346  logit_scale 14  900 samples/s  0:00:12 left\n"
        assert capsys.readouterr().err == expected
        watch.refresh()
        assert capsys.readouterr().err == ""


def test_the_bars_follow_the_curves(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Watch({"clip/seed-0": (path, 50)}) as watch:
        task = watch.progress.tasks[0]
        watch.refresh()
        assert (task.completed, task.total, task.started) == (0, 50, False)
        path.write_bytes(line(20, elapsed_s=60.0))
        watch.refresh()
        assert (task.completed, task.started, task.fields["said"]) == (20, True, "loss 2.346")
        assert task.fields["left"] == "0:01:30"
