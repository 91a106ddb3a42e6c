"""Images of the benchmarks in the training data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rankclip import files
from rankclip.data.benchmarks import benchmark_folder
from rankclip.data.benchmarks.benchmark import Sample
from rankclip.data.curation import curate, references
from rankclip.data.curation.spec import CurateSpec
from rankclip.errors import DataError
from tests.unit.data.crawled import Row, encoded, lay_out
from tests.unit.data.curation.scenes import copies, scene

BIRD, FISH = scene(101), scene(102)


def with_benchmarks(
    data: Path, sets: Mapping[str, Mapping[str, Sequence[bytes]]], shard_size: int = 2
) -> Path:
    """Adds benchmarks of these images (by name and split, as PNG) to a study's data."""
    manifest: dict[str, dict[str, Any]] = {}
    for name, splits in sets.items():
        manifest[name] = {"task": "classification", "classes": 1}
        folder = data / "benchmarks" / f"wds_{name}"
        benchmark_folder.write_classes(folder, ["thing"], ["a {c}"])
        for split, blobs in splits.items():
            samples = [Sample(f"s{n:07d}", blob, "png", label=0) for n, blob in enumerate(blobs)]
            benchmark_folder.write_split(folder, split, samples, shard_size)
            digest = benchmark_folder.read_split(folder, split).digest
            manifest[name][split] = {"images": len(samples), "captions": 0, "digest": digest}
    files.write_json(data / "benchmarks" / "manifest.json", {"benchmarks": manifest})
    return data


def ledger(data: Path, spec: CurateSpec | None = None) -> list[dict[str, Any]]:
    curate.run(spec or CurateSpec(), data, data / "work")
    rows: list[dict[str, Any]] = files.read_table(data / "ledger.parquet").to_pylist()
    return rows


def study(data: Path, blobs: Sequence[bytes]) -> Path:
    lay_out(data, [Row(blob) for blob in blobs])
    others = [encoded(scene(n), "PNG") for n in range(110, 114)]
    test = [*others[:3], encoded(BIRD, "PNG")]
    return with_benchmarks(
        data, {"fish": {"val": [others[3]], "test": [encoded(FISH, "PNG")]}, "birds": {"test": test}}
    )


def test_copies_of_any_kind_are_found_and_named(tmp_path: Path) -> None:
    blobs = [*copies(BIRD).values(), encoded(scene(1)), encoded(scene(2))]
    rows = ledger(study(tmp_path, blobs))
    assert ["leak" in row["flags"] for row in rows] == [True] * (len(blobs) - 2) + [False] * 2
    assert {row["reason"] for row in rows} == {"ok"}
    texts = [row["detail"].partition(";")[0].partition(" (")[0] for row in rows[:-2]]
    assert texts == ["same bytes as birds/test/s0000003"] + ["looks like birds/test/s0000003"] * (
        len(texts) - 1
    )
    assert files.read_json(tmp_path / "ledger.json")["flags"]["leak"] == len(blobs) - 2


def test_leaks_are_removed_where_the_study_asks_for_it(tmp_path: Path) -> None:
    spec = CurateSpec(remove=("leak", "duplicate_near", "duplicate_exact"))
    rows = ledger(study(tmp_path, [encoded(FISH), encoded(FISH, "PNG"), encoded(scene(1))]), spec)
    assert [row["reason"] for row in rows] == ["leak", "leak", "ok"]
    assert rows[1]["detail"] == "same bytes as fish/test/s0000000"


def test_what_leaks_is_no_original(tmp_path: Path) -> None:
    near_a_leak = encoded(FISH.resize((96, 72)), quality=50)
    rows = ledger(study(tmp_path, [encoded(FISH), near_a_leak]), CurateSpec(remove=("leak",)))
    assert [row["flags"] for row in rows] == [["leak"]] * 2


def test_without_looks_equal_bytes_are_still_found(tmp_path: Path) -> None:
    blobs = [encoded(BIRD), encoded(BIRD, "PNG")]
    rows = ledger(study(tmp_path, blobs), CurateSpec(near_distance=None))
    assert [row["flags"] for row in rows] == [[], ["leak"]]


