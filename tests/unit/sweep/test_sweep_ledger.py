from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.errors import DataError
from rankclip.sweep.ledger import NAME, Ledger, Trial

LR = "train.lr"
METRIC = "val/mean_top1"


def report(step: int, value: float = 0.5) -> dict[str, float]:
    return {"step": step, METRIC: value}


def lived(folder: Path) -> list[dict[tuple[str, int], Trial]]:
    """Writes the ledger of a small sweep of two arms; what was true before and after each line."""
    ledger = Ledger.opened(folder)
    states = [dict(ledger.trials)]

    def then(act: Callable[[], Trial]) -> Trial:
        trial = act()
        states.append(dict(ledger.trials))
        return trial

    first = then(lambda: ledger.propose("clip", {LR: 0.1, "model.name": "größer\u2028\n"}))
    second = then(lambda: ledger.propose("clip", {LR: 1e-05}))
    other = then(lambda: ledger.propose("rankclip", {LR: 0.1, "train.betas": [0.9, None]}))
    then(lambda: ledger.report(first, report(30)))
    then(lambda: ledger.report(first, report(90, 1 / 3)))
    then(lambda: ledger.end(first, "finished", 12.345))
    then(lambda: ledger.report(other, report(30)))
    then(lambda: ledger.end(other, "stopped", 3.0))
    then(lambda: ledger.end(second, "failed", 1.0, "loss is not finite"))
    return states


def test_a_sweep_that_has_not_begun_has_no_trials(tmp_path: Path) -> None:
    assert Ledger.opened(tmp_path / "new").trials == {}
    assert not (tmp_path / "new").exists()


def test_a_ledger_reopened_holds_what_it_held(tmp_path: Path) -> None:
    states = lived(tmp_path)
    again = Ledger.opened(tmp_path)
    assert again.trials == states[-1]
    assert list(again.trials) == list(states[-1])
    assert again.trials["clip", 0].values == {LR: 0.1, "model.name": "größer\u2028\n"}
    assert (tmp_path / NAME).read_bytes().count(b"\n") == len(states) - 1


def test_a_ledger_cut_off_at_any_byte_holds_what_was_once_true_and_goes_on(tmp_path: Path) -> None:
    states = lived(tmp_path / "whole")
    content = (tmp_path / "whole" / NAME).read_bytes()
    path = tmp_path / NAME
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        ledger = Ledger.opened(tmp_path)
        true = states[content[:length].count(b"\n")]
        assert ledger.trials == true
        assert path.read_bytes() == content[: content[:length].rfind(b"\n") + 1]
    for length in range(0, len(content) + 1, 7):
        path.write_bytes(content[:length])
        ledger = Ledger.opened(tmp_path)
        added = ledger.propose("clip", {LR: 0.5})
        assert added.number == len([at for at in ledger.trials if at[0] == "clip"]) - 1
        ledger.end(added, "finished")
        assert Ledger.opened(tmp_path).trials == ledger.trials


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | NUMBERS
VALUES = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=3), PLAIN, max_size=3)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=3), NUMBERS)
@settings(max_examples=50, deadline=None)
def test_values_and_numbers_come_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], number: float
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Ledger.opened(folder)
    ledger.report(ledger.propose("clip", values), report(1, number))
    again = Ledger.opened(folder).trials["clip", 0]
    assert again == ledger.trials["clip", 0]
    assert json.dumps(again.values) == json.dumps(values)
    assert again.last(METRIC) == number


def test_numbers_count_the_trials_of_an_arm(tmp_path: Path) -> None:
    ledger = Ledger.opened(tmp_path)
    names = [ledger.propose(arm, {LR: 0.1}).name for arm in ("clip", "rankclip", "clip", "clip", "rankclip")]
    assert names == [
        *("clip/trial-000", "rankclip/trial-000", "clip/trial-001", "clip/trial-002", "rankclip/trial-001")
    ]
    again = Ledger.opened(tmp_path)
    assert again.propose("clip", {LR: 0.1}).number == 3
    assert [trial.number for trial in again.of("clip")] == [0, 1, 2, 3]
    assert [trial.number for trial in again.of("rankclip")] == [0, 1]
    assert again.of("siglip") == []


def test_a_rung_is_written_once_and_never_an_earlier_one_after_it(tmp_path: Path) -> None:
    ledger = Ledger.opened(tmp_path)
    trial = ledger.propose("clip", {LR: 0.1})
    ledger.report(trial, report(30, 0.1))
    ledger.report(trial, report(90, 0.3))
    for step in (90, 30, 10):
        assert ledger.report(trial, report(step, 0.9)).reports == (report(30, 0.1), report(90, 0.3))
    again = Ledger.opened(tmp_path).trials["clip", 0]
    assert again.reports == (report(30, 0.1), report(90, 0.3))
    assert (again.last("step"), again.last(METRIC), again.last("elapsed_s")) == (90, 0.3, None)


