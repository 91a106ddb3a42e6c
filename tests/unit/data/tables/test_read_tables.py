"""Tables as others publish them, whole and broken."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data.ingestion.form import Format
from rankclip.data.tables import comma, objects, read, streams
from rankclip.errors import InputError

Row = dict[str, Any]
ROWS: list[Row] = [
    {"id": "a1", "url": "http://a.example/1.jpg", "caption": "a red square, on white"},
    {"id": "a2", "url": "http://a.example/2.jpg", "caption": 'says "hello"'},
    {"id": "a3", "url": "http://a.example/3.jpg", "caption": "café, ünïcode ✓"},
    {"id": "a4", "url": "", "caption": ""},
]


def as_csv(rows: list[Row]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_tsv(rows: list[Row]) -> bytes:
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def as_jsonl(rows: list[Row]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def as_parquet(rows: list[Row]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


WRITERS: dict[Format, Callable[[list[Row]], bytes]] = {
    "csv": as_csv,
    "tsv": as_tsv,
    "jsonl": as_jsonl,
    "parquet": as_parquet,
}


def found(path: Path, content: bytes, format: Format, *columns: str, **kinds: Any) -> dict[int, Any]:
    """Row -> its values, or the reason why it cannot be read; each row once, in order."""
    path.write_bytes(content)
    result: dict[int, Any] = {}
    for part in read.read(path, format, columns or ("url", "caption"), **kinds):
        assert part.rows.tolist() == sorted(part.rows.tolist())
        assert len(part.rows) == len(part.table)
        assert part.table.column_names == list(columns or ("url", "caption"))
        values = zip(*(part.table[name].to_pylist() for name in part.table.column_names), strict=True)
        result |= dict(zip(part.rows.tolist(), values, strict=True))
        result |= {each.row: str(each.reason) for each in part.broken}
        assert all(each.detail.isprintable() and len(each.detail) <= 200 for each in part.broken)
    assert sorted(result) == list(range(len(result)))
    return {row: result[row] for row in sorted(result)}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("format", WRITERS)
def test_every_format_gives_the_same_rows_whatever_the_blocks(
    tmp_path: Path, format: Format, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if packed and format == "parquet":
        return
    content = WRITERS[format](ROWS)
    path = tmp_path / f"list.{format}{'.gz' if packed else ''}"
    monkeypatch.setattr(streams, "BLOCK", 50)
    monkeypatch.setattr(read, "LONGEST", 200)
    rows = found(path, gzip.compress(content) if packed else content, format, "caption", "id")
    assert rows == {at: (row["caption"], row["id"]) for at, row in enumerate(ROWS)}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(rows=st.lists(st.fixed_dictionaries({"url": TEXT, "caption": TEXT}), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back_from_every_format_that_can_hold_it(
    rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = [(row["url"], row["caption"]) for row in rows]
    folder = tmp_path_factory.mktemp("tables")
    for format in ("csv", "jsonl", "parquet"):
        rows_found = found(folder / f"list.{format}", WRITERS[format](rows), format)
        assert list(rows_found.values()) == expected


def test_a_quoted_text_may_hold_line_feeds_commas_and_quotes(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf"url",caption\r\n\r\nu1,"two\nlines, ""quoted"""\r\nu2,plain\r\n'
    rows = found(tmp_path / "list.csv", content, "csv")
    assert rows == {0: ("u1", 'two\nlines, "quoted"'), 1: ("u2", "plain")}


