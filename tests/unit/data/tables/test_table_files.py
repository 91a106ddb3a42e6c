from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from rankclip import files
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.tables.table_files import digest_of, format_of, tables_at
from rankclip.errors import InputError


def test_the_suffix_says_the_format() -> None:
    names = [
        "a.csv",
        "a.CSV.gz",
        "a.b.tsv",
        "x.jsonl.gz",
        "x.parquet",
        "x.parquet.gz",
        "x.json",
        "csv",
        "x.gz",
    ]
    assert [format_of(Path(name)) for name in names] == [
        "csv", "csv", "tsv", "jsonl", "parquet", None, None, None, None
    ]  # fmt: skip


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"url,a\n")
    assert digest_of(path) == hashlib.sha256(b"url,a\n").hexdigest()


def test_the_digest_of_a_folder_is_that_of_its_tables_wherever_it_lies(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "data").mkdir(parents=True)
        (tmp_path / place / "data" / "1.csv").write_text("url,a\n")
        (tmp_path / place / "0.csv").write_text("url,a\nb,c\n")
    (tmp_path / "two" / "README.md").write_text("hello")
    (tmp_path / "two" / ".cache").mkdir()
    (tmp_path / "two" / ".cache" / "x.csv").write_text("url,a\n")
    one = digest_of(tmp_path / "one")
    assert one == digest_of(tmp_path / "two")
    (tmp_path / "two" / "0.csv").rename(tmp_path / "two" / "2.csv")
    assert digest_of(tmp_path / "two") != one
    assert [path.name for path, _ in tables_at(tmp_path / "one", "captions")] == ["0.csv", "1.csv"]


def test_what_is_no_table_is_named_with_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.csv is missing; put the table there"):
        digest_of(tmp_path / "missing.csv")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"a\.txt is no table; give one of csv, tsv, jsonl, parquet"):
        digest_of(tmp_path / "a.txt")
    with pytest.raises(InputError, match="is no table"):
        digest_of(tmp_path)
    files.write_text(tmp_path / "a.csv", "url\n")
    files.write_text(tmp_path / "a.tsv", "url\n")
    with pytest.raises(InputError, match=r"several formats \(csv, tsv\)"):
        digest_of(tmp_path)


@pytest.mark.parametrize("take", [[], ["a", "a"], ["a", "url"], [""]])
def test_a_column_is_taken_once_and_is_not_the_key(take: list[str]) -> None:
    with pytest.raises(ValidationError):
        CaptionSpec.model_validate({"path": "t.csv", "sha256": "0" * 64, "column": "url", "take": take})
