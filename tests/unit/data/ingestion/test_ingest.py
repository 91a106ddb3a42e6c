"""Caption files, good and bad, to URL tables."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankclip import files
from rankclip.data.ingestion import ingest, row_groups
from rankclip.data.ingestion.form import Columns, Format, Lines
from rankclip.data.ingestion.spec import IngestSpec
from rankclip.data.tables import split, streams
from rankclip.errors import InputError
from tests.unit.data.ingestion.lists import Written, ingested, tables
from tests.unit.data.ingestion.slow_ingest import outcomes

Order = Literal["caption", "url"]
ORDERS: tuple[Order, ...] = ("caption", "url")
SPEC = IngestSpec()
GOOD = b"a red square\thttp://a.example/1.jpg\n"


def outcome(tmp_path: Path, content: bytes, spec: IngestSpec = SPEC) -> dict[int, str]:
    """Row -> reason of a list with captions first."""
    return ingested(tmp_path, Written(content), spec)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"no tab\n", "malformed_row"),
        (b"\n", "malformed_row"),
        (b"caption\thttp://a.example/2.jpg\textra\n", "malformed_row"),
        (b"nul \0 inside\thttp://a.example/2.jpg\n", "malformed_row"),
        (b"lone \r return\thttp://a.example/2.jpg\n", "malformed_row"),
        (b"caption\thttp://[::1/2.jpg\n", "malformed_row"),
        (b"caption\thttp://a.example:99999/\n", "malformed_row"),
        (b"caption\thttp://a.example/\x01.jpg\n", "malformed_row"),
        (b"caption\thttp://a.example/" + b"x" * 9000 + b"\n", "malformed_row"),
        (b" \t http://a.example/2.jpg\n", "empty_caption"),
        (b"c" * 4097 + b"\thttp://a.example/2.jpg\n", "caption_too_long"),
        (b"c" * 10**6 + b"\thttp://a.example/2.jpg\n", "caption_too_long"),
        (b"\xff\xfe\thttp://a.example/2.jpg\n", "bad_encoding"),
        (b"caption\tfile:///etc/hostname\n", "bad_scheme"),
        (b"caption\tftp://a.example/2.jpg\n", "bad_scheme"),
        (b"caption\tdata:image/png;base64,AAAA\n", "bad_scheme"),
        (b"caption\ta.example/2.jpg\n", "bad_scheme"),
        (b"caption\t\n", "no_url"),
        (b"caption\thttp:///2.jpg\n", "no_url"),
        (b"again\thttp://a.example/1.jpg\n", "duplicate_url"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason_and_its_neighbours_are_kept(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    after = b"a blue disc\thttps://b.example/3.jpg\n"
    assert outcome(tmp_path, GOOD + line + after) == {0: "ok", 1: reason, 2: "ok"}


def test_windows_line_ends_a_byte_order_mark_and_a_missing_last_line_feed_are_no_faults(
    tmp_path: Path,
) -> None:
    content = b"\xef\xbb\xbfa red square\thttp://a.example/1.jpg\r\ntwo\tHTTP://b.example/2.jpg"
    assert outcome(tmp_path, content) == {0: "ok", 1: "ok"}
    urls = files.read_table(tmp_path / "urls.parquet").to_pylist()
    assert urls[0] == {
        "row": 0,
        "key": "000000000",
        "url": "http://a.example/1.jpg",
        "caption": "a red square",
        "source_key": None,
    }


def test_a_file_with_lone_carriage_returns_as_line_ends_is_one_malformed_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of 1 rows is accepted \(1 x malformed_row\)"):
        ingest.run(SPEC, Written(GOOD.replace(b"\n", b"\r") * 3), tmp_path)


def test_an_empty_file_is_an_error_that_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"captions.tsv is empty; it must hold one caption<TAB>url a line"):
        ingest.run(SPEC, Written(b""), tmp_path)


def test_a_list_with_urls_first_is_read_so(tmp_path: Path) -> None:
    content = b"http://a.example/1.jpg\ta red square\nno tab\n"
    assert ingested(tmp_path, Written(content, Lines(first="url")), SPEC) == {0: "ok", 1: "malformed_row"}
    (accepted,), _ = tables(tmp_path)
    assert (accepted["url"], accepted["caption"]) == ("http://a.example/1.jpg", "a red square")


def test_a_list_in_the_wrong_order_of_columns_is_an_error_that_names_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 x bad_scheme.* must hold one url<TAB>caption a line"):
        ingest.run(SPEC, Written(GOOD * 2, Lines(first="url")), tmp_path)


def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes blocks, parts and row groups so small that a few rows fill several."""
    monkeypatch.setattr(streams, "BLOCK", 64)
    monkeypatch.setattr(split, "ROWS", 3)
    monkeypatch.setattr(row_groups, "ROWS", 4)


