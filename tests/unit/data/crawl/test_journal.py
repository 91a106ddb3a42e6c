"""The notes of an unfinished work shard, cut off or damaged anywhere."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data.crawl.journal import Journal, Result
from rankclip.data.reasons import Reason

IMAGE = Result(Reason.OK, "", "digest", 3, '{"width": 1}')
GONE = Result(Reason.HTTP_404, "HTTP 404 \ud800 ü")

Entry = tuple[int, bytes | None]


def write(path: Path, entries: list[Entry]) -> list[int]:
    """The sizes of the file after each entry; one without bytes is a row that was begun."""
    sizes = [0]
    with Journal(path) as journal:
        for row, image in entries:
            if image is None:
                journal.begin(row)
            else:
                journal.add(row, IMAGE._replace(size=len(image)), image)
            sizes.append(path.stat().st_size)
    return sizes


def held(path: Path) -> tuple[dict[int, bytes], dict[int, int]]:
    with Journal(path) as journal:
        return {row: journal.image(row) for row in journal.results}, dict(journal.begun)


def expected(entries: list[Entry]) -> tuple[dict[int, bytes], dict[int, int]]:
    begun = [row for row, image in entries if image is None]
    return (
        {row: image for row, image in entries if image is not None},
        {row: begun.count(row) for row in begun},
    )


ENTRIES = st.lists(st.tuples(st.integers(0, 9), st.none() | st.binary(max_size=40)), max_size=8)


@settings(deadline=None)
@given(entries=ENTRIES, data=st.data())
def test_whatever_is_cut_off_the_whole_records_before_it_are_kept_and_more_can_follow(
    entries: list[Entry], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard" / "journal"
        sizes = write(path, entries)
        end = data.draw(st.integers(0, sizes[-1]))
        with path.open("r+b") as file:
            file.truncate(end)
        whole = sum(size <= end for size in sizes) - 1
        assert held(path) == expected(entries[:whole])
        assert path.stat().st_size == sizes[whole]
        write(path, [(99, b"more")])
        assert held(path)[0] == expected([*entries[:whole], (99, b"more")])[0]


@settings(deadline=None)
@given(entries=ENTRIES.filter(bool), data=st.data())
def test_a_damaged_record_and_what_follows_it_are_not_taken_for_results(
    entries: list[Entry], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        sizes = write(path, entries)
        at = data.draw(st.integers(0, sizes[-1] - 1))
        content = bytearray(path.read_bytes())
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        whole = sum(size <= at for size in sizes) - 1
        assert held(path) == expected(entries[:whole])


def test_a_result_is_what_it_was(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.add(1, GONE)
        journal.add(2, IMAGE, b"abc")
        journal.add(2, IMAGE._replace(size=2), b"de")
    with Journal(tmp_path / "journal") as journal:
        assert journal.results == {1: GONE, 2: IMAGE._replace(size=2)}
        assert type(journal.results[1].reason) is Reason
        assert (journal.image(1), journal.image(2)) == (b"", b"de")


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "journal").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), Journal(tmp_path / "journal") as journal:
        journal.add(1, GONE)
