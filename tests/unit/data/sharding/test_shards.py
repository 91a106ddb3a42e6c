from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from rankclip import files
from rankclip.data import images
from rankclip.data.sharding import packing, shards
from rankclip.data.sharding.spec import ShardSpec
from rankclip.errors import DataError
from tests.unit.data.crawled import GREEN, Row, encoded, lay_out, picture, rotated_by_exif
from tests.unit.data.sharding.curated import curated, sharded

PLAIN = encoded(picture(), quality=70)
ROWS = [
    Row(PLAIN),
    Row(reason="http_404"),
    Row(encoded(picture(GREEN), "PNG"), shard="00001"),
    Row(rotated_by_exif()),
    Row(encoded(picture().convert("CMYK"))),
    Row(encoded(picture((9, 9, 9)), "GIF"), shard="00001"),
]
SPEC = ShardSpec(samples_per_shard=2)
KEYS = ["000000000", "000000002", "000000003", "000000004", "000000005"]


def make(folder: Path, spec: ShardSpec = SPEC, captions: bool = True) -> Path:
    """`folder/data/shards`, made from ROWS."""
    return sharded(curated(folder / "data", ROWS, captions), folder / "work", spec)


def contents(folder: Path) -> dict[str, bytes]:
    assert (folder / "record.json").exists()
    # the record tells the state of the repository, which may change between two runs
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "record.json"}


def test_two_runs_in_two_folders_give_equal_bytes(tmp_path: Path) -> None:
    first, second = contents(make(tmp_path / "a")), contents(make(tmp_path / "b" / "c"))
    assert first == second
    tables = ["card.json", "index.parquet", "keys.txt.gz", "manifest.json", "packs.json"]
    assert sorted(first) == ["00000.tar", "00001.tar", "00002.tar", *tables]


def test_more_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = contents(make(tmp_path / "a"))
    monkeypatch.setattr("rankclip.data.processes.WORTH_SHARING", 0)
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    assert contents(make(tmp_path / "b")) == one


def test_shards_are_in_order_of_rows_with_three_members_a_sample(tmp_path: Path) -> None:
    folder = make(tmp_path)
    names = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert names == [f"{key}.{extension}" for key in KEYS for extension in ("jpg", "json", "txt")]


def test_the_index_points_at_the_images_and_describes_them(tmp_path: Path) -> None:
    folder = make(tmp_path)
    index = files.read_table(folder / "index.parquet").to_pylist()
    assert [row["key"] for row in index] == KEYS
    for row in index:
        blob = (folder / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["size"]]
        assert hashlib.sha256(blob).hexdigest() == row["sha256"]
        with images.opened(blob) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert image.size == (row["width"], row["height"]) == (48, 32)


def test_a_plain_jpeg_goes_through_unchanged(tmp_path: Path) -> None:
    with tarfile.open(make(tmp_path) / "00000.tar") as tar:
        assert tar.extractfile("000000000.jpg").read() == PLAIN
        assert tar.extractfile("000000000.txt").read() == b"caption 0"
        note = json.loads(tar.extractfile("000000000.json").read())
    assert note["url"] == "http://shapes.invalid/0.jpg"


def test_captions_are_columns_of_lists_joined_by_url(tmp_path: Path) -> None:
    index = files.read_table(make(tmp_path) / "index.parquet")
    assert index["captions.raw"].to_pylist() == [[f"caption {i}"] for i in (0, 2, 3, 4, 5)]
    assert index["captions.detail"].to_pylist() == [[], *[[f"detail of {i}"] for i in (2, 3, 4, 5)]]


def test_a_source_without_other_captions_has_the_slot_raw_alone(tmp_path: Path) -> None:
    names = files.column_names(make(tmp_path, captions=False) / "index.parquet")
    assert [name for name in names if name.startswith("captions.")] == ["captions.raw"]


def test_several_captions_for_an_image_stay_apart(tmp_path: Path) -> None:
    data = curated(tmp_path / "data", ROWS)
    slots = {"url": ["http://shapes.invalid/2.jpg"], "detail": [["one", "two"]]}
    files.write_table(data / "source" / "captions.parquet", pa.table(slots))
    index = files.read_table(sharded(data, tmp_path / "work", SPEC) / "index.parquet")
    assert index["captions.detail"].to_pylist() == [[], ["one", "two"], [], [], []]


def test_the_manifest_has_the_digests_of_all_files(tmp_path: Path) -> None:
    folder = make(tmp_path)
    manifest = files.read_json(folder / "manifest.json")
    assert manifest["samples"] == 5
    assert manifest["index_sha256"] == files.sha256(folder / "index.parquet")
    assert [shard["samples"] for shard in manifest["shards"].values()] == [2, 2, 1]
    for name, shard in manifest["shards"].items():
        assert shard["sha256"] == files.sha256(folder / name)
        assert shard["bytes"] == (folder / name).stat().st_size


def test_the_quality_changes_what_is_encoded_anew_and_nothing_else(tmp_path: Path) -> None:
    def digests(folder: Path) -> list[str]:
        return files.read_table(folder / "index.parquet")["sha256"].to_pylist()

    fine = digests(make(tmp_path / "a"))
    coarse = digests(make(tmp_path / "b", ShardSpec(samples_per_shard=2, jpeg_quality=30)))
    assert [a == b for a, b in zip(fine, coarse, strict=True)] == [True, False, False, False, False]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contents(make(tmp_path / "a"))
    done: list[str] = []

    def stopping(work: packing.ShardWork) -> packing.Packed:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(work.name)
        return packing.pack(work)

    monkeypatch.setattr(shards, "pack", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "b")
    assert not (tmp_path / "b" / "data" / "shards" / "manifest.json").exists()
    done.clear()
    assert contents(make(tmp_path / "b")) == whole
    assert done == ["00002"]
    assert [path.name for path in (tmp_path / "b" / "work" / "shards").iterdir()] == [".lock"]


def test_older_shards_do_not_stay_beside_the_new(tmp_path: Path) -> None:
    make(tmp_path, ShardSpec(samples_per_shard=1))
    assert contents(make(tmp_path)) == contents(make(tmp_path / "fresh"))


def test_a_crawl_that_changed_after_curation_is_refused(tmp_path: Path) -> None:
    data = curated(tmp_path / "data", ROWS)
    lay_out(data, [Row(encoded(picture((1, 2, 3)))), *ROWS[1:]])
    with pytest.raises(DataError, match=r"00000\.tar holds other bytes for 000000000.*dvc repro"):
        sharded(data, tmp_path / "work", SPEC)
    assert not (data / "shards" / "manifest.json").exists()


def test_a_ledger_that_accepts_nothing_is_an_error(tmp_path: Path) -> None:
    data = curated(tmp_path / "data", [Row(reason="http_404")])
    with pytest.raises(DataError, match="accepts none of its rows"):
        sharded(data, tmp_path / "work", SPEC)


def test_a_missing_ledger_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ledger\.parquet is missing.*dvc repro -f -s curate"):
        sharded(tmp_path, tmp_path / "work", SPEC)


def test_a_ledger_out_of_order_is_refused(tmp_path: Path) -> None:
    data = curated(tmp_path / "data", ROWS)
    ledger = files.read_table(data / "ledger.parquet")
    files.write_table(data / "ledger.parquet", ledger.take(pa.array([0, 2, 1, 3, 4, 5])))
    with pytest.raises(DataError, match=r"ledger\.parquet is not in order.*dvc repro -f -s curate"):
        sharded(data, tmp_path / "work", SPEC)