def test_a_repeated_url_is_found_in_the_same_part_and_in_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pieces(monkeypatch)
    names = [0, 1, 0, 2, 0, 3, 3, 1, 4]
    content = b"".join(b"caption %d\thttp://a.example/%d\n" % pair for pair in enumerate(names))
    kept = {row for row, reason in outcome(tmp_path, content).items() if reason == "ok"}
    assert kept == {0, 1, 3, 5, 8}


PIECES = st.sampled_from(
    [
        *([b"\t"] * 3 + [b"\n"] * 3 + [b"\r\n", b"\r", b"\0", b" ", b"\xc2\xa0", b"\x1c", b"\xff", b"\xc3"]),
        *(b"http://a.example/1", b"HTTPS://b.example:80", b"https://c.example:123456", b"http://[::1]/x"),
        *(b"ftp://a.example", b"http://", b"//a", b"http://u:p@h/", b"http://\xc3\xa9.example/", b"/\x7f"),
        *(b"?q=\x01", b"#", b"a red square", b"caf\xc3\xa9", b"\xef\xbb\xbf", b"x" * 40, b"y" * 70),
    ]
)


@given(content=st.lists(PIECES, max_size=60).map(b"".join), first=st.sampled_from(ORDERS))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_fast_reading_gives_what_the_slow_and_plain_one_gives(
    content: bytes, first: Order, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = IngestSpec(max_caption_chars=60, max_url_chars=50)
    folder = tmp_path_factory.mktemp("list")
    expected = outcomes(content, first, spec)
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_pieces(monkeypatch)
        try:
            ingest.run(spec, Written(content, Lines(first=first)), folder)
        except InputError:
            assert not any(reason == "ok" for reason, _, _ in expected)
    urls, refused = tables(folder)
    found = {row["row"]: (row["reason"], "", "") for row in refused}
    found |= {row["row"]: ("ok", row["url"], row["caption"]) for row in urls}
    assert [found[row] for row in range(len(found))] == expected


def test_equal_input_gives_equal_bytes_whatever_the_blocks_and_the_compression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = GOOD + b"broken\n" + b"".join(b"%d\thttp://b.example/%d\n" % (n, n % 50) for n in range(90))
    sources = {"plain": Written(content), "gz": Written(gzip.compress(content), name="captions.tsv.gz")}
    digests = {}
    for name, source in (*sources.items(), ("blocks", sources["plain"])):
        if name == "blocks":
            monkeypatch.setattr(streams, "BLOCK", 64)
            monkeypatch.setattr(split, "ROWS", 3)
        ingest.run(SPEC, source, tmp_path / name)
        written = (tmp_path / name / f"{table}.parquet" for table in ("urls", "refused"))
        digests[name] = [files.sha256(path) for path in written]
    assert digests["plain"] == digests["gz"] == digests["blocks"]


def test_the_same_pairs_give_the_same_bytes_in_whatever_form_they_are_listed(tmp_path: Path) -> None:
    pairs = [{"caption": f"caption {n}", "url": f"http://a.example/{n % 40}"} for n in range(60)]
    lines = "".join("{caption}\t{url}\n".format(**pair) for pair in pairs).encode()
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(pairs), parquet)
    contents: dict[Format, bytes] = {
        "tsv": b"caption\turl\n" + lines,
        "csv": b"caption,url\n" + lines.replace(b"\t", b","),
        "jsonl": "".join(f"{json.dumps(pair)}\n" for pair in pairs).encode(),
        "parquet": parquet.getvalue(),
    }
    sources = [Written(each, Columns(name, "url", "caption", None)) for name, each in contents.items()]
    digests = set()
    for at, source in enumerate([Written(lines), *sources]):
        out = tmp_path / str(at)
        ingest.run(SPEC, source, out)
        digests.add(tuple(files.sha256(out / f"{each}.parquet") for each in ("urls", "refused")))
    assert len(digests) == 1


@pytest.mark.parametrize("cut", [1, 9, 40, -8, -1])
def test_a_list_that_was_not_copied_whole_is_an_error_and_leaves_no_table(tmp_path: Path, cut: int) -> None:
    content = gzip.compress(GOOD + bytes(range(32, 127)) * 3)[:cut]
    with pytest.raises(InputError, match=r"captions.tsv.gz cannot be read \(.*\); get a whole copy of it$"):
        ingest.run(SPEC, Written(content, name="captions.tsv.gz"), tmp_path)
    assert not (tmp_path / "urls.parquet").exists()
    assert not (tmp_path / "ingest.json").exists()


@pytest.mark.parametrize(
    "content",
    [GOOD + b"x" * 50_000_000 + b"\n", GOOD + b"\n" * 100_000, GOOD + b"x\ty\n" * 100_000],
    ids=["a line without end", "nothing but line ends", "nothing but refused rows"],
)
def test_a_list_is_not_held_in_memory(tmp_path: Path, content: bytes) -> None:
    source = Written(content)
    path = source.write(tmp_path / "source")
    tracemalloc.start()
    try:
        ingest.ingest(SPEC, path, source.form, None, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 45_000_000
    finally:
        tracemalloc.stop()
