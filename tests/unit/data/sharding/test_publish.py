from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from rankclip import files
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.ingestion.spec import Subset
from rankclip.data.sharding import card, packing, pool
from rankclip.data.sharding.packing import ShardDescription
from rankclip.data.sharding.parts import regrouped
from rankclip.data.sharding.publish import publish
from rankclip.data.sources.expected import Expected
from rankclip.data.tables.table_files import digest_of
from rankclip.errors import DataError, InputError
from tests.unit.data.sharding.curated import SOURCE

LEDGER = {"input": 6, "ok": 5, "survival": 5 / 6, "reasons": {"dns": 1}, "flags": {"aspect": 0}}


def parts_of(
    folder: Path, keys: Sequence[str], source_keys: Sequence[str | None], each: int = 2
) -> list[Path]:
    """Rows of samples with these keys, two a tar."""
    rows = [
        {
            "key": key,
            "url": f"http://x/{key}",
            "shard": f"{number // each:05d}.tar",
            "offset": 512,
            "size": 100 + number,
            "width": 10 * (number + 1),
            "height": 7,
            "sha256": hashlib.sha256(key.encode()).hexdigest(),
            "source_key": own,
            "captions.raw": ["a caption of " + "words " * number],
        }
        for number, (key, own) in enumerate(zip(keys, source_keys, strict=True))
    ]
    paths = []
    for start in range(0, len(rows), each):
        paths.append(folder / f"{start // each:05d}.parquet")
        files.write_table(paths[-1], pa.Table.from_pylist(rows[start : start + each], packing.PART))
    return paths


def shards_of(samples: int, each: int = 2) -> dict[str, ShardDescription]:
    return {
        f"{number:05d}.tar": ShardDescription(
            sha256=f"{number:064d}", bytes=10240, samples=min(each, samples - start)
        )
        for number, start in enumerate(range(0, samples, each))
    }


def published(
    tmp_path: Path, keys: Sequence[str], own: Sequence[str | None] | None = None, **more: Any
) -> Path:
    folder = tmp_path / "shards"
    parts = parts_of(tmp_path / "parts", keys, own or [None] * len(keys))
    values = {"captions": {}, "about": card.about("study", SOURCE, LEDGER), **more}
    samples = publish(folder, parts, shards_of(len(keys)), scratch=tmp_path / "scratch", **values)
    assert samples == len(keys)
    return folder


KEYS = ["000000000", "000000002", "000000003", "000000004", "000000005"]


def test_the_card_says_what_the_set_is_and_how_much_of_its_source_it_has(tmp_path: Path) -> None:
    folder = published(tmp_path, KEYS)
    lines = "".join(f"{key} {hashlib.sha256(key.encode()).hexdigest()}\n" for key in KEYS)
    measures = {"p05": 10, "p25": 20, "p50": 30, "p75": 40}
    assert files.read_json(folder / "card.json") == {
        "name": "study",
        "source": "cc3m",
        "licence": "for tests alone",
        "subset": None,
        "input": 6,
        "ok": 5,
        "survival": 0.833333,
        "expected": {"rows": 6, "survival": [0.8, 0.9], "pairs": 5, "origin": "a test"},
        "verdict": "normal: 5 of 6 rows (83.3%) is within the 80.0% to 90.0% that others got (a test)",
        "reasons": {"dns": 1},
        "flags": {"aspect": 0},
        "samples": 5,
        "shards": 3,
        "bytes": 3 * 10240,
        "width": {"min": 10, **measures, "p95": 40, "max": 50},
        "height": dict.fromkeys(("min", *measures, "p95", "max"), 7),
        "image_bytes": {"min": 100, "p05": 100, "p25": 101, "p50": 102, "p75": 103, "p95": 103, "max": 104},
        "caption_words": {"min": 3, "p05": 3, "p25": 4, "p50": 5, "p75": 6, "p95": 6, "max": 7},
        "slots": {"raw": {"samples": 5, "captions": 5, "mean_words": 5.0}},
        "digests": {
            "list": "1" * 64,
            "index": files.sha256(folder / "index.parquet"),
            "pool": hashlib.sha256(lines.encode()).hexdigest(),
        },
    }


def test_the_manifest_is_the_tars_and_the_index_and_nothing_else(tmp_path: Path) -> None:
    folder = published(tmp_path, KEYS)
    assert files.read_json(folder / "manifest.json") == {
        "samples": 5,
        "index_sha256": files.sha256(folder / "index.parquet"),
        "shards": shards_of(5),
    }


