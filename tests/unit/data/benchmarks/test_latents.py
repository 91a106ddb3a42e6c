"""Latents beside a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rankclip.data.benchmarks import latents
from rankclip.data.shapes import benchmarks
from rankclip.errors import DataError
from tests.unit.data.shapes import worlds

UNIT = np.eye(4, dtype=np.float32)[[0, 1, 1]]


def test_latents_come_back_as_written_and_equal_ones_as_equal_bytes(tmp_path: Path) -> None:
    assert latents.read(tmp_path, 3) is None
    latents.write(tmp_path, UNIT)
    before = (tmp_path / latents.NAME).read_bytes()
    found = latents.read(tmp_path, 3)
    assert found is not None
    np.testing.assert_array_equal(found, UNIT)
    latents.write(tmp_path, UNIT.astype(np.float64))
    assert (tmp_path / latents.NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("values", "message"),
    [(UNIT[:2], r"has shape \(2, 4\), but the split 3 images"), (2 * UNIT, "rows that have not length 1"),
     (UNIT[0], r"has shape \(4,\)"), (np.full((3, 4), np.nan), "rows that have not length 1")],
)  # fmt: skip
def test_latents_that_do_not_fit_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    latents.write(tmp_path, values)
    with pytest.raises(DataError, match=f"{latents.NAME}.*{message}"):
        latents.read(tmp_path, 3)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / latents.NAME).write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match="cannot be read"):
        latents.read(tmp_path, 3)


def test_the_digest_of_a_split_is_its_own_without_latents_and_another_with_each() -> None:
    assert latents.data_digest("abc", None) == "abc"
    assert len({latents.data_digest("abc", one) for one in (None, UNIT, UNIT[::-1])}) == 3


def test_a_drawn_retrieval_split_has_the_latents_of_its_own_images() -> None:
    drawn = benchmarks.draw_retrieval(worlds.spec(), "test", 12)
    assert drawn.latents is not None
    assert drawn.gains is not None
    assert drawn.latents.shape == (12, 54)
    again = benchmarks.draw_retrieval(worlds.spec(), "val", 12)
    assert again.latents is not None
    assert not np.array_equal(again.latents, drawn.latents)
    # what is true of an image's own captions is truer of images that are like it than of the others
    alike, gains = drawn.latents @ drawn.latents.T, drawn.gains.reshape(12, 12, 5).mean(axis=2)
    others = ~np.eye(12, dtype=bool)
    assert np.corrcoef(alike[others], gains[others])[0, 1] > 0.5
