from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from rankclip import files
from rankclip.data.curation import ledger
from rankclip.errors import DataError


def rows(*reasons: str, start: int = 0, **columns: Any) -> pa.Table:
    texts = dict.fromkeys(("key", "url", "caption", "stage", "detail", "sha256", "shard"), "")
    filled = {**texts, "width": 0, "height": 0, "flags": [], **columns}
    told = [{"row": start + at, "reason": reason, **filled} for at, reason in enumerate(reasons)]
    return pa.Table.from_pylist(told, ledger.SCHEMA)


def test_the_summary_adds_up(tmp_path: Path) -> None:
    tables = [rows("ok", "dns", flags=["leak"]), rows("dns", "leak", start=2)]
    summary = ledger.write(tmp_path, tables, 4, ["aspect", "leak"], "mend it")
    assert summary == files.read_json(tmp_path / "ledger.json")
    assert summary == {
        "input": 4,
        "ok": 1,
        "survival": 0.25,
        "reasons": {"dns": 2, "leak": 1},
        "flags": {"aspect": 0, "leak": 2},
    }
    assert files.read_table(tmp_path / "ledger.parquet").equals(pa.concat_tables(tables))


def test_an_empty_input_survives_as_nothing(tmp_path: Path) -> None:
    assert ledger.write(tmp_path, [], 0, [], "mend it")["survival"] == 0.0
    assert files.read_table(tmp_path / "ledger.parquet").schema == ledger.SCHEMA


def test_row_groups_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "GROUP_ROWS", 2)
    ledger.write(tmp_path, [rows(*["ok"] * 5)], 5, [], "mend it")
    assert parquet.read_metadata(tmp_path / "ledger.parquet").num_row_groups == 3


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([rows("ok"), rows("ok", start=2)], "the rows after 1 are not 1, 2"),
        ([rows("ok", "ok"), rows("ok", start=1)], "the rows after 2 are not 2, 3"),
        ([rows("ok", "ok")], "2 rows of 3 reached"),
        ([rows("ok", "ok", "luck")], "unknown reasons: luck"),
        ([rows("ok", "ok", "ok").set_column(5, "reason", pa.nulls(3, pa.string()))], "unknown reasons: None"),
        ([rows("ok", "ok", "ok", flags=["ugly"])], "unknown flags: ugly"),
    ],
)
def test_a_ledger_that_does_not_add_up_is_not_written(
    tmp_path: Path, tables: list[pa.Table], said: str
) -> None:
    with pytest.raises(DataError, match=f"{said}.*; mend it$"):
        ledger.write(tmp_path, tables, 3, ["leak"], "mend it")
    assert not list(tmp_path.iterdir())