@pytest.mark.parametrize("text", ["é", "✓", "𝄞", "\n", '"'])
def test_texts_may_lie_across_blocks(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK", 97)
    monkeypatch.setattr(comma, "ROWS", 7)
    rows = [{"url": f"u{n}", "caption": text * (n % 20)} for n in range(300)]
    found_rows = found(tmp_path / "list.csv", as_csv(rows), "csv")
    assert list(found_rows.values()) == [(row["url"], row["caption"]) for row in rows]


def test_rows_of_csv_that_are_broken_are_told_with_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comma, "ROWS", 7)
    good = [b"u%d,c\n" % n for n in range(60)]
    bad = {0: b"only one\n", 7: b"a,b,c\n", 8: b"\xff\n", 20: b"u,caf\xff\n", 30: b"u,c\rv,d\n"}
    bad |= {40: b"u," + b"c" * 2**18 + b"\n", 50: b"u," + b"c" * 2**21 + b"\n", 59: b'"u\n,c",d,e\n'}
    lines = [bad.get(row, line) for row, line in enumerate(good)]
    rows = found(tmp_path / "list.csv", b"url,caption\n" + b"".join(lines), "csv")
    broken = {row: reason for row, reason in rows.items() if isinstance(reason, str)}
    reasons = {row: "bad_encoding" if row in (8, 20) else "malformed_row" for row in bad}
    assert broken == reasons
    assert all(rows[row] == (f"u{row}", "c") for row in rows if row not in broken)


@pytest.mark.parametrize(
    ("row", "opens", "closes"),
    [
        (1000, b'u,"not closed\n', b"u,c\n"),
        (1000, b'u,"not closed\n', b'u,"closed, and ""so"" on"\n'),
        (1000, b'u,"closed" too early\n', b"u,c\n"),
        (2999, b'u,"not closed\n', b""),
        (2990, b'u,"not closed\n', b'u,"not either\n'),
    ],
)
def test_a_quote_that_is_not_closed_costs_its_row_alone(
    tmp_path: Path, row: int, opens: bytes, closes: bytes
) -> None:
    lines = [b"u%d,c%s\n" % (n, b"c" * 100) for n in range(3000)]
    lines[row : row + 2] = [opens, closes]
    rows = found(tmp_path / "list.csv", b"url,caption\n" + b"".join(lines), "csv")
    broken = [each for each, values in rows.items() if values == "malformed_row"]
    assert broken == [row] + ([row + 1] if b"either" in closes else [])
    others = [each for each in range(len(rows)) if each not in (row, row + 1)]
    assert [rows[each] for each in others] == [(f"u{each}", "c" * 101) for each in others]
    assert len(rows) == 3000


def test_rows_of_tsv_that_are_broken_are_told_with_their_numbers(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbfid\turl\tcaption\r\n1\tu1\t"c\r\n2\tu2\n\n3\tu3\tc\0\n4\t\xff\tc\n5\tu5\tc'
    rows = found(tmp_path / "list.tsv", content, "tsv")
    reasons = ["malformed_row", "malformed_row", "malformed_row", "bad_encoding"]
    assert list(rows.values()) == [("u1", '"c'), *reasons, ("u5", "c")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"url": "u", "caption": "c"}', ("u", "c")),
        (b'{"caption": "c"}', (None, "c")),
        (b'{"url": null, "caption": "c", "more": [1]}', (None, "c")),
        (b'{"url": 3, "caption": "c"}', "malformed_row"),
        (b'{"url": ["u"], "caption": "c"}', "malformed_row"),
        (b'{"url": "u", "caption": "c"', "malformed_row"),
        (b"[1, 2]", "malformed_row"),
        (b"7" * 5000, "malformed_row"),
        (b"[" * 100_000, "malformed_row"),
        (b'{"url": "u", "caption": "\\ud800"}', "bad_encoding"),
        (b'{"url": "u", "caption": "\xff"}', "bad_encoding"),
        (b'{"url": "u", "caption": "' + b"c" * 2**20 + b'"}', "caption_too_long"),
    ],
)
def test_a_line_of_jsonl_is_read_or_told_of(
    tmp_path: Path, line: bytes, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "ROWS", 1)  # each is looked at without another that is wrong
    before, after = b'{"url": "a", "caption": "b"}\n\n', b'\n{"url": "y", "caption": "z"}'
    rows = found(tmp_path / "list.jsonl", before + line + after, "jsonl")
    assert rows == {0: ("a", "b"), 1: expected, 2: ("y", "z")}


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "c"], pa.large_string()),
        pa.array(["a", None, "c"]).dictionary_encode(),
        pa.array([b"a", None, b"c"], pa.binary()),
    ],
    ids=lambda column: str(column.type)[:10],
)
def test_texts_of_parquet_may_be_stored_in_any_way(tmp_path: Path, column: pa.Array) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"url": column}), path)
    assert found(path, path.read_bytes(), "parquet", "url") == {0: ("a",), 1: (None,), 2: ("c",)}


