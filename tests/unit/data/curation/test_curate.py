from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from rankclip import files, storage
from rankclip.data.curation import curate
from rankclip.data.curation.spec import CurateSpec
from rankclip.errors import DataError
from tests.unit.data.crawled import GREEN, Row, encoded, lay_out, picture, rotated_by_exif
from tests.unit.data.curation.scenes import copies, scene

RED_JPEG, GREEN_PNG = encoded(picture()), encoded(picture(GREEN), "PNG")

ROWS = [
    Row(RED_JPEG),
    Row(reason="empty_caption", stage="ingest"),
    Row(reason="http_404"),
    Row(RED_JPEG, shard="00001"),
    Row(RED_JPEG[:-200]),
    Row(GREEN_PNG, shard="00001"),
    Row(rotated_by_exif()),
    Row(encoded(picture(size=(8, 8)), "PNG")),
    Row(encoded(picture(size=(200, 20)), "PNG")),
    Row(encoded(picture(size=(300, 300)), "PNG")),
    Row(RED_JPEG),
    Row(reason="bad_encoding", stage="ingest"),
]
EXPECTED = [
    "ok",
    "empty_caption",
    "http_404",
    "duplicate_exact",
    "decode",
    "ok",
    "ok",
    "too_small",
    "aspect",
    "too_large_pixels",
    "duplicate_exact",
    "bad_encoding",
]
SPEC = CurateSpec(max_pixels=80_000, remove=("too_small", "aspect", "duplicate_exact"))


def ledger(data: Path, spec: CurateSpec = SPEC) -> list[dict[str, Any]]:
    curate.run(spec, data, data / "work")
    rows: list[dict[str, Any]] = files.read_table(data / "ledger.parquet").to_pylist()
    return rows


def test_every_input_row_ends_in_its_reason(tmp_path: Path) -> None:
    rows = ledger(lay_out(tmp_path, ROWS))
    assert [row["row"] for row in rows] == list(range(len(ROWS)))
    assert [row["reason"] for row in rows] == EXPECTED
    stages = {"empty_caption": "ingest", "bad_encoding": "ingest", "http_404": "download"}
    assert [row["stage"] for row in rows] == [stages.get(reason, "curate") for reason in EXPECTED]


def test_the_counts_add_up_to_the_input(tmp_path: Path) -> None:
    ledger(lay_out(tmp_path, ROWS))
    summary = files.read_json(tmp_path / "ledger.json")
    assert summary["input"] == len(ROWS) == summary["ok"] + sum(summary["reasons"].values())
    assert summary["reasons"]["duplicate_exact"] == 2


def test_of_equal_bytes_the_lowest_row_stays_and_the_others_name_it(tmp_path: Path) -> None:
    rows = ledger(lay_out(tmp_path, ROWS))
    assert rows[0]["reason"] == "ok"
    assert {rows[3]["detail"], rows[10]["detail"]} == {"same bytes as 000000000"}


def test_what_is_not_removed_is_told_all_the_same(tmp_path: Path) -> None:
    removed = ledger(lay_out(tmp_path, ROWS))
    flags = files.read_json(tmp_path / "ledger.json")["flags"]
    reported = ledger(tmp_path, SPEC.model_copy(update={"remove": ()}))
    assert files.read_json(tmp_path / "ledger.json")["flags"] == flags
    assert [row["flags"] for row in reported] == [row["flags"] for row in removed]
    assert [row["detail"] for row in reported] == [row["detail"] for row in removed]
    told = {"too_small", "aspect", "duplicate_exact"}
    assert [row["reason"] for row in reported] == ["ok" if r in told else r for r in EXPECTED]


def test_an_accepted_row_tells_what_it_is(tmp_path: Path) -> None:
    row = ledger(lay_out(tmp_path, ROWS))[6]
    assert (row["width"], row["height"]) == (48, 32)  # upright; stored it is 32 x 48
    assert (row["key"], row["caption"], row["shard"]) == ("000000006", "caption 6", "00000")
    assert row["sha256"] == files.read_table(tmp_path / "crawl/status.parquet")["sha256"][5].as_py()


def test_two_runs_give_equal_bytes(tmp_path: Path) -> None:
    broken = [*ROWS, Row(b"\xff\xd8 not an image")]  # Pillow's message on it holds a memory address
    for name in ("a", "b"):
        ledger(lay_out(tmp_path / name, broken))
    for name in ("ledger.parquet", "ledger.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_more_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ledger(lay_out(tmp_path, ROWS))
    monkeypatch.setattr("rankclip.data.processes.WORTH_SHARING", 0)
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    shutil.rmtree(tmp_path / "work")
    assert ledger(tmp_path) == rows


def test_a_truncated_tar_is_named_with_the_remedy(tmp_path: Path) -> None:
    lay_out(tmp_path, ROWS)
    tar = tmp_path / "crawl" / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"00001\.tar is not a whole tar.*dvc repro -f -s download"):
        ledger(tmp_path)
    assert not (tmp_path / "ledger.parquet").exists()


def test_a_tar_of_another_run_is_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, ROWS)
    lay_out(tmp_path / "other", [Row(GREEN_PNG), *ROWS[1:]])
    (tmp_path / "other" / "crawl" / "00000.tar").replace(tmp_path / "crawl" / "00000.tar")
    with pytest.raises(DataError, match="other bytes for 000000000"):
        ledger(tmp_path)


