from __future__ import annotations

import os

import pytest

from rankclip.data import processes
from rankclip.errors import InputError, RunError


def own_id(unused: int) -> int:
    return os.getpid()


def die(unused: int) -> None:
    os._exit(1)


def test_little_work_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    assert set(processes.mapped(own_id, range(3), images=10)) == {os.getpid()}


def test_much_work_is_shared_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    results = list(processes.mapped(abs, range(-5, 0), images=processes.WORTH_SHARING))
    assert results == [5, 4, 3, 2, 1]


def test_the_death_of_a_process_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    with pytest.raises(RunError, match=r"one of 2 processes died .* RANKCLIP_PROCESSES=1"):
        list(processes.mapped(die, range(2), images=processes.WORTH_SHARING))


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RANKCLIP_PROCESSES", value)
    with pytest.raises(InputError, match=f"RANKCLIP_PROCESSES is '{value}'"):
        processes.count()


def test_without_the_variable_every_usable_core_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANKCLIP_PROCESSES", raising=False)
    assert processes.count() == len(os.sched_getaffinity(0))
