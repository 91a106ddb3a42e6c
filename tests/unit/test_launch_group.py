"""What becomes of a group of workers that fails, without Ray: it is started again where that may help."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rankclip.errors import DataError, InputError, Preempted, RunError, Stuck
from rankclip.launch import group

LOST = "ray.exceptions.RayActorError: The actor died"
CLOSED = "RuntimeError: Connection closed by peer [127.0.0.1]:1"


class WorkersFailedError(Exception):
    """As Ray says it: by rank, the error itself or a text that ends in its line."""

    def __init__(self, **failures: str | Exception) -> None:
        super().__init__("Training failed due to worker errors")
        self.worker_failures = {
            int(rank[1:]): RuntimeError(f"Traceback\n  File\n{said}") if isinstance(said, str) else said
            for rank, said in failures.items()
        }


class Groups:
    """Stands for Ray Train: each start ends as told, or well."""

    def __init__(self) -> None:
        self.ends: list[Exception] = []
        self.names: list[str] = []

    def trainer(
        self, target: str, item: Any, workers: int, cpus: float, gpus: int, name: str, records: Path
    ) -> Any:
        self.names.append(name)

        def fit() -> Any:
            time.sleep(0.02)
            if self.ends:
                raise self.ends.pop(0)
            return SimpleNamespace(return_value={"steps": 7})

        return SimpleNamespace(fit=fit)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    found = Groups()
    monkeypatch.delenv("RANKCLIP_RETRIES", raising=False)
    monkeypatch.setattr(group, "session", contextlib.nullcontext)
    monkeypatch.setattr(group, "_fits", lambda *unused: None)
    monkeypatch.setattr(group, "_trainer", found.trainer)
    return found


def train(folder: Path, on_poll: Callable[[], None] = lambda: None) -> Any:
    return group.train_group("m:f", {"key": "clip/seed-0"}, 2, folder, on_poll=on_poll, every_s=0.005)


@pytest.mark.parametrize(
    "line", [LOST, CLOSED, Stuck("rank 1 did not come"), "rankclip.errors.Stuck: rank 1 did not come"]
)
def test_a_lost_or_stuck_worker_is_started_again_under_another_name(
    line: str | Exception, groups: Groups, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    groups.ends = [WorkersFailedError(r1=line), WorkersFailedError(r0=line)]
    assert train(tmp_path) == {"steps": 7}
    assert len(set(groups.names)) == 3
    assert [record.message[:13] for record in caplog.records] == ["clip/seed-0: "] * 2
    assert "started again, 3 more times at most" in caplog.text


def test_restarts_are_bounded(groups: Groups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_RETRIES", "1")
    groups.ends = [WorkersFailedError(r1=LOST) for _ in range(5)]
    with pytest.raises(
        RunError, match=r"^clip/seed-0 failed: rank 1: .*The actor died \(details: .*failure\.log"
    ):
        train(tmp_path)
    assert len(groups.names) == 2


@pytest.mark.parametrize(
    "said", [DataError("00003.tar is cut short"), "rankclip.errors.DataError: 00003.tar is cut short"]
)
def test_what_was_raised_on_purpose_ends_it_and_is_told_before_what_followed_from_it(
    said: str | Exception, groups: Groups, tmp_path: Path
) -> None:
    groups.ends = [WorkersFailedError(r0=CLOSED, r1=said)]
    with pytest.raises(RunError, match=r"^clip/seed-0 failed: rank 1: 00003\.tar is cut short \(details"):
        train(tmp_path)
    assert len(groups.names) == 1


def test_a_run_that_was_asked_to_stop_did_not_fail(groups: Groups, tmp_path: Path) -> None:
    line = Preempted("clip/seed-0: saved at step 3; run the same command again")
    groups.ends = [WorkersFailedError(r0=line, r1=line)]
    with pytest.raises(Preempted, match=r"^clip/seed-0: saved at step 3;"):
        train(tmp_path)
    assert len(groups.names) == 1


def test_the_caller_polls_in_its_own_thread_and_what_it_raises_ends_the_wait(
    groups: Groups, tmp_path: Path
) -> None:
    polls: list[int] = []
    train(tmp_path, lambda: polls.append(1))
    assert len(polls) > 1

    def fail() -> None:
        raise ValueError("of the caller")

    started = len(groups.names)
    with pytest.raises(ValueError, match="of the caller"):
        train(tmp_path, fail)
    assert len(groups.names) == started + 1  # no group is started beside one that runs


@pytest.mark.parametrize("text", ["-1", "many", "1.5", ""])
def test_a_number_of_restarts_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_RETRIES", text)
    with pytest.raises(InputError, match=r"RANKCLIP_RETRIES=.* is not a whole number; set it to 0 or more"):
        group.retries()