def test_a_trial_is_unfinished_until_it_has_ended(tmp_path: Path) -> None:
    ledger = Ledger.opened(tmp_path)
    trial = ledger.propose("clip", {LR: 0.1})
    assert not ledger.report(trial, report(30)).ended
    ended = ledger.end(trial, "failed", 1.239, "no memory")
    assert (ended.ended, ended.state, ended.seconds, ended.error) == (True, "failed", 1.24, "no memory")
    assert ended.reports == (report(30),)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path, wrong: float) -> None:
    ledger = Ledger.opened(tmp_path)
    trial = ledger.propose("clip", {LR: 0.1})
    before = (tmp_path / NAME).read_bytes()
    acts: list[Callable[[], Trial]] = [
        lambda: ledger.propose("clip", {LR: wrong}),
        lambda: ledger.propose("clip", {LR: [{"a": wrong}]}),
        lambda: ledger.report(trial, report(30, wrong)),
        lambda: ledger.end(trial, "finished", wrong),
    ]
    for act in acts:
        with pytest.raises(ValueError, match="finite"):
            act()
    assert (tmp_path / NAME).read_bytes() == before
    assert Ledger.opened(tmp_path).trials == ledger.trials == {("clip", 0): trial}


def test_what_did_not_reach_the_disk_was_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.opened(tmp_path)
    ledger.propose("clip", {LR: 0.1})
    before = (tmp_path / NAME).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("rankclip.sweep.ledger.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            ledger.propose("clip", {LR: 0.2})
    assert (tmp_path / NAME).read_bytes() == before
    assert ledger.propose("clip", {LR: 0.3}).number == 1
    assert Ledger.opened(tmp_path).trials == ledger.trials


PROPOSED = '{"event":"proposed","arm":"clip","number":0,"values":{"train.lr":0.1}}'

DAMAGED = {
    "no JSON": "\x00\x00\x00",
    "nothing": "",
    "half a line": PROPOSED[:-9],
    "an unknown event": '{"event":"paused","arm":"clip","number":0}',
    "no event": '{"arm":"clip","number":0,"values":{}}',
    "no number": '{"event":"proposed","arm":"clip","values":{}}',
    "an unknown state": '{"event":"ended","arm":"clip","number":0,"state":"lost","seconds":1,"error":""}',
    "no state": '{"event":"ended","arm":"clip","number":0,"seconds":1,"error":""}',
    "NaN": '{"event":"report","arm":"clip","number":0,"report":{"step":3,"val/mean_top1":NaN}}',
    "text for a number": '{"event":"report","arm":"clip","number":0,"report":{"step":"3.x"}}',
    "a key too many": PROPOSED[:-1] + ',"seed":3}',
    "a list": "[1]",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_told_with_its_file_and_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / NAME
    content = f"{PROPOSED}\n{line}\n{PROPOSED.replace('0,', '1,')}\n".encode()
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"^{path}, line 2 is damaged \(.*\); restore it, or delete"
    ) as raised:
        Ledger.opened(tmp_path)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == content


LOST = {
    "a report of no trial": '{"event":"report","arm":"clip","number":1,"report":{"step":3}}',
    "an end of no trial": '{"event":"ended","arm":"a","number":0,"state":"stopped","seconds":1,"error":""}',
    "a trial twice": PROPOSED,
    "a number left out": PROPOSED.replace("0,", "2,"),
    "a first number": PROPOSED.replace("clip", "other").replace("0,", "1,"),
}


@pytest.mark.parametrize("line", LOST.values(), ids=LOST)
def test_lines_without_those_before_them_are_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / NAME
    path.write_text(f"{PROPOSED}\n{line}\n")
    with pytest.raises(
        DataError, match=rf"^{path}, line 2 does not follow from those before it \(.*\); restore"
    ):
        Ledger.opened(tmp_path)


def test_an_error_is_one_line_whatever_it_quotes(tmp_path: Path) -> None:
    ledger = Ledger.opened(tmp_path)
    path = b"/data/gr\xfc\xdfe".decode(errors="surrogateescape")
    error = f"{path} is missing\n\tat step 3"
    ended = ledger.end(ledger.propose("clip", {LR: 0.1}), "failed", 1.0, error)
    assert ended.error == "/data/gr??e is missing at step 3"
    assert Ledger.opened(tmp_path).trials == ledger.trials


def test_a_damaged_ledger_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(f"{{}}\n{PROPOSED}\n{PROPOSED[:20]}")
    before = path.read_bytes()
    with pytest.raises(DataError, match="line 1 is damaged"):
        Ledger.opened(tmp_path)
    assert path.read_bytes() == before
