"""A driver that is told to end has time to let others save."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from rankclip import launch, lifecycle
from rankclip.errors import Preempted
from rankclip.launch import stopping
from rankclip.lifecycle import SIGNALS


class EndedError(Exception):
    """Stands for the end of this process."""


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM ends a test with `EndedError`, as it ends a process of ours with SystemExit; SIGINT as ever.

    A shell has what it starts in the background ignore SIGINT.
    """
    monkeypatch.setattr(stopping, "TOGETHER_S", 0.0)

    def end(signum: int, frame: object) -> None:
        raise EndedError

    ours = {signal.SIGTERM: end, signal.SIGINT: signal.default_int_handler}
    before = {signum: signal.signal(signum, handler) for signum, handler in ours.items()}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def kill(signum: signal.Signals) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", SIGNALS)
def test_the_first_signal_asks_and_is_gone_after_the_block(signum: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    asked: list[int] = []
    with launch.stoppable(lambda: asked.append(1)) as told:
        assert not told.is_set()
        kill(signum)
        assert told.is_set()
        assert asked == [1]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_the_second_signal_ends_us_at_once() -> None:
    asked: list[int] = []
    with launch.stoppable(lambda: asked.append(1)):
        kill(signal.SIGUSR1)
        with pytest.raises(EndedError):
            kill(signal.SIGUSR1)
    assert asked == [1]


def test_ctrl_c_asks_with_a_line_and_ends_us_when_it_comes_again(capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []
    with launch.stoppable(lambda: asked.append(1)):
        kill(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            kill(signal.SIGINT)
    assert asked == [1]
    assert capfd.readouterr().err == lifecycle.SAVING.decode()


def test_a_signal_that_one_of_the_group_passes_on_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "TOGETHER_S", 60.0)
    asked: list[int] = []
    with launch.stoppable(lambda: asked.append(1)):
        kill(signal.SIGINT)
        kill(signal.SIGTERM)
        kill(signal.SIGINT)
    assert asked == [1]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_exit_code_is_that_of_the_signal(signum: signal.Signals, code: int) -> None:
    def stopped() -> None:
        with launch.stoppable(lambda: None):
            kill(signum)
            raise Preempted("stopped")

    with pytest.raises(Preempted) as told:
        stopped()
    assert told.value.exit_code == code


def test_when_dvc_is_gone_the_block_is_asked_and_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[float] = []
    monkeypatch.setattr(lifecycle, "kill_descendants", lambda: ended.append(time.monotonic()))
    monkeypatch.setattr(os, "_exit", lambda code: ended.append(code))
    monkeypatch.setattr(lifecycle, "_alive", lambda process: False)
    with launch.stoppable(lambda: None) as told:
        watch = threading.Thread(target=lifecycle._watch, args=([psutil.Process()], 0.01))
        watch.start()
        assert told.wait(5)
        time.sleep(0.1)
        saved = time.monotonic()
        assert not ended
    watch.join(5)
    assert ended[0] > saved
    assert ended[1] == lifecycle.STOPPED_BY_US


def test_when_dvc_is_gone_a_block_that_does_not_end_has_no_more_than_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[float] = []
    monkeypatch.setattr(stopping, "ORPHANED_S", 0.2)
    monkeypatch.setattr(lifecycle, "kill_descendants", lambda: ended.append(time.monotonic()))
    monkeypatch.setattr(os, "_exit", lambda code: ended.append(code))
    monkeypatch.setattr(lifecycle, "_alive", lambda process: False)
    with launch.stoppable(lambda: None):
        asked = time.monotonic()
        watch = threading.Thread(target=lifecycle._watch, args=([psutil.Process()], 0.01))
        watch.start()
        watch.join(5)
        assert ended[0] - asked >= 0.2
        assert ended[1] == lifecycle.STOPPED_BY_US


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
