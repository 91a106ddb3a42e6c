from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rankclip import files
from rankclip.data.loading.samples import Samples
from rankclip.data.sharding.spec import ShardSpec
from rankclip.errors import DataError
from tests.unit.data.crawled import Row, encoded, picture
from tests.unit.data.sharding import curated

N, WIDTH = 7, 5
LOST = 3
"""Among the rows, the one that the crawl does not get."""

VECTORS = np.random.default_rng(0).random((N, WIDTH)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
KEPT = np.delete(VECTORS, LOST, axis=0)
URLS = [f"http://shapes.invalid/{number}.jpg" for number in range(N)]


def fixed(vectors: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def sharded(folder: Path, table: dict[str, Any] | None) -> Path:
    """Shards of N rows but LOST, from a source with this table of latents."""
    rows = [Row(encoded(picture((30 * i, 0, 0)))) for i in range(N)]
    rows[LOST] = Row(reason="http_404")
    data = curated.curated(folder / "data", rows)
    if table is not None:
        files.write_table(data / "source" / "latents.parquet", pa.table(table))
    return curated.sharded(data, folder / "work", ShardSpec(samples_per_shard=4))


@pytest.mark.parametrize("plain", [False, True], ids=["fixed", "lists"])
def test_latents_are_joined_by_url_and_come_in_order_of_samples(tmp_path: Path, plain: bool) -> None:
    order = np.random.default_rng(1).permutation(N)
    latents = pa.array(VECTORS[order].tolist()) if plain else fixed(VECTORS[order])
    table = {"url": [URLS[k] for k in order], "things": ["not read"] * N, "latents": latents}
    found = Samples(sharded(tmp_path, table)).latents()
    assert found is not None
    assert (found.dtype, found.shape) == (np.float32, (N - 1, WIDTH))
    assert np.array_equal(found, KEPT)
    assert found.flags.writeable  # as torch wants what it takes over


def test_a_source_that_does_not_know_has_no_latents(tmp_path: Path) -> None:
    folder = sharded(tmp_path, None)
    assert "latents" not in files.column_names(folder / "index.parquet")
    assert Samples(folder).latents() is None
    assert sorted(files.read_json(folder / "record.json")["inputs"]) == ["captions.parquet", "ledger.parquet"]


def test_latents_change_the_index_by_their_column_and_no_tar(tmp_path: Path) -> None:
    without = sharded(tmp_path / "a", None)
    with_latents = sharded(tmp_path / "b", {"url": URLS, "latents": fixed(VECTORS)})
    again = sharded(tmp_path / "c", {"url": URLS, "latents": fixed(VECTORS)})
    index = files.read_table(with_latents / "index.parquet")
    assert index.drop(["latents"]) == files.read_table(without / "index.parquet")
    for name in ("00000.tar", "00001.tar"):
        assert (with_latents / name).read_bytes() == (without / name).read_bytes()
    assert (again / "index.parquet").read_bytes() == (with_latents / "index.parquet").read_bytes()
    assert Samples(again).digest == Samples(with_latents).digest != Samples(without).digest


def test_the_record_has_the_digest_of_the_latents(tmp_path: Path) -> None:
    folder = sharded(tmp_path, {"url": URLS, "latents": fixed(VECTORS)})
    source = folder.parent / "source" / "latents.parquet"
    assert files.read_json(folder / "record.json")["inputs"]["latents.parquet"] == files.sha256(source)


def lists(change: dict[int, Any]) -> list[Any]:
    """The vectors as lists, some of them exchanged."""
    return [change.get(row, vector) for row, vector in enumerate(VECTORS.tolist())]


DAMAGED = {
    "not finite": (
        lists({4: [math.nan] * WIDTH}),
        "1 of 6 latents are no unit vectors.*sample 3, of length nan",
    ),
    "infinite": (lists({0: [math.inf] * WIDTH}), "sample 0, of length inf"),
    "a number missing": (lists({5: [None, 0.0, 0.0, 1.0, 0.0]}), "sample 4, of length nan"),
    "zero": (lists({1: [0.0] * WIDTH}), "sample 1, of length 0;"),
    "too long": (lists({1: [1.0] * WIDTH}), r"sample 1, of length 2\.23607;"),
    "another width": (lists({2: [1.0]}), "different widths, from 1 to 5;"),
    "missing": (lists({2: None}), "lacks the latents of 1 of 6 samples;"),
    "words": (["one"] * N, "column latents holds string, not lists of numbers;"),
    "lists of words": ([["one"]] * N, r"holds list<.*string>, not lists of numbers;"),
}
damaged = pytest.mark.parametrize(("latents", "message"), DAMAGED.values(), ids=DAMAGED)


@damaged
def test_damaged_latents_of_a_source_are_named_with_the_remedy(
    tmp_path: Path, latents: list[Any], message: str
) -> None:
    with pytest.raises(DataError, match=rf"latents\.parquet.*{message}.*dvc repro -f -s ingest"):
        sharded(tmp_path, {"url": URLS, "latents": latents})
    assert not (tmp_path / "data" / "shards" / "manifest.json").exists()


@damaged
def test_damaged_latents_of_an_index_are_named_with_the_remedy(
    tmp_path: Path, latents: list[Any], message: str
) -> None:
    folder = sharded(tmp_path, {"url": URLS, "latents": fixed(VECTORS)})
    rows = [vector for row, vector in enumerate(latents) if row != LOST]
    index = files.read_table(folder / "index.parquet").drop(["latents"])
    files.write_table(folder / "index.parquet", index.append_column("latents", pa.array(rows)))
    manifest = files.read_json(folder / "manifest.json")
    files.write_json(
        folder / "manifest.json", {**manifest, "index_sha256": files.sha256(folder / "index.parquet")}
    )
    with pytest.raises(DataError, match=rf"index\.parquet.*{message}.*dvc repro -f -s shard"):
        Samples(folder).latents()


def test_a_table_without_some_url_or_without_the_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"latents\.parquet lacks the latents of 2 of 6 samples; .*ingest"):
        sharded(tmp_path / "a", {"url": URLS[2:], "latents": fixed(VECTORS[2:])})
    with pytest.raises(DataError, match=r"latents\.parquet has no column latents; .*ingest"):
        sharded(tmp_path / "b", {"url": URLS, "things": ["old"] * N})
    sharded(tmp_path / "c", {"url": URLS[:LOST] + URLS[LOST + 1 :], "latents": fixed(KEPT)})
