from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data.captions import buckets, join, positions
from rankclip.data.captions.spec import CaptionSpec
from rankclip.errors import InputError
from tests.unit.data.captions.slow_join import slow_join, write_rows

WIDTH = 3
ANY = "0" * 64


def joined(
    captions: Mapping[str, CaptionSpec], samples: pa.Table, scratch: Path
) -> tuple[dict[str, list[list[str]]], list[join.Join]]:
    """Slot -> captions of all samples, a group of three at a time."""

    def keys(kind: str) -> Iterator[pa.ChunkedArray]:
        for start in range(0, len(samples), 2):  # in other pieces than groups
            yield samples.slice(start, 2)[kind]

    found: dict[str, list[list[str]]] = {slot: [] for slot in captions}
    joins = join.joins(join.side_tables(captions), keys, WIDTH, scratch)
    for each in joins:
        for group, start in enumerate(range(0, len(samples), WIDTH)):
            for slot, lists in each.columns(group, samples.slice(start, WIDTH)).items():
                found[slot] += lists.to_pylist()
    return found, joins


def samples_of(urls: Sequence[str | None]) -> pa.Table:
    """Samples with these URLs."""
    numbers = [f"{number:09d}" for number in range(len(urls))]
    columns = {"url": urls, "key": numbers, "source_key": [None] * len(urls)}
    return pa.table(columns, pa.schema(dict.fromkeys(columns, pa.string())))


def spec(path: Path, **changes: Any) -> CaptionSpec:
    values = {"path": path, "sha256": ANY, "column": "url", "take": ["a"], **changes}
    return CaptionSpec.model_validate(values)


names = st.sampled_from([f"http://x/{number}" for number in range(12)])
words = st.text(st.sampled_from(" \t\u2003ab.!?\"'</s>é"), max_size=12)
broken_lines = st.text(st.sampled_from(' ab.\n\r</s>,"'), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["csv", "csv.gz", "tsv", "jsonl", "jsonl.gz", "parquet"]),
    split=st.sampled_from(["none", "sentences", "lines"]),
    urls=st.lists(st.one_of(names, st.none()), min_size=1, max_size=9),
    rows=st.lists(st.tuples(names, broken_lines, words), min_size=1, max_size=20),
)
def test_it_is_the_join_of_a_dictionary(
    kind: str, split: str, urls: list[str | None], rows: list[tuple[str, str, str]]
) -> None:
    if kind == "tsv":
        rows = [(url, a.translate({10: 32, 13: 32}), b.replace("\t", " ")) for url, a, b in rows]
    table = [{"b": b, "url": url, "a": a} for url, a, b in rows]
    expected, counts = slow_join(table, "url", ["a", "b"], split, urls)
    with tempfile.TemporaryDirectory() as folder:
        path = write_rows(Path(folder, f"t.{kind}"), table)
        wanted = {"both": spec(path, take=["a", "b"], split=split)}
        if not counts["used"]:
            with pytest.raises(InputError, match="captions:"):
                joined(wanted, samples_of(urls), Path(folder, "scratch"))
            return
        found, (one,) = joined(wanted, samples_of(urls), Path(folder, "scratch"))
    assert found["both"] == expected
    assert one.counts() == counts


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_of_captions_are_taken_as_they_are_and_columns_in_order(tmp_path: Path, kind: str) -> None:
    rows = [
        {"uid": "b", "syn_text": ["one", "two", " "], "ori_text": "own"},
        {"uid": "a", "syn_text": [], "ori_text": None},
        {"uid": "c", "syn_text": None, "ori_text": "last"},
    ]
    path = write_rows(tmp_path / f"t.{kind}", rows)
    samples = samples_of(["u", "v", "w"]).set_column(2, "source_key", pa.array(["a", "b", "c"]))
    wanted = {
        "syn": spec(path, join="source_key", column="uid", take=["syn_text"]),
        "all": spec(path, join="source_key", column="uid", take=["ori_text", "syn_text"]),
    }
    found, joins = joined(wanted, samples, tmp_path / "scratch")
    assert found == {"syn": [[], ["one", "two"], []], "all": [[], ["own", "one", "two"], ["last"]]}
    assert len(joins) == 1  # the table is read once for both