def test_a_text_of_parquet_that_is_not_utf8_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"url": pa.array([b"a", b"\xff", b"c"], pa.binary())}), path)
    assert found(path, path.read_bytes(), "parquet", "url") == {0: ("a",), 1: "bad_encoding", 2: ("c",)}


def test_whole_numbers_are_keys_and_nothing_else(tmp_path: Path) -> None:
    rows: list[Row] = [{"uid": 7, "url": "u"}, {"uid": 10**12, "url": "v"}]
    path = tmp_path / "list"
    for format in ("jsonl", "parquet"):
        content = WRITERS[format](rows)
        as_keys = found(path, content, format, "uid", "url", keys=["uid"])
        assert as_keys == {0: ("7", "u"), 1: ("1000000000000", "v")}
    with pytest.raises(InputError, match=r"column uid of .*list holds int64, no texts; name another column"):
        found(path, as_parquet(rows), "parquet", "uid")


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_lists_of_texts_come_as_lists_where_they_are_asked_for(tmp_path: Path, format: Format) -> None:
    rows: list[Row] = [
        {"url": "u", "more": ["a", None]},
        {"url": "v", "more": None},
        {"url": "w", "more": []},
    ]
    content = WRITERS[format](rows)
    path = tmp_path / "list"
    assert found(path, content, format, "more", lists=["more"]) == {0: (["a", None],), 1: (None,), 2: ([],)}
    assert found(path, content, format, "url", lists=["url"]) == {0: (["u"],), 1: (["v"],), 2: (["w"],)}


@pytest.mark.parametrize("format", WRITERS)
def test_a_column_that_is_missing_is_told_with_those_there_are(tmp_path: Path, format: Format) -> None:
    path = tmp_path / f"list.{format}"
    with pytest.raises(InputError) as told:
        found(path, WRITERS[format](ROWS), format, "URL", "caption")
    assert str(told.value) == f"{path} has no column URL; choose among those it has: id, url, caption"


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("csv", b"url,caption,url\nu,c,v\n"),
        ("tsv", b"url\tcaption\turl\nu\tc\tv\n"),
    ],
)
def test_a_column_that_stands_twice_is_refused(tmp_path: Path, format: Format, content: bytes) -> None:
    with pytest.raises(InputError, match=r"has more than one column url; rename all but one"):
        found(tmp_path / "list", content, format)


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\xff\xfe\0\0" * 9, b"PAR1"], ids=["empty", "blank", "odd", "PAR1"]
)
def test_what_is_no_table_is_an_error_in_one_line(tmp_path: Path, format: Format, content: bytes) -> None:
    with pytest.raises(InputError) as told:
        found(tmp_path / "list", content, format)
    assert "\n" not in str(told.value)
    assert "list" in str(told.value)


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl"])
def test_a_compressed_table_that_was_cut_off_is_an_error(tmp_path: Path, format: Format) -> None:
    content = gzip.compress(WRITERS[format](ROWS * 200))
    with pytest.raises(InputError, match=r"cannot be read \(.*\); get a whole copy of it"):
        found(tmp_path / f"list.{format}.gz", content[:-20], format)


def test_members_of_a_compressed_table_are_read_one_after_the_other(tmp_path: Path) -> None:
    content = b"".join(gzip.compress(line) for line in as_tsv(ROWS).splitlines(keepends=True))
    assert len(found(tmp_path / "list.tsv.gz", content, "tsv")) == len(ROWS)
