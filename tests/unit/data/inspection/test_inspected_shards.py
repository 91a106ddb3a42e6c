"""What the stages really write is found in order, shown and told, with what was joined to it."""

from __future__ import annotations

from pathlib import Path

from rankclip import files
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.captions.table_files import digest_of
from rankclip.data.inspection import agreement, card, preview, tally, verify
from rankclip.data.sharding.spec import ShardSpec
from tests.unit.data.crawled import GREEN, Row, encoded, picture, rotated_by_exif
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


def test_they_can_be_shown(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    preview.write(preview.pairs(made(tmp_path), "toy", 48, 0), out)
    assert files.sha256(out)
