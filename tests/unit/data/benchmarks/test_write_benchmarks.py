"""Benchmarks as folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from rankclip import files
from rankclip.data.benchmarks import benchmark_folder, gains, inventory, judged, places, write
from rankclip.data.benchmarks.content import Content, SplitName
from rankclip.data.benchmarks.digits import DigitsBenchmark
from rankclip.data.benchmarks.drawn import DrawnBenchmark
from rankclip.data.benchmarks.judged import JudgedBenchmark
from rankclip.data.benchmarks.public import PublicBenchmark
from rankclip.errors import InputError
from rankclip.spec import Spec
from tests.unit.data.benchmarks import coco_files

DIGITS = DigitsBenchmark(images=20, side=16)


def digests(folder: Path) -> dict[str, str]:
    made = [path for path in folder.rglob("*") if path.is_file() and path.name != "record.json"]
    return {str(path.relative_to(folder)): files.sha256(path) for path in made}


def test_two_makings_are_equal_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write.run([DIGITS], DIGITS, tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_the_manifest_says_what_can_be_read_back(tmp_path: Path) -> None:
    write.run([DIGITS], DIGITS, tmp_path)
    entry = files.read_json(tmp_path / write.MANIFEST)["benchmarks"]["digits"]
    assert (entry["task"], entry["classes"]) == ("classification", 10)
    for split in ("val", "test"):
        data = benchmark_folder.read_split(tmp_path / "wds_digits", split)
        assert entry[split] == {"images": len(data.samples), "captions": 0, "digest": data.digest}
    assert entry["val"]["digest"] != entry["test"]["digest"]


def test_a_benchmark_that_is_no_longer_listed_is_gone(tmp_path: Path) -> None:
    (tmp_path / "wds_old").mkdir()
    (tmp_path / "mine.txt").write_text("kept")
    write.run([DIGITS], DIGITS, tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"wds_digits", "mine.txt", "manifest.json", "record.json"}


def test_a_making_that_is_cut_short_leaves_no_manifest(tmp_path: Path) -> None:
    write.run([DIGITS], DIGITS, tmp_path)
    with pytest.raises(InputError, match="shape is drawn by source shapes, but the study's source is digits"):
        write.run([DIGITS, DrawnBenchmark(name="shape", images=12)], DIGITS, tmp_path)
    assert not (tmp_path / write.MANIFEST).exists()


def test_gains_survive_the_disk_and_change_the_digest(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 15), dtype=np.float32)
    gains.write(tmp_path, values)
    read = gains.read(tmp_path, 3, 15)
    assert read is not None
    np.testing.assert_array_equal(read, values)
    assert gains.data_digest("d", None) == "d"
    assert len({"d", gains.data_digest("d", values), gains.data_digest("d", values.T.copy() * 0.5)}) == 3
    assert gains.read(tmp_path / "none", 3, 15) is None


@pytest.fixture
def stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A public set that lies where all studies look, with a test and a train split."""
    monkeypatch.setenv("RANKCLIP_BENCHMARKS", str(tmp_path / "public"))
    folder = tmp_path / "public" / "wds_stl10"
    content = DIGITS.content(DIGITS, "test")
    benchmark_folder.write_classes(folder, content.classnames, content.templates)
    benchmark_folder.write_split(folder, "test", content.samples)
    benchmark_folder.write_split(folder, "train", content.samples[:10])
    inventory.adopt(folder)
    return folder


PUBLIC = [DIGITS, PublicBenchmark(name="stl10"), PublicBenchmark(name="imagenet1k")]


def test_a_public_set_is_listed_where_it_lies_and_a_missing_one_with_its_remedy(
    stl10: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write.run(PUBLIC, DIGITS, tmp_path / "out")
    manifest = files.read_json(tmp_path / "out" / write.MANIFEST)
    test = benchmark_folder.read_split(stl10, "test")
    entry = manifest["benchmarks"]["stl10"]
    assert entry["test"] == {"images": 20, "captions": 0, "digest": test.digest}
    assert (entry["public"], entry["classes"], entry["train"]["images"]) == (True, 10, 10)
    assert "val" not in entry, "nothing is chosen on it"
    assert not (tmp_path / "out" / "wds_stl10").exists()
    line = "imagenet1k is not in the folder of public sets; fetch it with `rankclip data benchmarks pull"
    assert manifest["missing"]["imagenet1k"].startswith(line)
    assert line in caplog.text
    assert f"left out of results: imagenet1k; they belong in {places.root()}" in caplog.text
    assert files.read_json(tmp_path / "out" / "record.json")["counts"]["missing"] == 1


def test_a_set_of_judgements_is_listed_as_a_public_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_BENCHMARKS", str(tmp_path))
    coco_files.write_coco(tmp_path)
    coco_files.write_sugarcrepe(tmp_path)
    specs = [JudgedBenchmark(name="sugarcrepe"), JudgedBenchmark(name="crisscrossed")]
    write.run(specs, DIGITS, tmp_path / "out")
    manifest = files.read_json(tmp_path / "out" / write.MANIFEST)
    data = judged.load("sugarcrepe", tmp_path)
    counts = {"images": data.images, "captions": sum(map(len, data.captions)), "digest": data.digest}
    listed = {"task": "retrieval", "classes": 0, "test": counts, "public": True, "judged": True}
    assert manifest["benchmarks"] == {"sugarcrepe": listed}
    assert manifest["missing"]["crisscrossed"].startswith("crisscrossed lacks crisscrossed in ")
    assert write.is_current(tmp_path / "out" / write.MANIFEST)


def test_a_manifest_is_current_until_a_public_set_comes_goes_or_changes(stl10: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "out" / write.MANIFEST
    write.run(PUBLIC, DIGITS, tmp_path / "out")
    assert write.is_current(manifest)
    shown = (stl10 / "classnames.txt").read_text()
    (stl10 / "classnames.txt").write_text(shown.replace("zero", "nought"))
    assert not write.is_current(manifest)
    (stl10 / "classnames.txt").write_text(shown)
    shutil.copytree(stl10, stl10.with_name("wds_imagenet1k"))
    assert not write.is_current(manifest), "one came"
    stl10.with_name("wds_imagenet1k").rename(stl10.with_name("unused"))
    assert write.is_current(manifest)
    stl10.rename(stl10.with_name("unused too"))
    assert not write.is_current(manifest), "one went"


class Bare(Spec):
    """A benchmark as README.md shows how to write one."""

    name: Literal["bare"] = "bare"

    def content(self, source: Spec, split: SplitName) -> Content:
        """As the digits."""
        return DIGITS.content(source, split)


def test_a_benchmark_that_names_no_splits_gets_validation_and_test(tmp_path: Path) -> None:
    write.run([Bare()], DIGITS, tmp_path)  # type: ignore[list-item]
    entry = files.read_json(tmp_path / write.MANIFEST)["benchmarks"]["bare"]
    assert set(entry) == {"task", "classes", "val", "test"}
