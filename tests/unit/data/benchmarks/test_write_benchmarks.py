"""Benchmarks as folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rankclip import files
from rankclip.data.benchmarks import benchmark_folder, gains, write
from rankclip.data.benchmarks.digits import DigitsBenchmark
from rankclip.data.benchmarks.drawn import DrawnBenchmark
from rankclip.errors import InputError

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
