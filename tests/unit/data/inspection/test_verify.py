"""A data set in order has nothing said of it; whatever is spoiled is named in one line with its remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from rankclip import files
from rankclip.data.inspection import verify
from rankclip.data.sharding import pool
from rankclip.errors import DataError
from tests.unit.data.inspection.finished import ROWS, Row, lay_out, rewrite


def verified(data: Path, deep: bool = True, sample: int = 100, indexed: bool = False) -> verify.Verified:
    return verify.run(data, data / "scratch", indexed=indexed, deep=deep, sample=sample)


def faults(data: Path, **how) -> tuple[str, ...]:
    found = verified(data, **how).faults
    assert all("\n" not in line and "; " in line for line in found)
    return found


def spoil(path: Path, offset: int, byte: bytes = b"\xff") -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(byte)


def change_index(data: Path, change) -> None:
    """Changes rows of the index, and its digest where that is told."""
    path = data / "shards" / "index.parquet"
    table = files.read_table(path)
    files.write_table(path, pa.Table.from_pylist(change(table.to_pylist()), table.schema))
    rewrite(data / "shards" / "manifest.json", index_sha256=files.sha256(path))
    card = json.loads((data / "shards" / "card.json").read_text())
    card["digests"] = {"list": None, "index": files.sha256(path), "pool": pool.digest_of(path)}
    files.write_json(data / "shards" / "card.json", card)


@pytest.mark.parametrize("deep", [True, False])
def test_a_data_set_in_order_has_no_fault(tmp_path: Path, deep: bool) -> None:
    found = verified(lay_out(tmp_path), deep)
    assert found == verify.Verified((), samples=6, shards=2, decoded=6)


def test_a_sample_is_decoded_where_not_all_is_asked_for(tmp_path: Path) -> None:
    assert verified(lay_out(tmp_path), deep=False, sample=3).decoded == 3
    assert verified(tmp_path, deep=False, sample=0).decoded == 0


def test_without_shards_there_is_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json is missing; run `rankclip repro`"):
        verified(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", "no JSON"])
def test_a_manifest_that_is_none_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (lay_out(tmp_path) / "shards" / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json (does not list|cannot be read)"):
        verified(tmp_path)


def test_a_tar_that_is_gone_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    (lay_out(tmp_path) / "shards" / "00000.tar").unlink()
    (line,) = faults(tmp_path)
    assert line.endswith("00000.tar is missing; run `dvc repro -f -s shard`")
    assert verified(tmp_path).decoded == 2


def test_tars_of_the_users_own_are_to_be_put_back(tmp_path: Path) -> None:
    (lay_out(tmp_path) / "shards" / "00000.tar").unlink()
    (line,) = faults(tmp_path, indexed=True)
    assert line.endswith("is missing; put it back as it was, or run `dvc repro -f -s index`")


def test_a_tar_cut_short_is_named(tmp_path: Path) -> None:
    path = lay_out(tmp_path) / "shards" / "00001.tar"
    path.write_bytes(path.read_bytes()[:-512])
    (line,) = faults(tmp_path)
    assert "00001.tar has 9728 bytes, manifest.json says 10240" in line


def test_one_changed_byte_is_found_by_its_image_and_by_its_tar(tmp_path: Path) -> None:
    path = lay_out(tmp_path) / "shards" / "00000.tar"
    spoil(path, 512 + 300)
    tar, image = faults(tmp_path)
    assert "00000.tar has other bytes than manifest.json says" in tar
    assert "1 sample with other bytes than index.parquet says, first 000000000" in image
    assert len(faults(tmp_path, deep=False)) == 1


def test_a_byte_between_images_is_found_when_every_byte_is_read(tmp_path: Path) -> None:
    path = lay_out(tmp_path) / "shards" / "00000.tar"
    spoil(path, path.stat().st_size - 1)
    assert faults(tmp_path, deep=False) == ()
    (line,) = faults(tmp_path)
    assert "has other bytes than manifest.json says" in line


def test_another_index_than_the_manifests_is_told(tmp_path: Path) -> None:
    path = lay_out(tmp_path) / "shards" / "index.parquet"
    files.write_table(path, files.read_table(path).append_column("more", pa.nulls(6)))
    (line,) = faults(tmp_path)
    assert "index.parquet is not the one that manifest.json describes" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offset": 10**9}, "1 sample with a place outside of its tar, first 000000002"),
        ({"offset": -1}, "a place outside of its tar"),
        ({"size": 0}, "a place outside of its tar"),
        ({"captions.raw": []}, "1 sample with no caption in slot raw, first 000000002"),
        ({"captions.raw": [" \t", ""]}, "no caption in slot raw"),
        ({"captions.raw": None}, "no caption in slot raw"),
        ({"width": 0}, "no width or height"),
        ({"height": 31}, "another width or height than index.parquet says"),
        ({"shard": "00009.tar"}, "a tar that manifest.json does not name"),
        ({"shard": None}, "a tar that manifest.json does not name"),
        ({"sha256": "0" * 64}, "other bytes than index.parquet says"),
        ({"key": "other"}, "differ from sample 2 on"),
    ],
)
def test_a_wrong_row_of_the_index_is_named(tmp_path: Path, change, words: str) -> None:
    def changed(rows):
        rows[2] |= change
        return rows

    change_index(lay_out(tmp_path), changed)
    assert any(words in line for line in faults(tmp_path))


def test_a_sample_too_many_or_too_few_is_told(tmp_path: Path) -> None:
    change_index(lay_out(tmp_path), lambda rows: rows[:-1])
    lines = faults(tmp_path)
    assert any("holds 5 samples but" in line and "accepts 6" in line for line in lines)
    assert any("has 1 samples in 00001.tar, manifest.json says 2" in line for line in lines)


def test_many_wrong_rows_are_one_line(tmp_path: Path) -> None:
    change_index(lay_out(tmp_path), lambda rows: [row | {"captions.raw": []} for row in rows])
    (line,) = faults(tmp_path)
    assert "6 samples with no caption in slot raw, first 000000000" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": 7}, "says 7 samples, manifest.json and ledger.json say 6"),
        ({"bytes": 1}, "says 1 bytes"),
        ({"ok": 5}, "says 5 ok"),
    ],
)
def test_a_card_of_other_data_is_told(tmp_path: Path, change, words: str) -> None:
    rewrite(lay_out(tmp_path) / "shards" / "card.json", **change)
    (line,) = faults(tmp_path)
    assert words in line


@pytest.mark.parametrize(
    ("name", "words"),
    [("index", "is of another index.parquet"), ("pool", "has another digest of keys and images")],
)
def test_a_digest_of_the_card_that_is_wrong_is_told(tmp_path: Path, name: str, words: str) -> None:
    path = lay_out(tmp_path) / "shards" / "card.json"
    rewrite(path, digests=files.read_json(path)["digests"] | {name: "0" * 64})
    (line,) = faults(tmp_path)
    assert words in line


def test_a_ledger_that_does_not_add_up_is_told(tmp_path: Path) -> None:
    path = lay_out(tmp_path) / "ledger.parquet"
    files.write_table(path, files.read_table(path).slice(1))
    lines = faults(tmp_path)
    assert any("has 11 rows, 11 of them distinct, for 12 input rows" in line for line in lines)
    assert any("holds 6 samples but" in line and "accepts 5" in line for line in lines)


@pytest.mark.parametrize(
    "name", ["ledger.parquet", "ledger.json", "shards/index.parquet", "shards/card.json"]
)
def test_a_file_that_is_gone_is_named(tmp_path: Path, name: str) -> None:
    (lay_out(tmp_path) / name).unlink()
    assert any(f"{name.split('/')[-1]} is missing" in line for line in faults(tmp_path))


def test_an_image_that_does_not_decode_is_named_though_its_digest_is_right(tmp_path: Path) -> None:
    lay_out(tmp_path, [*ROWS, Row(blob=b"\xff\xd8\xff\xe0 no image")])
    (line,) = faults(tmp_path)
    assert "1 sample with an image that does not decode (OSError), first 000000012" in line


def test_more_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(lay_out(tmp_path) / "shards" / "00001.tar", 512 + 300)
    expected = verified(tmp_path)
    monkeypatch.setattr("rankclip.data.processes.WORTH_SHARING", 0)
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    assert verified(tmp_path) == expected