def test_whole_numbers_are_keys_as_their_digits(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.parquet", [{"key": 1, "a": "no"}, {"key": 100000000, "a": "yes"}])
    samples = samples_of(["u", "v"]).set_column(1, "key", pa.array(["000000001", "100000000"]))
    found, _ = joined({"s": spec(path, join="key", column="key")}, samples, tmp_path / "scratch")
    assert found == {"s": [[], ["yes"]]}


def test_parts_of_a_table_in_a_folder_are_read_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    write_rows(folder / "train-1.parquet", [{"url": "u", "a": "later"}, {"url": "v", "a": "of v"}])
    write_rows(folder / "train-0.parquet", [{"url": "u", "a": "first"}])
    (folder / "README.md").write_text("about it")
    found, (one,) = joined({"s": spec(folder)}, samples_of(["v", "u"]), tmp_path / "scratch")
    assert found == {"s": [["of v"], ["first"]]}
    assert one.counts() == {"rows": 3, "used": 2, "repeated": 1, "unused": 0, "unreadable": 0}


def test_two_samples_of_one_key_get_the_same_captions_and_the_row_is_used_once(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.csv", [{"url": "u", "a": "first"}, {"url": "u", "a": "again"}])
    urls = ["u", "x", "y", "z", "u"]  # in two groups
    found, (one,) = joined({"s": spec(path)}, samples_of(urls), tmp_path / "scratch")
    assert found == {"s": [["first"], [], [], [], ["first"]]}
    assert one.counts() == {"rows": 2, "used": 1, "repeated": 1, "unused": 0, "unreadable": 0}


def test_keys_of_one_digest_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "hash", len, raising=False)
    rows = [{"url": url, "a": f"of {url}"} for url in ("no", "yy", "xx", "me", "xx", "z")]
    path = write_rows(tmp_path / "t.csv", rows)
    found, (one,) = joined({"s": spec(path)}, samples_of(["xx", "yy", "uu", "z"]), tmp_path / "scratch")
    assert found == {"s": [["of xx"], ["of yy"], [], ["of z"]]}
    assert one.counts() == {"rows": 6, "used": 3, "repeated": 1, "unused": 2, "unreadable": 0}


def test_rows_that_cannot_be_read_are_counted_and_cost_no_other(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'url,a\nu,of u\nv,of v,too much\nw,\xff\xfe\n"x","two\nlines"\nun\n')
    found, (one,) = joined({"s": spec(path)}, samples_of(["u", "v", "w", "x"]), tmp_path / "scratch")
    assert found == {"s": [["of u"], [], [], ["two\nlines"]]}
    assert one.counts() == {"rows": 5, "used": 2, "repeated": 0, "unused": 0, "unreadable": 3}


def test_what_is_held_back_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"url": f"http://x/{number}", "a": f"caption {number}"} for number in range(200)]
    path = write_rows(tmp_path / "t.csv", rows)
    urls = [f"http://x/{number}" for number in range(199, -1, -1)]
    whole, _ = joined({"s": spec(path)}, samples_of(urls), tmp_path / "scratch")
    monkeypatch.setattr(buckets, "BUFFERED", 0)
    monkeypatch.setattr("rankclip.data.tables.comma.ROWS", 7)
    small, _ = joined({"s": spec(path)}, samples_of(urls), tmp_path / "scratch")
    assert small == whole == {"s": [[f"caption {number}"] for number in range(199, -1, -1)]}


def test_what_a_killed_process_left_is_not_taken_for_captions(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.csv", [{"url": "u", "a": "of u"}])
    joined({"s": spec(path)}, samples_of(["v", "u"]), tmp_path / "scratch")
    found, _ = joined({"s": spec(path)}, samples_of(["u"]), tmp_path / "scratch")
    assert found == {"s": [["of u"]]}


OTHER = "none of 1 rows .* like 'https://x/1', a sample's URL like 'http://x/1'"
NOTHING = {
    "other URLs": ({"url": "https://x/1", "a": "a"}, {}, OTHER),
    "no keys of the list": (
        {"url": "u", "a": "a"},
        {"join": "source_key"},
        "have no key of the source's list",
    ),
    "no key in the table": ({"url": None, "a": "a"}, {}, "has no row with a url"),
    "another column": ({"link": "u", "a": "a"}, {}, "has no column url; choose among those it has: link, a"),
}


@pytest.mark.parametrize(("row", "changes", "message"), NOTHING.values(), ids=NOTHING)
def test_a_table_of_which_nothing_fits_is_an_error_that_shows_both_sides(
    tmp_path: Path, row: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    path = write_rows(tmp_path / "t.jsonl", [row])
    with pytest.raises(InputError, match=message):
        joined({"s": spec(path, **changes)}, samples_of(["http://x/1"]), tmp_path / "scratch")