def test_flat_pictures_leak_by_their_bytes_alone(tmp_path: Path) -> None:
    white = Image.new("RGB", (64, 64), "white")
    lay_out(tmp_path, [Row(encoded(white)), Row(encoded(white, "PNG"))])
    with_benchmarks(tmp_path, {"sky": {"test": [encoded(white, "PNG")]}})
    assert [row["flags"] for row in ledger(tmp_path)] == [[], ["leak"]]


def test_of_several_the_first_in_the_manifest_is_named(tmp_path: Path) -> None:
    lay_out(tmp_path, [Row(encoded(BIRD))])
    png = encoded(BIRD, "PNG")
    with_benchmarks(
        tmp_path, {"z": {"val": [encoded(FISH, "PNG"), png], "test": [png]}, "a": {"test": [png]}}
    )
    assert ledger(tmp_path)[0]["detail"].startswith("looks like z/val/s0000001 (")


def test_benchmarks_are_judged_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    judge_tar = references.judge_tar
    monkeypatch.setattr(references, "judge_tar", lambda tar: (seen.append(tar.split), judge_tar(tar)))
    ledger(study(tmp_path, [encoded(scene(1))]))
    assert seen == ["fish/val", "fish/test", "birds/test", "birds/test"]
    ledger(tmp_path)
    assert len(seen) == 4
    with_benchmarks(tmp_path, {"birds": {"test": [encoded(scene(1), "PNG")]}})
    assert ledger(tmp_path)[0]["flags"] == ["leak"]
    assert len(seen) == 5


def test_images_of_public_sets_leak_too_and_those_of_train_and_of_judgements_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, [Row(encoded(BIRD)), Row(encoded(FISH))])
    with_benchmarks(tmp_path, {"birds": {"test": [encoded(BIRD, "PNG")], "train": [encoded(FISH, "PNG")]}})
    (tmp_path / "public").mkdir()
    (tmp_path / "benchmarks/wds_birds").rename(tmp_path / "public/wds_birds")
    monkeypatch.setenv("RANKCLIP_BENCHMARKS", str(tmp_path / "public"))
    path = tmp_path / "benchmarks/manifest.json"
    listed = json.loads(path.read_text())
    listed["benchmarks"]["birds"]["public"] = True
    judgements = {"test": {"images": 1, "digest": "0"}, "public": True, "judged": True}
    listed["benchmarks"]["crisscrossed"] = judgements
    path.write_text(json.dumps(listed))
    assert [row["flags"] for row in ledger(tmp_path)] == [["leak"], []]


def test_missing_benchmarks_are_an_error_with_the_remedy(tmp_path: Path) -> None:
    study(tmp_path, [encoded(BIRD)])
    (tmp_path / "benchmarks/wds_birds/test/1.tar").unlink()
    with pytest.raises(DataError, match=r"wds_birds/test/1\.tar is missing; .*-s benchmarks"):
        ledger(tmp_path)
    (tmp_path / "benchmarks/wds_birds/test/nshards.txt").write_text("many")
    with pytest.raises(DataError, match=r"nshards.txt does not hold a number"):
        ledger(tmp_path)
    (tmp_path / "benchmarks/manifest.json").write_text("[]")
    with pytest.raises(DataError, match=r"manifest.json does not list benchmarks"):
        ledger(tmp_path)
    (tmp_path / "benchmarks/manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest.json is missing; .*-s benchmarks"):
        ledger(tmp_path)


def test_a_benchmark_image_that_does_not_decode_is_an_error(tmp_path: Path) -> None:
    lay_out(tmp_path, [Row(encoded(BIRD))])
    with_benchmarks(tmp_path, {"birds": {"test": [encoded(BIRD, "PNG")[:500]]}})
    with pytest.raises(DataError, match=r"0\.tar: s0000000.png cannot be used \(.*\); .*-s benchmarks"):
        ledger(tmp_path)
