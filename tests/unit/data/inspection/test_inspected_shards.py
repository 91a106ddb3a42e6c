"""What the stages really write is found in order, shown and told, with what was joined to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rankclip import files
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.inspection import agreement, card, preview, tally, verify
from rankclip.data.sharding.spec import ShardSpec
from rankclip.data.tables.table_files import digest_of
from tests.unit.data.crawled import GREEN, Row, encoded, picture, rotated_by_exif
from tests.unit.data.indexing.tarred import indexed, sample, source, tar_folder, write_tar
from tests.unit.data.sharding.curated import curated, sharded

ROWS = [
    Row(encoded(picture(), quality=70)),
    Row(reason="http_404"),
    Row(encoded(picture(GREEN), "PNG"), shard="00001"),
    Row(rotated_by_exif()),
    Row(encoded(picture((9, 9, 9)), "GIF"), shard="00001"),
]


def made(tmp_path: Path) -> Path:
    path = tmp_path / "long.csv"
    path.write_text("url,text\nhttp://shapes.invalid/2.jpg,a field of green\nhttp://other.invalid/,nothing\n")
    values = {"path": path, "sha256": digest_of(path), "column": "url", "take": ("text",)}
    data = curated(tmp_path / "data", ROWS)
    sharded(data, tmp_path / "work", ShardSpec(samples_per_shard=3), {"long": CaptionSpec(**values)})
    return data


def test_shards_as_they_are_made_have_no_fault(tmp_path: Path) -> None:
    found = verify.run(made(tmp_path), tmp_path / "scratch", indexed=False, deep=True, sample=0)
    assert found == verify.Verified((), samples=4, shards=2, decoded=4)


def spoil(path: Path) -> None:
    """Changes a byte of an image, at the same size and with the time it had."""
    blob, times = bytearray(path.read_bytes()), path.stat()
    blob[600] ^= 0xFF
    path.write_bytes(bytes(blob))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_what_is_said_of_a_damaged_tar_mends_it(tmp_path: Path) -> None:
    data, work = made(tmp_path), tmp_path / "work"
    tar = data / "shards" / "00000.tar"
    before = tar.read_bytes()
    spoil(tar)
    found = verify.run(data, work, indexed=False, deep=True, sample=0)
    assert found.faults
    remedy = "; delete it, then run `dvc repro -f -s shard`"
    assert all(line.startswith(str(tar)) and line.endswith(remedy) for line in found.faults)
    tar.unlink()
    sharded(data, work, ShardSpec(samples_per_shard=3))
    assert tar.read_bytes() == before
    assert verify.run(data, work, indexed=False, deep=True, sample=0).faults == ()


def test_what_is_said_of_a_damaged_tar_of_ones_own_lets_it_be_studied_as_it_is(tmp_path: Path) -> None:
    spec = source(tar_folder(tmp_path / "tars"))
    work = tmp_path / "work"
    data = indexed(spec, tmp_path)
    spoil(tmp_path / "tars" / "00001.tar")
    found = verify.run(data, work, indexed=True, deep=True, sample=0)
    assert found.faults
    remedy = f"put it back as it was, or delete {work / 'index'} and run `dvc repro -f -s index`"
    assert all(remedy in line for line in found.faults)
    shutil.rmtree(work / "index")
    indexed(spec, tmp_path)
    mended = verify.run(data, work, indexed=True, deep=True, sample=0).faults
    assert not any("other bytes" in line for line in mended)


def test_tars_of_ones_own_are_found_whatever_their_names_end_in(tmp_path: Path) -> None:
    tar_folder(tmp_path / "tars", tars=2)
    (tmp_path / "tars" / "00001.tar").rename(tmp_path / "tars" / "00001.TAR")
    data = indexed(source(tmp_path / "tars"), tmp_path)
    assert verify.run(data, tmp_path / "work", indexed=True, deep=True, sample=0).faults == ()


def test_their_card_fits_their_ledger_and_is_told(tmp_path: Path) -> None:
    data = made(tmp_path)
    told = card.read(data / "shards")
    agreement.require_same_counts(told, tally.of_ledger(data / "ledger.parquet"), data / "shards")
    agreement.require_same_samples(data / "ledger.parquet", data / "shards" / "index.parquet")
    lines = card.lines(told)
    assert any(
        line.startswith("captions long") and "from long.csv: 1 of its 2 rows" in line for line in lines
    )
    assert any(line.startswith("licence") and line.endswith("for tests alone") for line in lines)


def test_the_card_of_tars_that_were_there_sends_nobody_to_download_them(tmp_path: Path) -> None:
    expected = {"rows": 4, "survival": (1.0, 1.0), "pairs": 4, "origin": "a test"}
    tar_folder(tmp_path / "tars", tars=1)
    write_tar(
        tmp_path / "tars" / "nested" / "00000.tar",
        [*sample("a", 1), *sample("b", 2), ("c.txt", b"x"), ("d.txt", b"y")],
    )
    told = card.read(indexed(source(tmp_path / "tars", expected=expected), tmp_path) / "shards")
    assert told["verdict"].startswith("low: 2 of 4 rows (50.0%)")
    assert "retry" not in told["verdict"]


def test_they_can_be_shown(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    preview.write(preview.pairs(made(tmp_path), "toy", 48, 0), out)
    assert files.sha256(out)
