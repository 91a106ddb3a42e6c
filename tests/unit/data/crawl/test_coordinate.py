"""A crawl's work in progress, its store and its export, with a job that fetches nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rankclip import files, storage
from rankclip.data.crawl import download, work_folder
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.errors import RunError
from tests.unit.data.crawl.crawls import Nowhere, fake_job, write_urls

SPEC = DownloadSpec(rows_per_shard=20, stop_rows=40, stop_share=0.95)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_job(monkeypatch)


def fetch(folder: Path, captions: list[str], spec: DownloadSpec = SPEC) -> list[dict[str, object]]:
    hosts = [f"http://a.invalid/{row}" for row in range(len(captions))]
    urls = write_urls(folder / "urls.parquet", hosts, captions, step=3)
    download.run(spec, Nowhere(), urls, folder / "work", folder / "data" / "crawl")
    rows: list[dict[str, object]] = files.read_table(folder / "data/crawl/status.parquet").to_pylist()
    return rows


def asked(folder: Path) -> list[str]:
    """The shards fetched since the last time."""
    notes = folder / "work" / "asked"
    found = notes.read_text().split() if notes.exists() else []
    notes.unlink(missing_ok=True)
    return sorted(found)


def work(folder: Path) -> Path:
    (found,) = (folder / "work").glob("download-*")
    return found


def tars(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.tar"))


def test_the_status_has_every_row_once_and_names_the_tar_of_its_image(tmp_path: Path) -> None:
    status = fetch(tmp_path, ["ok", "http_404"] * 34)
    assert [row["row"] for row in status] == [3 * number for number in range(68)]
    assert [row["shard"] for row in status] == [f"{number // 20:05d}" for number in range(68)]
    digest = hashlib.sha256(b"image 0").hexdigest()
    assert list(status[0].values()) == [0, "000000000", "ok", "", digest, 7, "00000"]
    assert list(status[1].values()) == [3, "000000003", "http_404", "because", "", 0, "00000"]
    out = tmp_path / "data" / "crawl"
    assert tars(out) == ["00000.tar", "00001.tar", "00002.tar", "00003.tar"]
    assert files.read_json(out / "record.json")["counts"] == {"http_404": 34, "ok": 34}
    assert not list((work(tmp_path) / "tmp").iterdir())


def test_only_shards_that_are_not_finished_are_fetched_again(tmp_path: Path) -> None:
    captions = ["ok"] * 70
    first = fetch(tmp_path, captions)
    assert asked(tmp_path) == ["00000", "00001", "00002", "00003"]
    (work(tmp_path) / "done" / "00001.parquet").unlink()
    (work(tmp_path) / "done" / "00002.tar").unlink()
    out = tmp_path / "data" / "crawl"
    (out / "00009.tar").write_bytes(b"of another crawl")
    (out / "00003.tar").unlink()
    assert fetch(tmp_path, captions) == first
    assert asked(tmp_path) == ["00001", "00002"]
    assert tars(out) == ["00000.tar", "00001.tar", "00002.tar", "00003.tar"]


def test_patience_and_manners_may_change_without_a_new_crawl(tmp_path: Path) -> None:
    fetch(tmp_path, ["ok"] * 70)
    asked(tmp_path)
    patient = SPEC.model_copy(update={"threads": 3, "timeout_s": 1.5, "stop_rows": 0, "per_host": 1})
    fetch(tmp_path, ["ok"] * 70, patient)
    assert asked(tmp_path) == []
    fetch(tmp_path, ["ok"] * 70, SPEC.model_copy(update={"max_bytes": 1000}))
    assert len(asked(tmp_path)) == 4


def test_the_status_is_read_in_few_large_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_folder, "_ROW_GROUP", 50)
    fetch(tmp_path, ["ok"] * 130)
    stored = pq.ParquetFile(tmp_path / "data" / "crawl" / "status.parquet").metadata
    assert [stored.row_group(group).num_rows for group in range(stored.num_row_groups)] == [60, 60, 10]


def test_a_list_without_rows_has_a_status_without_rows(tmp_path: Path) -> None:
    assert fetch(tmp_path, []) == []


def test_a_store_elsewhere_gets_the_tars_and_a_change_of_mind_moves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = ["ok"] * 50
    out = tmp_path / "data" / "crawl"
    monkeypatch.setenv("RANKCLIP_STORE", str(tmp_path / "far"))
    status = fetch(tmp_path, captions)
    assert tars(out) == []
    there = storage.of_tars(out)
    assert there.place.startswith(str(tmp_path / "far" / "data" / "crawl" / "download-"))
    assert list(there.sizes(".tar")) == ["00000.tar", "00001.tar", "00002.tar"]
    first = files.sha256(Path(there.place) / "00001.tar")
    asked(tmp_path)

    monkeypatch.delenv("RANKCLIP_STORE")
    assert fetch(tmp_path, captions) == status
    assert storage.of_tars(out).place == str(out)
    assert files.sha256(out / "00001.tar") == first

    monkeypatch.setenv("RANKCLIP_STORE", str(tmp_path / "farther"))
    assert fetch(tmp_path, captions) == status
    assert files.sha256(Path(storage.of_tars(out).place) / "00001.tar") == first
    assert tars(out) == []
    assert asked(tmp_path) == []


def test_projects_that_share_a_store_and_a_list_do_not_share_tars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_STORE", str(tmp_path / "far"))
    places = []
    for project in ("one", "two", "two"):
        fetch(tmp_path / project, ["ok"] * 20)
        places.append(storage.of_tars(tmp_path / project / "data" / "crawl").place)
    assert places[0] != places[1] == places[2]


def test_tars_that_are_gone_are_spoken_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(tmp_path, ["ok"] * 70)
    assert "warning" not in capsys.readouterr().err
    (work(tmp_path) / "done" / "00002.tar").unlink()
    fetch(tmp_path, ["ok"] * 70)
    assert "warning: 1 of 4 tars of this crawl are gone from " in capsys.readouterr().err


@pytest.mark.parametrize("moved", [False, True], ids=["there", "to another place"])
def test_a_store_that_is_not_mounted_costs_no_finished_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    captions = ["ok"] * 50
    monkeypatch.setenv("RANKCLIP_STORE", str(tmp_path / "far"))
    status = fetch(tmp_path, captions)
    asked(tmp_path)
    (tmp_path / "far").rename(tmp_path / "unmounted")
    if moved:
        monkeypatch.setenv("RANKCLIP_STORE", str(tmp_path / "farther"))
    with pytest.raises(RunError, match=r"far/.* holds 0 of the 3 tars .*; mount it, or delete .*download-"):
        fetch(tmp_path, captions)
    (tmp_path / "unmounted").rename(tmp_path / "far")
    assert fetch(tmp_path, captions) == status
    assert asked(tmp_path) == []


def test_a_tar_that_is_not_seen_from_here_is_not_taken_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(storage.store(tmp_path)), "size", lambda *unused: None)
    with pytest.raises(RunError, match=r"00000\.tar was written with 10240 bytes, .* Set RANKCLIP_STORE"):
        fetch(tmp_path, ["http_404"] * 20)
    assert not list((work(tmp_path) / "done").glob("*.parquet"))


@pytest.mark.parametrize("reason", ["dns", "tls", "http_500"])
def test_a_crawl_that_fails_for_one_reason_is_stopped_and_an_outage_is_not_taken_for_an_answer(
    tmp_path: Path, reason: str
) -> None:
    captions = ["ok"] * 60 + [reason] * 200
    with pytest.raises(RunError, match=rf"of the last \d+ rows failed with `{reason}`, most often 'because'"):
        fetch(tmp_path, captions)
    failed = [name for name in asked(tmp_path) if name >= "00003"]
    assert 2 <= len(failed) <= 4
    fetch(tmp_path, captions, SPEC.model_copy(update={"stop_rows": 0}))
    again = asked(tmp_path)
    assert again[-1] == "00012"
    assert not {"00000", "00001", "00002"} & set(again)
    assert (failed[0] in again) == (reason != "http_500")


def test_a_crawl_that_fails_for_one_reason_goes_on_when_told_so(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"stop_rows": 0})
    assert len(fetch(tmp_path, ["dns"] * 100, spec)) == 100
