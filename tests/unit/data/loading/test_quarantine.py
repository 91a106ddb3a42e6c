"""What could not be decoded is written down once, forgotten as a checkpoint is, and never too much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankclip.data.loading.quarantine import FEW, Entry, Quarantine
from rankclip.errors import DataError


def entry(step: int, row: int, key: str, shard: str = "00000.tar") -> Entry:
    return Entry(step, row, step // 4, key, shard, "broken data stream")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_sample_is_written_once_in_the_order_in_which_it_was_met(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q.jsonl", writes=True)
    quarantine.add([entry(2, 7, "c"), entry(2, 1, "b"), entry(1, 9, "a"), entry(2, 8, "b")], seen=100)
    quarantine.add([entry(3, 0, "c"), entry(3, 1, "d")], seen=100)
    assert [line["key"] for line in lines(quarantine.path)] == ["a", "b", "c", "d"]
    assert lines(quarantine.path)[1] == {
        "step": 2, "epoch": 0, "key": "b", "shard": "00000.tar", "reason": "broken data stream"
    }  # fmt: skip
    assert len(quarantine) == 4


def test_one_worker_writes_and_all_count(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q.jsonl", writes=False)
    quarantine.add([entry(1, 0, "a")], seen=100)
    assert (len(quarantine), quarantine.path.exists()) == (1, False)


def test_where_all_is_well_there_is_no_file(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q.jsonl", writes=True)
    quarantine.rewind(0)
    quarantine.add([], seen=100)
    assert (len(quarantine), quarantine.path.exists()) == (0, False)


@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_what_was_met_after_a_checkpoint_is_forgotten_and_a_line_half_written_too(
    tmp_path: Path, step: int
) -> None:
    first = Quarantine(tmp_path / "q.jsonl", writes=True)
    first.add([entry(1, 0, "a"), entry(2, 0, "b"), entry(3, 0, "c")], seen=100)
    with first.path.open("ab") as file:
        file.write(b'{"step": 3, "ep')
    again = Quarantine(first.path, writes=True)
    again.rewind(step)
    assert [line["key"] for line in lines(first.path)] == ["a", "b", "c"][:step]
    assert len(again) == min(step, 3)
    again.add([entry(step + 1, 0, "d"), entry(step + 1, 1, "a")], seen=100)
    assert len(again) == len(lines(first.path)) == min(step, 3) + (2 if step == 0 else 1)


def test_a_few_are_borne_anywhere_and_one_in_a_hundred_beyond(tmp_path: Path) -> None:
    met = [entry(1, k, f"key {k}", f"0000{k % 7}.tar") for k in range(FEW + 10)]
    Quarantine(tmp_path / "a.jsonl", writes=True).add(met[:FEW], seen=20)
    Quarantine(tmp_path / "b.jsonl", writes=True).add(met, seen=1000)
    broken = Quarantine(tmp_path / "c.jsonl", writes=True)
    wanted = r"^20 of 999 samples cannot be decoded \(3 in 00000\.tar, .*, \.\.\.\); .*c\.jsonl names them; "
    with pytest.raises(DataError, match=wanted):
        broken.add(met, seen=999)
    assert len(lines(broken.path)) == 20
