"""Parts of a list: drawn by a rule, or named in a file."""

from __future__ import annotations

import gzip
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from rankclip import files
from rankclip.data import bars
from rankclip.data.ingestion import ingest
from rankclip.data.ingestion.form import Columns
from rankclip.data.ingestion.spec import IngestSpec, Subset
from rankclip.data.tables import split
from rankclip.errors import InputError
from tests.unit.data.ingestion.lists import Written, tables

SPEC = IngestSpec()
LINES = [b"caption %d\thttp://a.example/%d.jpg\n" % (row, row) for row in range(40)]
LINES[3] = b"no tab\n"
LINES[5] = b"a server\tftp://a.example/5.jpg\n"
LINES[7] = LINES[6]  # a repeated URL
CONTENT = b"".join(LINES)
ANY = "0" * 64


def ingested(folder: Path, subset: Subset, content: bytes = CONTENT) -> dict[str, str]:
    """Key -> what came of it."""
    ingest.run(SPEC, Written(content, subset=subset), folder)
    urls, refused = tables(folder)
    for row in urls:
        assert row["caption"] == f"caption {6 if row['key'] == '000000007' else int(row['key'])}"
    return {row["key"]: row.get("reason", "ok") for row in sorted(urls + refused, key=lambda row: row["row"])}


def names(folder: Path, text: str, name: str = "keys.txt") -> Subset:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return Subset(path=path, sha256=ANY)


def test_as_many_rows_are_drawn_as_asked_for_good_or_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "ROWS", 7)
    drawn = ingested(tmp_path, Subset(pairs=25, seed=3))
    assert (len(drawn), list(drawn)) == (25, sorted(drawn))
    said = files.read_json(tmp_path / "ingest.json")
    assert (said["input"], said["subset"]["pairs"], said["subset"]["of"]) == (25, 25, 40)


def test_another_seed_draws_other_rows_and_more_rows_hold_the_fewer(tmp_path: Path) -> None:
    few = ingested(tmp_path / "few", Subset(pairs=10))
    more = ingested(tmp_path / "more", Subset(pairs=20))
    other = ingested(tmp_path / "other", Subset(pairs=10, seed=1))
    assert set(few) < set(more)
    assert set(other) != set(few)


def test_all_rows_drawn_are_the_whole_list(tmp_path: Path) -> None:
    ingest.run(SPEC, Written(CONTENT), tmp_path / "whole")
    ingested(tmp_path / "drawn", Subset(pairs=40))
    for table in ("urls", "refused"):
        whole, drawn = (files.sha256(tmp_path / part / f"{table}.parquet") for part in ("whole", "drawn"))
        assert whole == drawn


def test_the_file_that_would_name_the_rows_drawn_names_them(tmp_path: Path) -> None:
    drawn = ingested(tmp_path / "drawn", Subset(pairs=15))
    subset = names(tmp_path, "".join(f"{key}\n" for key in drawn))
    assert subset.path is not None
    stated = files.read_json(tmp_path / "drawn" / "ingest.json")["subset"]["sha256"]
    assert files.sha256(subset.path) == stated
    assert ingested(tmp_path / "named", subset) == drawn


def test_a_digest_that_is_stated_of_the_keys_is_checked(tmp_path: Path) -> None:
    ingested(tmp_path, Subset(pairs=15))
    right = files.read_json(tmp_path / "ingest.json")["subset"]["sha256"]
    ingested(tmp_path, Subset(pairs=15, sha256=right))
    with pytest.raises(
        InputError,
        match=rf"15 of 30 rows .* sha256 \w{{64}}, not {right} as stated; .* drop source.subset.sha256",
    ):
        ingested(tmp_path, Subset(pairs=15, sha256=right), b"".join(LINES[:30]))


def test_more_rows_than_there_are_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source.subset.pairs = 41, but the list has 40 rows"):
        ingested(tmp_path, Subset(pairs=41))


@pytest.mark.parametrize("name", ["keys.txt", "keys.txt.gz"])
def test_rows_are_named_by_their_keys_or_their_urls(tmp_path: Path, name: str) -> None:
    text = "000000003\nhttp://a.example/9.jpg\r\n\n 000000005 \nhttp://a.example/6.jpg\n7\nhttp://other/"
    found = ingested(tmp_path, names(tmp_path, text, name))
    assert found == {
        "000000003": "malformed_row",
        "000000005": "bad_scheme",
        "000000006": "ok",
        "000000007": "duplicate_url",
        "000000009": "ok",
    }
    assert files.read_json(tmp_path / "ingest.json")["subset"] == {"named": 6, "not_in_list": 2}


def test_rows_are_named_by_the_keys_of_the_list(tmp_path: Path) -> None:
    content = b"uid\turl\tcaption\na7\thttp://a.example/1\tone\nb8\thttp://a.example/2\ttwo\n"
    source = Written(content, Columns("tsv", "url", "caption", "uid"), subset=names(tmp_path, "b8\n"))
    ingest.run(SPEC, source, tmp_path)
    (row,), _ = tables(tmp_path)
    assert (row["row"], row["key"], row["source_key"], row["caption"]) == (0, "000000001", "b8", "two")


def test_in_a_list_with_keys_of_nine_digits_a_name_is_not_taken_for_the_number_of_a_row(
    tmp_path: Path,
) -> None:
    rows = [("000000002", "one"), ("000000001", "two"), ("", "three"), ("000000009", "four")]
    lines = "".join(f"{key}\thttp://a.example/{said}\t{said}\n" for key, said in rows)
    content = f"uid\turl\tcaption\n{lines}broken\n".encode()
    subset = names(tmp_path, "000000001\n000000002\n000000004\n")
    ingest.run(SPEC, Written(content, Columns("tsv", "url", "caption", "uid"), subset=subset), tmp_path)
    urls, refused = tables(tmp_path)
    assert ([row["caption"] for row in urls], refused) == (["one", "two", "three"], [])
    assert files.read_json(tmp_path / "ingest.json")["subset"] == {"named": 3, "not_in_list": 1}


def test_a_file_of_names_is_read_without_counting_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "count", lambda *_: pytest.fail("counted"))
    assert ingested(tmp_path, names(tmp_path, "000000004\n")) == {"000000004": "ok"}


def test_every_pass_over_the_list_has_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []

    def bar(title: str, *of: Any) -> AbstractContextManager[bars.Advance]:
        titles.append(title)
        return bars.bar(title, *of)

    monkeypatch.setattr(ingest, "bar", bar)
    ingested(tmp_path, Subset(pairs=3))
    assert titles == ["count", "ingest"]


@pytest.mark.parametrize("text", ["", "\n\n", "http://elsewhere.example/\n"])
def test_a_file_that_names_no_row_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        InputError, match=r"keys.txt: none of its \d keys or URLs is in the list; give a line each: URLs"
    ):
        ingested(tmp_path, names(tmp_path, text))


def test_a_file_without_line_ends_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"keys.txt has a line of 65,536 bytes; give a key or URL"):
        ingested(tmp_path, names(tmp_path, "x" * 10**7))