def test_another_note_about_the_source_leaves_the_manifest_as_it_is(tmp_path: Path) -> None:
    manifest = (published(tmp_path / "a", KEYS) / "manifest.json").read_bytes()
    other = SOURCE.model_copy(update={"licence": "another", "expected": None})
    folder = published(tmp_path / "b", KEYS, about=card.about("other", other, LEDGER))
    assert (folder / "manifest.json").read_bytes() == manifest
    assert files.read_json(folder / "card.json")["verdict"].startswith("unknown: 5 of 6 rows")


def test_the_keys_are_a_list_that_another_study_can_take(tmp_path: Path) -> None:
    path = published(tmp_path / "a", KEYS) / "keys.txt.gz"
    assert gzip.decompress(path.read_bytes()).decode().splitlines() == KEYS
    again = published(tmp_path / "b", KEYS) / "keys.txt.gz"
    assert again.read_bytes() == path.read_bytes()
    names = files.column_names(path.with_name("index.parquet"))
    assert names == [*packing.SCHEMA.names, "captions.raw"]


def test_keys_that_the_list_has_itself_are_kept_and_go_before_ours(tmp_path: Path) -> None:
    folder = published(tmp_path, KEYS, ["u0", None, "u3", "u4", "u5"])
    keys = gzip.decompress((folder / "keys.txt.gz").read_bytes()).decode().splitlines()
    assert keys == ["u0", "000000002", "u3", "u4", "u5"]
    index = files.read_table(folder / "index.parquet")
    assert index["source_key"].to_pylist() == ["u0", None, "u3", "u4", "u5"]


def captions(path: Path, rows: Sequence[tuple[str, str]], **changes: Any) -> dict[str, CaptionSpec]:
    path.write_text("".join(f"{a}\t{b}\n" for a, b in [("uid", "text"), *rows]))
    values = {
        "path": path,
        "sha256": digest_of(path),
        "join": "source_key",
        "column": "uid",
        "take": ["text"],
    }
    return {"mine": CaptionSpec.model_validate({**values, **changes})}


def test_the_card_says_what_became_of_a_table_of_captions_and_not_where_it_lay(tmp_path: Path) -> None:
    rows = [("u3", "of three"), ("u0", "one. two"), ("u0", "again"), ("u9", "of none"), ("u4", "")]
    mine = captions(tmp_path / "t.tsv", rows, split="sentences")
    folder = published(tmp_path, KEYS, ["u0", None, "u3", "u4", "u5"], captions=mine)
    lists = files.read_table(folder / "index.parquet")["captions.mine"].to_pylist()
    assert lists == [["one.", "two"], [], ["of three"], [], []]
    assert files.read_json(folder / "card.json")["slots"]["mine"] == {
        "samples": 2,
        "captions": 3,
        "mean_words": 1.33,
        "sha256": mine["mine"].sha256,
        "join": "source_key",
        "column": "uid",
        "take": ["text"],
        "split": "sentences",
        "file": "t.tsv",
        "rows": 5,
        "used": 3,
        "repeated": 1,
        "unused": 1,
        "unreadable": 0,
    }
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()


def test_a_table_that_is_not_the_studys_is_refused(tmp_path: Path) -> None:
    mine = captions(tmp_path / "t.tsv", [("u0", "text")])
    (tmp_path / "t.tsv").write_text("uid\ttext\nu0\tother\n")
    with pytest.raises(InputError, match=r"captions\.mine: .*t\.tsv has sha256 .* run `rankclip use` again"):
        published(tmp_path, KEYS, ["u0"] * 5, captions=mine)


def test_a_slot_that_the_source_has_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    files.write_table(source / "captions.parquet", pa.table({"url": ["http://x/000000000"], "mine": ["a"]}))
    mine = captions(tmp_path / "t.tsv", [("u0", "text")])
    with pytest.raises(InputError, match=r"captions\.mine: the source has captions of that name"):
        published(tmp_path, KEYS, ["u0"] * 5, captions=mine, source=source)


def test_tars_and_rows_that_do_not_fit_are_an_error_and_leave_no_manifest(tmp_path: Path) -> None:
    parts = parts_of(tmp_path / "parts", KEYS, [None] * 5)
    (tmp_path / "manifest.json").write_text("{}")
    for shards in (shards_of(6), {}):
        with pytest.raises(DataError, match=f"hold {len(shards) * 2} samples, but 5 rows describe them"):
            publish(tmp_path, parts, shards, {}, {}, tmp_path / "scratch")
    assert not (tmp_path / "manifest.json").exists()