def test_an_image_that_is_not_in_its_tar_is_counted_as_missing(tmp_path: Path) -> None:
    lay_out(tmp_path, ROWS)
    lay_out(tmp_path / "other", [Row(shard="00000"), *ROWS[1:]])
    (tmp_path / "other" / "crawl" / "00000.tar").replace(tmp_path / "crawl" / "00000.tar")
    rows = ledger(tmp_path)
    assert [rows[0]["reason"], rows[3]["reason"]] == ["missing", "ok"]


def test_a_status_of_another_table_of_urls_is_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, ROWS)
    lay_out(tmp_path / "other", ROWS[:-2])
    (tmp_path / "other" / "crawl" / "status.parquet").replace(tmp_path / "crawl" / "status.parquet")
    with pytest.raises(DataError, match=r"9 rows.*10 rows.*dvc repro"):
        ledger(tmp_path)


def test_a_status_of_as_many_but_other_rows_is_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, ROWS)
    path = tmp_path / "crawl" / "status.parquet"
    table = files.read_table(path)
    rows = table["row"].to_pylist()
    files.write_table(path, table.set_column(0, "row", pa.array([*rows[:-1], rows[-1] + 1])))
    with pytest.raises(DataError, match=r"not have the rows of urls.parquet from 0 to 11; .*-s download"):
        ledger(tmp_path)


def test_tars_may_lie_elsewhere(tmp_path: Path) -> None:
    rows = ledger(lay_out(tmp_path / "here", ROWS))
    lay_out(tmp_path / "tables", ROWS)
    for tar in (tmp_path / "tables" / "crawl").glob("*.tar"):
        (tmp_path / "bucket").mkdir(exist_ok=True)
        tar.replace(tmp_path / "bucket" / tar.name)
    storage.write_place(tmp_path / "tables" / "crawl", storage.store(tmp_path / "bucket"))
    assert ledger(tmp_path / "tables") == rows


def test_a_lost_input_row_is_an_error(tmp_path: Path) -> None:
    lay_out(tmp_path, ROWS)
    refused = files.read_table(tmp_path / "refused.parquet")
    files.write_table(tmp_path / "refused.parquet", refused.slice(1))
    with pytest.raises(DataError, match=r"the rows after 0 are not 0, 1 and so on to 10.*-s ingest"):
        ledger(tmp_path)


def test_a_reason_outside_the_vocabulary_is_an_error(tmp_path: Path) -> None:
    lay_out(tmp_path, [ROWS[0], Row(reason="bad luck", stage="ingest")])
    with pytest.raises(DataError, match="unknown reasons: bad luck"):
        ledger(tmp_path)


@pytest.mark.parametrize("name", ["urls.parquet", "refused.parquet", "crawl/status.parquet"])
def test_a_table_that_is_not_sorted_is_an_error(tmp_path: Path, name: str) -> None:
    lay_out(tmp_path, ROWS)
    table = files.read_table(tmp_path / name)
    files.write_table(tmp_path / name, table.sort_by([("row", "descending")]))
    with pytest.raises(DataError, match=rf"{name} is not sorted by row.*dvc repro"):
        ledger(tmp_path)


def test_an_input_of_refused_rows_alone_is_counted(tmp_path: Path) -> None:
    rows = ledger(lay_out(tmp_path, [Row(reason="no_url", stage="ingest")]))
    assert [row["reason"] for row in rows] == ["no_url"]
    summary = files.read_json(tmp_path / "ledger.json")
    assert (summary["input"], summary["ok"], summary["reasons"]) == (1, 0, {"no_url": 1})


def test_an_empty_input_is_counted(tmp_path: Path) -> None:
    assert ledger(lay_out(tmp_path, [])) == []
    assert files.read_json(tmp_path / "ledger.json")["survival"] == 0


def test_the_rules_for_captions_name_what_they_found(tmp_path: Path) -> None:
    captions = ["a cat", "Buy NOW at shop.example", "dog", "x" * 30]
    rows = [Row(encoded(scene(n)), caption=caption) for n, caption in enumerate(captions)]
    spec = CurateSpec(
        blocklist=("\\bcats\\b", "buy now"), min_caption_chars=4, max_caption_chars=29, remove=("blocklist",)
    )
    found = ledger(lay_out(tmp_path, rows), spec)
    assert [row["reason"] for row in found] == ["ok", "filtered_by_rule", "ok", "ok"]
    assert [row["flags"] for row in found] == [[], ["blocklist"], ["caption"], ["caption"]]
    assert found[1]["detail"] == "caption matches 'buy now'"
    assert [row["detail"] for row in found[2:]] == ["caption of 3 characters", "caption of 30 characters"]


def test_copies_in_other_formats_and_sizes_are_near_duplicates(tmp_path: Path) -> None:
    image = scene(1)
    blobs = [encoded(scene(2)), encoded(image, "PNG", optimize=True), *copies(image).values()]
    spec = CurateSpec(remove=("duplicate_near", "duplicate_exact"))
    rows = ledger(lay_out(tmp_path, [Row(blob) for blob in blobs]), spec)
    assert [row["reason"] for row in rows] == ["ok", "ok"] + ["duplicate_near"] * (len(blobs) - 2)
    assert all(row["detail"].startswith("looks like 000000001 (") for row in rows[2:])


def test_pictures_without_structure_are_no_near_duplicates(tmp_path: Path) -> None:
    blobs = [encoded(Image.new("RGB", (64, 64), (shade, 0, 0))) for shade in (10, 60, 110)]
    rows = ledger(lay_out(tmp_path, [Row(blob) for blob in blobs]))
    assert [(row["flags"], row["phash"]) for row in rows] == [([], None)] * 3
