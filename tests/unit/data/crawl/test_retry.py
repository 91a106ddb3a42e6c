"""Rows fetched again in place: what stays, what changes, and what an interruption leaves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rankclip import files
from rankclip.data import tars
from rankclip.data.crawl import download, retry
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason
from rankclip.errors import InputError, RunError
from tests.unit.data.crawl.crawls import Nowhere, fake_job, write_urls

SPEC = DownloadSpec(rows_per_shard=20)
CAPTIONS = ["ok", "dns", "http_404", "timeout"] * 15 + ["ok"] * 20


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_job(monkeypatch)


class Crawl:
    """A crawl of `CAPTIONS`, of which the job fails each row as its caption says, or as `now` says."""

    def __init__(self, folder: Path, stop_rows: int = 500) -> None:
        self.spec = SPEC.model_copy(update={"stop_rows": stop_rows})
        self.folder = folder
        self.out = folder / "data" / "crawl"
        self.urls = write_urls(folder / "urls.parquet", ["http://a.invalid/"] * len(CAPTIONS), CAPTIONS)
        self.where: dict[str, Any] = {"urls": self.urls, "work": folder / "work", "out": self.out}
        download.run(self.spec, Nowhere(), **self.where)
        self.asked()

    def now(self, **reasons: str) -> None:
        (self.folder / "work" / "now").write_text(" ".join(f"{a}={b}" for a, b in reasons.items()))

    def again(self, *reasons: str) -> retry.Retried:
        return retry.run(self.spec, Nowhere(), **self.where, reasons=reasons)

    def asked(self) -> list[str]:
        notes = self.folder / "work" / "asked"
        found = notes.read_text().split() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return sorted(found)

    def status(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = files.read_table(self.out / "status.parquet").to_pylist()
        return rows

    def reasons(self) -> Counter[str]:
        return Counter(row["reason"] for row in self.status())

    def digests(self) -> dict[str, str]:
        return {path.name: files.sha256(path) for path in self.out.iterdir() if path.name != "record.json"}


@pytest.fixture
def crawl(tmp_path: Path) -> Crawl:
    return Crawl(tmp_path)


def test_just_the_rows_with_these_reasons_are_fetched_again_and_the_rest_stays(crawl: Crawl) -> None:
    before, tars_before = crawl.status(), crawl.digests()
    crawl.now(dns="ok", timeout="http_500")
    found = crawl.again("dns", "timeout")
    assert crawl.asked() == ["00000-r1", "00001-r1", "00002-r1"]
    assert found.rows == 30
    assert found.before == {Reason.OK: 35, Reason.DNS: 15, Reason.HTTP_404: 15, Reason.TIMEOUT: 15}
    assert found.after == {Reason.OK: 50, Reason.HTTP_404: 15, Reason.HTTP_500: 15}

    after = crawl.status()
    for row, was in zip(after, before, strict=True):
        if was["reason"] in ("dns", "timeout"):
            assert row["shard"] == f"{was['shard']}-r1"
            assert row["reason"] == {"dns": "ok", "timeout": "http_500"}[was["reason"]]
        else:
            assert row == was
    tars_after = crawl.digests()
    assert all(tars_after[name] == digest for name, digest in tars_before.items() if name.endswith("tar"))
    assert set(tars_after) - set(tars_before) == {"00000-r1.tar", "00001-r1.tar", "00002-r1.tar"}
    stored = tars.listing(crawl.out / "00001-r1.tar", "")
    assert [name for name in stored if name.endswith("jpg")] == [f"{row:09d}.jpg" for row in range(21, 40, 4)]
    assert files.read_json(crawl.out / "record.json")["counts"] == {"http_404": 15, "http_500": 15, "ok": 50}


def test_the_stage_download_leaves_what_was_fetched_again(crawl: Crawl) -> None:
    crawl.now(dns="ok")
    crawl.again("dns")
    status, there = crawl.status(), crawl.digests()
    crawl.asked()
    for path in crawl.out.iterdir():
        path.unlink()
    download.run(SPEC, Nowhere(), **crawl.where)
    assert crawl.asked() == []
    assert (crawl.status(), crawl.digests()) == (status, there)


def test_rows_may_be_fetched_again_any_number_of_times(crawl: Crawl) -> None:
    crawl.now(dns="timeout")
    crawl.again("dns")
    crawl.now(dns="ok", timeout="ok")
    found = crawl.again("timeout")
    assert found.rows == 30
    assert crawl.reasons() == {"ok": 65, "http_404": 15}
    assert {row["shard"] for row in crawl.status()} == {
        *("00000", "00000-r2", "00001", "00001-r2", "00002", "00002-r2", "00003"),
    }
    crawl.now(http_404="dns")
    assert crawl.again("http_404").after[Reason.DNS] == 15


def test_after_an_interruption_the_same_call_goes_on_with_those_left(crawl: Crawl) -> None:
    crawl.now(fail="00001-r1")
    with pytest.raises(RunError, match="00001-r1"):
        crawl.again("dns")
    done = crawl.asked()
    assert done[0] == "00000-r1"
    download.run(SPEC, Nowhere(), **crawl.where)  # in between: the state so far, whatever it is
    assert crawl.reasons().total() == 80
    crawl.now(dns="ok")
    found = crawl.again("dns")
    assert crawl.asked() == ["00001-r1", "00002-r1"]
    assert (found.rows, found.before[Reason.DNS], found.after[Reason.DNS]) == (15, 15, 5)
    assert crawl.reasons()["ok"] == 45


def test_an_outage_during_a_retry_does_not_replace_what_was_known(tmp_path: Path) -> None:
    crawl = Crawl(tmp_path, stop_rows=8)
    before = crawl.status()
    crawl.now(http_404="dns")
    with pytest.raises(RunError, match="rows failed with `dns`"):
        crawl.again("http_404")
    download.run(crawl.spec, Nowhere(), **crawl.where)
    assert crawl.status() == before
    crawl.now(http_404="http_404")
    assert crawl.again("http_404").after[Reason.HTTP_404] == 15
    crawl.now(dns="dns")
    assert crawl.again("dns").after[Reason.DNS] == 15


def test_nothing_to_fetch_again_changes_nothing(crawl: Crawl) -> None:
    before = crawl.digests()
    found = crawl.again("connect")
    assert (found.rows, found.before) == (0, found.after)
    assert crawl.asked() == []
    assert crawl.digests() == before


@pytest.mark.parametrize(
    ("reasons", "what"),
    [
        (("ok",), "'ok' cannot be fetched again"),
        (("dns", "decode", "dnss"), "'decode', 'dnss' cannot be fetched again"),
        ((), "no reason is named"),
    ],
)
def test_only_failures_of_the_download_can_be_fetched_again(
    crawl: Crawl, reasons: tuple[str, ...], what: str
) -> None:
    with pytest.raises(
        InputError, match=rf"^{what}; name some of bad_scheme, .*, connect, dns, .*http_404, "
    ):
        crawl.again(*reasons)


def test_a_crawl_that_is_not_complete_is_to_be_completed_first(crawl: Crawl) -> None:
    (done,) = (crawl.folder / "work").glob("download-*/done")
    (done / "00001.parquet").unlink()
    with pytest.raises(RunError, match=r"1 of 4 work shards of .* run the stage download first"):
        crawl.again("dns")


def test_an_image_that_is_lost_makes_its_row_what_it_was_before(
    crawl: Crawl, capsys: pytest.CaptureFixture[str]
) -> None:
    crawl.now(dns="ok")
    crawl.again("dns")
    (done,) = (crawl.folder / "work").glob("download-*/done")
    (done / "00001-r1.tar").unlink()
    download.run(SPEC, Nowhere(), **crawl.where)
    assert "of 1 retried shards the rows are as before" in capsys.readouterr().err
    assert crawl.reasons()["dns"] == 5
    crawl.again("dns")
    assert crawl.reasons()["dns"] == 0
