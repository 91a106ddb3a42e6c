"""A driver that is told to end has time to let others save."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from rankclip import launch


class EndedError(Exception):
    """Stands for the end of this process."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """SIGTERM ends a test with `EndedError`, as it ends a process of ours with SystemExit."""

    def end(signum: int, frame: object) -> None:
        raise EndedError

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


def kill(signum: signal.Signals) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_asks_and_is_gone_after_the_block(signum: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)]
    asked: list[int] = []
    with launch.stoppable(lambda: asked.append(1)) as told:
        assert not told.is_set()
        kill(signum)
        assert told.is_set()
        assert asked == [1]
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)] == before


def test_the_second_signal_ends_us_at_once() -> None:
    asked: list[int] = []
    with launch.stoppable(lambda: asked.append(1)):
        kill(signal.SIGUSR1)
        with pytest.raises(EndedError):
            kill(signal.SIGUSR1)
    assert asked == [1]


def test_who_takes_too_long_is_ended() -> None:
    with launch.stoppable(lambda: None, grace_s=0.05):
        kill(signal.SIGTERM)
        with pytest.raises(EndedError):
            time.sleep(5)


def test_a_block_that_ends_in_time_is_left_alone() -> None:
    with launch.stoppable(lambda: None, grace_s=0.05):
        kill(signal.SIGTERM)
    time.sleep(0.1)


def test_a_thread_hears_nothing_and_runs() -> None:
    found: list[bool] = []

    def run() -> None:
        with launch.stoppable(lambda: None) as told:
            found.append(told.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]
