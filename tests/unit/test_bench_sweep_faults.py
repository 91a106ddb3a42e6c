"""What the campaigns against sweeps write down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import sweep_faults
from bench.sweep_faults import Row


def test_a_campaign_that_is_measured_again_keeps_the_rows_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results" / "found.json"
    crashes, drivers = (
        Row(name, 8, {"finished": 8}, 2, 9.0, 0.0, 0, True) for name in ("crashes", "killed drivers")
    )
    monkeypatch.setattr(sweep_faults, "commit", lambda: "first")
    sweep_faults.write([crashes, drivers], path)
    monkeypatch.setattr(sweep_faults, "commit", lambda: "second")
    sweep_faults.write([crashes], path)
    rows = json.loads(path.read_text())["rows"]
    assert [(row["campaign"], row["commit"]) for row in rows] == [
        ("crashes", "second"),
        ("killed drivers", "first"),
    ]
