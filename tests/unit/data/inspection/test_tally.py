"""Every input row is counted once, from the ledger and before there is one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from rankclip import files
from rankclip.data.inspection import tally
from rankclip.data.inspection.tally import Line
from rankclip.errors import DataError
from tests.unit.data.inspection.finished import ROWS, Row, before_curate, lay_out, rewrite

LINES = (
    Line("ok", "curate", 6),
    Line("dns", "download", 3),
    Line("bad_scheme", "ingest", 1),
    Line("http_404", "download", 1),
    Line("too_small", "curate", 1),
)


def respell(data: Path, change) -> None:
    rows = files.read_table(data / "ledger.parquet")
    files.write_table(data / "ledger.parquet", change(rows))


def test_a_ledger_is_counted_by_reason_and_flag(tmp_path: Path) -> None:
    found = tally.of_study(lay_out(tmp_path))
    assert found.lines == LINES
    assert (found.rows, found.ok, found.missing, found.indexed) == (12, 6, (), False)
    assert found.flags == {"caption": 1, "duplicate_near": 1, "too_small": 1}


def test_before_curate_what_ingest_and_download_said_is_counted(tmp_path: Path) -> None:
    found = tally.of_study(before_curate(tmp_path))
    assert found.lines == (
        Line("ok", "", 7),
        Line("dns", "download", 3),
        Line("bad_scheme", "ingest", 1),
        Line("http_404", "download", 1),
    )
    assert found.missing == ("curate",)
    assert found.rows == len(ROWS)


def test_before_the_download_only_ingest_has_refused_rows(tmp_path: Path) -> None:
    (before_curate(tmp_path) / "crawl" / "status.parquet").unlink()
    found = tally.of_study(tmp_path)
    assert found.lines == (Line("ok", "", 11), Line("bad_scheme", "ingest", 1))
    assert found.missing == ("download", "curate")


def test_before_ingest_the_line_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ingest\.json is missing; run `rankclip repro`"):
        tally.of_study(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.slice(1), "has 11 rows, 11 of them distinct, for 12 input rows"),
        (lambda table: pa.concat_tables([table.slice(1), table.slice(11)]), "12 rows, 11 of them distinct"),
        (lambda table: pa.concat_tables([table, table.slice(3, 1)]), "13 rows, 12 of them distinct"),
        (
            lambda table: table.set_column(4, "reason", pa.array(["", *table["reason"].to_pylist()[1:]])),
            "needs exactly one reason",
        ),
    ],
)
def test_a_row_lost_doubled_or_without_reason_is_told(tmp_path: Path, change, words: str) -> None:
    respell(lay_out(tmp_path), change)
    with pytest.raises(DataError, match=words) as caught:
        tally.of_ledger(tmp_path / "ledger.parquet")
    assert "\n" not in str(caught.value)


def test_a_ledger_as_it_should_be_fits_its_summary(tmp_path: Path) -> None:
    tally.require_summary(lay_out(tmp_path) / "ledger.parquet")


@pytest.mark.parametrize(
    "wrong", [{"ok": 7}, {"reasons": {"dns": 3}}, {"flags": {}}, {"input": 13}, {"input": None}]
)
def test_a_summary_that_says_otherwise_is_told(tmp_path: Path, wrong) -> None:
    rewrite(lay_out(tmp_path) / "ledger.json", **wrong)
    with pytest.raises(DataError, match=r"ledger\.json|13 input rows"):
        tally.require_summary(tmp_path / "ledger.parquet")


def test_rows_that_two_files_hold_differently_are_told(tmp_path: Path) -> None:
    path = before_curate(tmp_path) / "crawl" / "status.parquet"
    status = files.read_table(path)
    files.write_table(path, status.slice(1))
    with pytest.raises(DataError, match=r"status\.parquet has other rows than"):
        tally.so_far(tmp_path)


def test_the_ledger_is_behind_after_a_retry_and_only_then(tmp_path: Path) -> None:
    found = tally.of_study(lay_out(tmp_path))
    assert not tally.is_behind(found, tmp_path)
    path = tmp_path / "crawl" / "status.parquet"
    rows = files.read_table(path).to_pylist()
    next(row for row in rows if row["reason"] == "dns").update(reason="ok")
    files.write_table(path, pa.Table.from_pylist(rows))
    assert tally.is_behind(found, tmp_path)


def test_tars_that_were_indexed_are_told_apart_from_a_crawl(tmp_path: Path) -> None:
    rows = [Row(stage="index"), Row("decode", "index")]
    table = [
        {"row": n, "key": str(n), "reason": row.reason, "stage": row.stage} for n, row in enumerate(rows)
    ]
    files.write_table(tmp_path / "ledger.parquet", pa.Table.from_pylist(table))
    files.write_json(tmp_path / "ledger.json", {"input": 2, "ok": 1, "reasons": {"decode": 1}})
    found = tally.of_study(tmp_path)
    assert found.indexed
    assert not tally.is_behind(found, tmp_path)
