"""Tars in another place, a folder or an S3 server: checked and shown as if they lay here."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankclip import storage
from rankclip.data.inspection import picked, preview, verify
from tests.unit.data.inspection.finished import lay_out


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Somewhere else."""
    if request.param == "folder":
        return str(tmp_path / "elsewhere")
    return f"{request.getfixturevalue('bucket')}/tars"


def moved(data: Path, place: str) -> Path:
    """The finished data of `lay_out`, whose tars lie at `place`."""
    for part in ("crawl", "shards"):
        folder = lay_out(data) / part if part == "crawl" else data / part
        target = storage.store(f"{place}/{part}")
        for tar in sorted(folder.glob("*.tar")):
            target.put(tar, tar.name)
            tar.unlink()
        storage.write_place(folder, target)
    return data


def test_everything_elsewhere_is_checked_and_nothing_stays_here(tmp_path: Path, place: str) -> None:
    data = moved(tmp_path / "data", place)
    for deep in (True, False):
        found = verify.run(data, tmp_path / "scratch", indexed=False, deep=deep, sample=3)
        assert found == verify.Verified((), samples=6, shards=2, decoded=6 if deep else 3)
    assert not [path for path in tmp_path.rglob("*.tar") if "elsewhere" not in path.parts]


def test_what_is_wrong_elsewhere_is_named_with_its_place(tmp_path: Path, place: str) -> None:
    data = moved(tmp_path / "data", place)
    storage.of_tars(data / "shards").delete("00001.tar")
    (line,) = verify.run(data, tmp_path / "scratch", indexed=False, deep=True, sample=0).faults
    assert line == f"{place}/shards/00001.tar is missing; run `dvc repro -f -s shard`"


def test_pictures_come_from_elsewhere(tmp_path: Path, place: str) -> None:
    data = moved(tmp_path / "data", place)
    assert [sample.key for sample in picked.samples(data / "shards", [0, 5])] == ["000000000", "000000011"]
    assert preview.of_reasons(data, "toy", {"too_small"}, 9, 0).width > 0
