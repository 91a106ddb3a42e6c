"""A run that is asked to stop saves where it is, and ends as if nobody had asked."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rankclip import lifecycle
from rankclip.errors import Preempted
from rankclip.lifecycle import SIGNALS
from rankclip.models.spec import ModelSpec
from rankclip.training import checkpoint, interruption, loop, run
from rankclip.training.interruption import Interruption
from rankclip.training.loop import Training
from rankclip.training.machine import Machine
from rankclip.training.meter import MEASURED
from rankclip.training.request import METRICS, STOP, TrainRequest
from tests.unit.training import tiny
from tests.unit.training.test_run import curve, undisturbed, weights

__all__ = ["undisturbed"]


def at_step(
    request: TrainRequest, step: int, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trains, and calls something while the `step`-th step is made."""
    made, train_step = [], loop.train_step

    def stepping(*given: Any, **options: Any) -> Any:
        made.append(given)
        if len(made) == step:
            call()
        return train_step(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stepping)
        run.train_run(request.dump())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_gets_a_signal_saves_and_goes_on_as_if_undisturbed(
    number: signal.Signals, undisturbed: TrainRequest, tiny_data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    request = tiny.request(tiny_data, tmp_path)
    before = signal.getsignal(number)
    with pytest.raises(
        Preempted, match=r"^arm/seed-4: stopped .* at step 5 of 7; run the same command"
    ) as told:
        at_step(request, 4, lambda: os.kill(os.getpid(), number), monkeypatch)
    assert told.value.exit_code == (130 if number == signal.SIGINT else 143)
    assert signal.getsignal(number) == before
    assert checkpoint.steps(request.folder)[-1] == 5
    run.train_run(request.dump())
    assert weights(request) == weights(undisturbed)
    assert curve(request) == curve(undisturbed)


def test_a_run_that_leaves_out_patches_at_random_goes_on_with_those_of_its_step(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"model": ModelSpec(name="shapes-vit"), "steps": 4, "patch_dropout": 0.5, "micro_batch": 4}
    whole, broken = (tiny.request(tiny_data, tmp_path / name, **changes) for name in ("a", "b"))
    run.train_run(whole.dump())
    with pytest.raises(Preempted, match="at step 2 of 4"):
        at_step(broken, 1, lambda: os.kill(os.getpid(), signal.SIGTERM), monkeypatch)
    torch.manual_seed(99)
    run.train_run(broken.dump())
    assert weights(broken) == weights(whole)


def test_a_stop_between_two_lines_of_the_curve_adds_none(
    undisturbed: TrainRequest, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tiny.request(tiny_data, tmp_path, log_every=7)
    ours = tiny.request(tiny_data, tmp_path / "whole", log_every=7)
    run.train_run(ours.dump())
    with pytest.raises(Preempted, match="at step 2 of 7"):
        at_step(request, 1, lambda: os.kill(os.getpid(), signal.SIGTERM), monkeypatch)
    assert (request.folder / METRICS).read_bytes() == b""
    run.train_run(request.dump())
    assert curve(request) == curve(ours)
    assert weights(request) == weights(undisturbed)


def test_a_run_that_is_as_good_as_done_is_finished(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tiny.request(tiny_data, tmp_path)
    at_step(request, 6, lambda: os.kill(os.getpid(), signal.SIGTERM), monkeypatch)
    assert request.finished


def test_a_file_in_its_folder_stops_a_run_and_keeps_it_from_starting(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "LOOK_EVERY_S", 0.0)
    request = tiny.request(tiny_data, tmp_path)
    with pytest.raises(Preempted, match="at step 3 of 7"):
        at_step(request, 2, (request.folder / STOP).touch, monkeypatch)
    with pytest.raises(Preempted, match=r"^arm/seed-4: not started, as asked; run the same command again"):
        run.train_run(request.dump())
    (request.folder / STOP).unlink()
    run.train_run(request.dump())
    assert request.finished
    (request.folder / STOP).touch()
    assert run.train_run(request.dump())["steps"] == 7  # there is nothing left to stop


def test_a_signal_that_comes_twice_does_not_end_the_save_and_then_is_for_others_again(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        asked = Interruption(tmp_path)
        with asked.listening():
            assert not asked()
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                assert asked()
        assert not heard
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_ctrl_c_ends_the_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = Interruption(tmp_path)
    with asked.listening():
        for _ in range(2):  # the second as torchrun passes it on
            os.kill(os.getpid(), signal.SIGINT)
            assert asked()
        monkeypatch.setattr(interruption, "TOGETHER_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == lifecycle.SAVING.decode()


def test_a_thread_listens_to_the_file_alone(tmp_path: Path) -> None:
    found = []

    def work() -> None:
        asked = Interruption(tmp_path)
        with asked.listening():
            found.append((signal.getsignal(signal.SIGTERM), asked()))

    (tmp_path / STOP).touch()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(signal.getsignal(signal.SIGTERM), True)]


def test_checkpoints_by_the_clock_add_no_line_and_change_nothing(
    undisturbed: TrainRequest, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(device="cpu", checkpoint_minutes=1e-6, keep_checkpoints=2)
    request = tiny.request(tiny_data, tmp_path).model_copy(update={"machine": machine})
    assert request.content_digest == undisturbed.content_digest
    kept, save = [], checkpoint.save

    def saving(folder: Path, state: checkpoint.Checkpoint, keep: int) -> None:
        save(folder, state, keep)
        kept.append(checkpoint.steps(folder))

    monkeypatch.setattr(checkpoint, "save", saving)
    run.train_run(request.dump())
    assert kept == [[1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6], [6, 7]]
    assert curve(request) == curve(undisturbed)
    assert weights(request) == weights(undisturbed)


def test_without_time_gone_by_only_the_steps_of_the_recipe_are_saved(tiny_data: Path, tmp_path: Path) -> None:
    reports = list(Training(tiny.request(tiny_data, tmp_path)).reports())
    assert [report["step"] for report in reports if report["checkpoint"]] == [3, 6, 7]


def test_reports_tell_speed_waiting_and_memory(tiny_data: Path, tmp_path: Path) -> None:
    reports = list(Training(tiny.request(tiny_data, tmp_path)).reports())
    for report in reports:
        assert set(MEASURED) - {"mfu", "validation_s"} < set(report)
        assert 0 <= report["data_wait"] < 1
        assert report["samples_per_s"] > 0
        assert 100 < report["memory_mb"] < 100_000
        assert report["tflops"] > 0
    assert [report["elapsed_s"] for report in reports] == sorted(report["elapsed_s"] for report in reports)
