"""Rows of certain reasons, a few for the eye and all as CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pytest

from rankclip.data.inspection import listing
from rankclip.errors import DataError, InputError
from tests.unit.data.inspection.finished import Row, before_curate, lay_out


def test_rows_of_a_reason_come_in_order_and_no_more_than_asked(tmp_path: Path) -> None:
    data = lay_out(tmp_path)
    assert [row["row"] for row in listing.examples(data, {"dns"}, 2)] == [7, 8]
    assert [row["row"] for row in listing.examples(data, {"dns", "http_404"}, 9)] == [6, 7, 8, 9]
    assert listing.examples(data, {"dns"}, 1)[0]["url"] == "http://gone.invalid/7.jpg"


def test_rows_that_a_check_only_reports_are_found_by_its_name(tmp_path: Path) -> None:
    (row,) = listing.examples(lay_out(tmp_path), {"duplicate_near"}, 9)
    assert (row["row"], row["reason"], row["flags"]) == (11, "ok", ["duplicate_near", "caption"])


def test_before_curate_the_rows_of_ingest_and_download_are_listed(tmp_path: Path) -> None:
    data = before_curate(tmp_path)
    assert [row["row"] for row in listing.examples(data, {"dns", "bad_scheme"}, 9)] == [5, 7, 8, 9]
    assert listing.examples(data, {"leak"}, 9) == []


def test_a_csv_holds_every_row_and_survives_any_text(tmp_path: Path) -> None:
    caption = 'a "quoted", one\nwith\u202e lines'
    data = lay_out(
        tmp_path / "data", [Row("dns", "download", caption=caption), Row(flags=("leak", "caption"))]
    )
    out = tmp_path / "some" / "rows.csv"
    assert listing.write_csv(data, (), out) == 2
    with out.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["caption"], first["reason"], first["flags"]) == (caption, "dns", "")
    assert second["flags"] == "leak caption"


def test_a_csv_that_cannot_be_made_leaves_no_part(tmp_path: Path) -> None:
    data = before_curate(tmp_path / "data")
    (data / "urls.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"urls\.parquet cannot be read"):
        listing.write_csv(data, (), tmp_path / "rows.csv")
    assert not list(tmp_path.glob("*rows*"))


def test_flags_are_looked_up_in_cut_and_empty_and_missing_lists() -> None:
    lists = pa.array([["x"], ["leak"], None, [], ["a", "leak", "leak"]], pa.list_(pa.string()))
    wanted = pa.array(["leak"])
    found = listing.flagged(pa.chunked_array([lists, lists.slice(1, 2), lists.slice(5)]), wanted)
    assert found.to_pylist() == [False, True, False, False, True, True, False]


def test_reasons_are_named_one_by_one_with_commas_or_by_patterns() -> None:
    assert listing.named(["dns, timeout", "tls"]) == {"dns", "timeout", "tls"}
    assert listing.named(["http_50?"]) == {"http_500", "http_502", "http_503", "http_504"}
    assert listing.named(["http_4xx"]) == {"http_4xx"}
    assert listing.named([]) == frozenset()


@pytest.mark.parametrize(
    ("text", "words"),
    [("dsn", "did you mean dns"), ("dns,,tls", "'' is no reason"), ("zzz", "explains them all")],
)
def test_an_unknown_reason_is_refused_with_what_was_meant(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        listing.named([text])
