from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data.crawl import work_shards
from rankclip.data.crawl.spec import DownloadSpec


def write_urls(path: Path, rows: int, row_group: int) -> Path:
    numbers = [3 * number for number in range(rows)]
    columns = {
        "source_key": ["a"] * rows,
        "key": [f"{row:09d}" for row in numbers],
        "caption": ["c"] * rows,
        "url": [f"http://a/{row}" for row in numbers],
        "row": pa.array(numbers, pa.int64()),
    }
    pq.write_table(pa.table(columns), path, row_group_size=row_group)
    return path


@settings(deadline=None)
@given(st.integers(0, 9_000), st.integers(1, 10_000), st.integers(20, 10_000), st.data())
def test_every_row_is_in_one_shard_whatever_the_row_groups(
    rows: int, row_group: int, most: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        urls = write_urls(Path(folder) / "urls.parquet", rows, row_group)
        spec = DownloadSpec(rows_per_shard=most)
        names = work_shards.shard_names(spec, urls)
        size = work_shards.rows_per_shard(spec, urls)
        assert size <= most
        assert size == 20 or size <= rows / 200
        found = list(work_shards.slices(spec, urls, names))
        assert [name for name, _ in found] == names
        assert all(len(table) == size for _, table in found[:-1])
        assert [row for _, table in found for row in table["row"].to_pylist()] == [3 * n for n in range(rows)]
        wanted = data.draw(st.sets(st.sampled_from(names))) if names else set()
        some = list(work_shards.slices(spec, urls, wanted))
        assert [(name, table) for name, table in found if name in wanted] == some


def test_a_table_travels_without_the_rest_of_the_table_it_was_cut_from(tmp_path: Path) -> None:
    urls = write_urls(tmp_path / "urls.parquet", 4_000, 4_000)
    name, table = next(work_shards.slices(DownloadSpec(), urls, ["00007"]))
    packed = work_shards.to_bytes(table)
    assert (name, work_shards.from_bytes(packed)) == ("00007", table)
    assert len(packed) < 5_000
    assert table.column_names == ["row", "key", "url", "caption"]
