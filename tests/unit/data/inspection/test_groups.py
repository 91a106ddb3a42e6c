"""Rows counted by host: the same as a slow twin, whatever the URLs look like."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankclip.data.inspection import groups
from tests.unit.data.inspection.finished import ROWS, Row, before_curate, lay_out


def test_the_host_that_loses_most_comes_first(tmp_path: Path) -> None:
    found = groups.grouped(lay_out(tmp_path), "host", (), 2)
    first, second = found.worst
    assert (first.name, first.rows, first.ok, first.lost) == ("b.invalid", 3, 0, 3)
    assert first.reasons == {"dns": 1, "http_404": 1, "too_small": 1}
    assert (second.name, second.rows, second.lost) == ("gone.invalid", 2, 2)
    assert found.losing == 3


def test_only_the_reasons_asked_for_count_as_lost(tmp_path: Path) -> None:
    (worst,) = groups.grouped(before_curate(tmp_path), "host", ("dns",), 1).worst
    assert (worst.name, worst.lost) == ("gone.invalid", 2)


@pytest.mark.parametrize("by", ["host", "shard", "stage"])
@pytest.mark.parametrize("reasons", [(), ("tls",)])
def test_where_no_row_is_lost_there_is_no_group(tmp_path: Path, by: groups.By, reasons) -> None:
    data = lay_out(tmp_path, [Row(), Row()])
    assert groups.grouped(data, by, reasons, 9) == groups.Grouped((), 0)


def test_rows_without_a_url_or_a_tar_are_a_group_too(tmp_path: Path) -> None:
    data = lay_out(tmp_path)
    assert {each.name for each in groups.grouped(data, "host", (), 9).worst} >= {"no URL"}
    shards = {each.name: each.rows for each in groups.grouped(data, "shard", (), 9).worst}
    assert shards == {"00000": 11, "in no tar": 1}
    stages = {each.name: each.rows for each in groups.grouped(data, "stage", (), 9).worst}
    assert stages == {"download": 4, "ingest": 1, "curate": 7}


def test_counts_added_up_now_and_then_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lay_out(tmp_path, [Row("dns", "download", f"{n % 7}.invalid") for n in range(50)] + [Row()])
    expected = groups.grouped(data, "host", (), 9)
    monkeypatch.setattr(groups, "COMPACT", 2)
    batches = groups.rows.stream

    def in_small_tables(*arguments):
        for table in batches(*arguments):
            yield from (table.slice(start, 3) for start in range(0, len(table), 3))

    monkeypatch.setattr(groups.rows, "stream", in_small_tables)
    assert groups.grouped(data, "host", (), 9) == expected


def test_the_groups_are_those_of_a_slow_twin(tmp_path: Path) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in ROWS:
        counts["no URL" if row.stage == "ingest" else row.host][row.reason] += 1
    found = groups.grouped(lay_out(tmp_path), "host", (), 99).worst
    assert {each.name: each.rows for each in found} == {
        name: of.total() for name, of in counts.items() if of.total() > of["ok"]
    }
    assert all(each.reasons == {r: n for r, n in counts[each.name].items() if r != "ok"} for each in found)


HOST = st.from_regex(r"[a-zA-Z0-9-]{1,8}(\.[a-zA-Z0-9-]{1,5}){0,3}", fullmatch=True)


@given(
    st.sampled_from(["http", "https", "HTTP"]),
    st.sampled_from(["", "user@", "user:word@"]),
    HOST | st.just("[2001:db8::1]"),
    st.sampled_from(["", ":80", ":8080"]),
    st.sampled_from(["", "/", "/a@b:c", "?q=a/b@c", "#x", "/\u00e9"]),
)
def test_hosts_are_what_the_standard_library_finds(
    scheme: str, user: str, host: str, port: str, rest: str
) -> None:
    url = f"{scheme}://{user}{host}{port}{rest}"
    (found,) = groups.hosts(pa.chunked_array([[url]])).to_pylist()
    assert found.strip("[]") == urlsplit(url).hostname


@pytest.mark.parametrize("url", [None, "", "no url", "http:/one", "://x", "\0"])
def test_what_is_no_url_has_no_host(url: str | None) -> None:
    assert groups.hosts(pa.chunked_array([[url]], pa.string())).to_pylist() == [""]
