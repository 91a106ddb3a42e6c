"""Caption files, good and bad, to URL tables."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from rankclip import files
from rankclip.data import ingest
from rankclip.data.ingest_spec import IngestSpec
from rankclip.errors import InputError

SPEC = IngestSpec()
GOOD = b"a red square\thttp://a.example/1.jpg\n"


class Written:
    """A source that writes the bytes it is given."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "captions.tsv").write_bytes(self.content)
        return folder / "captions.tsv"


def outcome(tmp_path: Path, content: bytes, spec: IngestSpec = SPEC) -> dict[int, str]:
    """Row -> reason, and that the tables and the counts agree."""
    ingest.run(spec, Written(content), tmp_path)
    urls, refused = (
        files.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in ("urls", "refused")
    )
    result = {row["row"]: "ok" for row in urls} | {row["row"]: row["reason"] for row in refused}
    counted = files.read_json(tmp_path / "ingest.json")
    assert counted["input"] == len(result) == len(urls) + len(refused)
    assert counted["reasons"] == {
        reason: list(result.values()).count(reason) for reason in set(result.values())
    }
    assert sorted(result) == list(range(len(result)))
    assert all(row["detail"].isprintable() and len(row["detail"]) <= 200 for row in refused)
    return result


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
    }


def test_a_file_with_lone_carriage_returns_as_line_ends_is_one_malformed_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of 1 lines is accepted \(1 x malformed_row\)"):
        ingest.run(SPEC, Written(GOOD.replace(b"\n", b"\r") * 3), tmp_path)


def test_an_empty_file_is_an_error_that_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"captions.tsv is empty; it must hold one caption<TAB>url a line"):
        ingest.run(SPEC, Written(b""), tmp_path)


def test_a_repeated_url_is_found_in_the_same_batch_and_in_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "BATCH", 3)
    names = [0, 1, 0, 2, 0, 3, 3, 1, 4]
    content = b"".join(b"caption %d\thttp://a.example/%d\n" % pair for pair in enumerate(names))
    kept = {row for row, reason in outcome(tmp_path, content).items() if reason == "ok"}
    assert kept == {0, 1, 3, 5, 8}


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    content = GOOD + b"broken\n" + b"two\thttp://b.example/2.jpg\n"
    digests = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        ingest.run(SPEC, Written(content), folder)
        digests.append([files.sha256(folder / f"{name}.parquet") for name in ("urls", "refused")])
    assert digests[0] == digests[1]


def test_a_line_without_end_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "captions.tsv"
    path.write_bytes(GOOD + b"x" * 50_000_000 + b"\n")
    tracemalloc.start()
    try:
        ingest.ingest(SPEC, path, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