def test_the_index_does_not_depend_on_how_its_rows_lay_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("publish", "known_columns"):
        monkeypatch.setattr(f"rankclip.data.sharding.{module}.WIDTH", 3)
    keys = [f"{number:09d}" for number in range(11)]
    mine = captions(tmp_path / "t.tsv", [(f"u{number}", f"of {number}") for number in range(10, -1, -2)])
    found = []
    for each in (1, 2, 4, 11):
        folder = tmp_path / str(each)
        parts = parts_of(folder / "parts", keys, [f"u{number}" for number in range(11)], each)
        for number, path in enumerate(parts):  # of one name, as the parts lie in different tars
            table = files.read_table(path)
            names = pa.array(["00000.tar"] * len(table))
            files.write_table(parts[number], table.set_column(2, "shard", names))
        publish(folder, parts, shards_of(11, 11), mine, {}, folder / "scratch")
        found.append((folder / "index.parquet").read_bytes())
    assert len(set(found)) == 1
    file = parquet.ParquetFile(tmp_path / "1" / "index.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(4)] == [3, 3, 3, 2]
    lists = file.read()["captions.mine"].to_pylist()
    assert lists == [[f"of {number}"] if number % 2 == 0 else [] for number in range(11)]


@given(st.lists(st.tuples(st.text("ab \x01é", max_size=4), st.sampled_from("01")), max_size=12))
def test_the_pool_digest_is_that_of_the_sorted_lines(rows: list[tuple[str, str]]) -> None:
    table = pa.table({"key": [key for key, _ in rows], "sha256": [sha for _, sha in rows]}, pa.schema(
        {"key": pa.string(), "sha256": pa.string()}
    ))  # fmt: skip
    lines = sorted(f"{key} {sha}".encode() for key, sha in rows)
    expected = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    assert pool.digest(lambda: (table.slice(start, 5) for start in range(0, len(table), 5))) == expected


def test_the_pool_digest_can_be_had_of_an_index(tmp_path: Path) -> None:
    folder = published(tmp_path, KEYS[::-1])
    told = files.read_json(folder / "card.json")["digests"]["pool"]
    assert pool.digest_of(folder / "index.parquet") == told
    assert told == files.read_json(published(tmp_path / "b", KEYS) / "card.json")["digests"]["pool"]


@given(st.lists(st.lists(st.integers(0, 50), max_size=9), max_size=6))
def test_quantiles_are_those_of_all_values(batches: list[list[int]]) -> None:
    counted = card.Quantiles()
    for batch in batches:
        counted.add(batch)
    values = sorted(value for batch in batches for value in batch)
    shares = card.QUANTILES.items()
    assert counted.summary() == {
        name: values[int(share * (len(values) - 1))] for name, share in shares if values
    }


@settings(max_examples=50)
@given(st.lists(st.integers(0, 7), max_size=8), st.integers(1, 9))
def test_tables_are_cut_anew_without_losing_a_row(lengths: list[int], rows: int) -> None:
    ends = np.cumsum([0, *lengths])
    tables = [pa.table({"n": pa.array(range(a, b), pa.int64())}) for a, b in itertools.pairwise(ends)]
    cut = list(regrouped(tables, rows))
    assert [n for table in cut for n in table["n"].to_pylist()] == list(range(ends[-1]))
    assert [len(table) for table in cut[:-1]] == [rows] * (len(cut) - 1)
    assert all(0 < len(table) <= rows for table in cut)
    assert all(table["n"].num_chunks == 1 for table in cut)


def test_the_card_says_which_part_of_a_list_it_is_and_not_where_the_file_lay() -> None:
    for subset in (Subset(pairs=3, seed=1, sha256="2" * 64), Subset(path=Path("/secret"), sha256="3" * 64)):
        told = card.about("study", SOURCE.model_copy(update={"subset": subset}), LEDGER)["subset"]
        assert told == {"pairs": subset.pairs, "seed": subset.seed, "sha256": subset.sha256}


def test_a_source_without_figures_of_others_has_none_on_the_card() -> None:
    told = card.about("study", SOURCE.model_copy(update={"expected": None}), LEDGER)
    assert told["expected"] is None
    assert json.dumps(told, allow_nan=False)
    assert card.about("study", SOURCE, {**LEDGER, "input": 0, "ok": 0})["survival"] == 0.0
    assert isinstance(SOURCE.expected, Expected)
