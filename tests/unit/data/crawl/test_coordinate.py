"""Work shards, the stop rule and the export, with a job that fetches nothing."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankclip import files
from rankclip.data.crawl import coordinate, workers
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import Statuses
from rankclip.data.reasons import Reason
from rankclip.errors import RunError

SPEC = DownloadSpec(rows_per_shard=10, stop_rows=20, stop_share=0.95)


class Job:
    """Gives every row the reason that its caption names."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def __call__(self, name: str, payload: bytes, report: workers.Report) -> None:
        rows = pa.ipc.open_file(payload).read_all().to_pylist()
        statuses = Statuses(name, report)
        for row in reversed(rows):
            status = {"row": row["row"], "status": "failed_to_download", "error_message": row["caption"]}
            statuses.note(b"image" if row["caption"] == "ok" else None, status)
        (self.work / "done").mkdir(parents=True, exist_ok=True)
        with (self.work / "fetched").open("a") as fetched:
            fetched.write(f"{name}\n")
        (self.work / "done" / f"{name}.tar").write_bytes(b"tar of " + name.encode())
        files.write_table(
            self.work / "done" / f"{name}.parquet", statuses.table([row["row"] for row in rows])
        )


def write_urls(path: Path, captions: list[str], row_group: int = 7) -> Path:
    rows = [3 * number for number in range(len(captions))]
    columns = {"row": rows, "key": [f"{row:09d}" for row in rows], "url": [f"http://a/{row}" for row in rows]}
    pq.write_table(pa.table({**columns, "caption": captions}), path, row_group_size=row_group)
    return path


def fetch(tmp_path: Path, captions: list[str], spec: DownloadSpec = SPEC) -> list[dict[str, object]]:
    urls = write_urls(tmp_path / "urls.parquet", captions)
    coordinate.fetch(partial(Job, tmp_path), spec, urls, tmp_path)
    coordinate.export(spec, urls, tmp_path, tmp_path / "out")
    rows: list[dict[str, object]] = files.read_table(tmp_path / "out" / "status.parquet").to_pylist()
    return rows


def test_every_row_is_in_one_shard_whatever_the_row_groups(tmp_path: Path) -> None:
    status = fetch(tmp_path, ["ok", "[rankclip:http_404] gone"] * 17)
    assert [row["row"] for row in status] == [3 * number for number in range(34)]
    assert [row["shard"] for row in status] == [f"{number // 10:05d}" for number in range(34)]
    digest = hashlib.sha256(b"image").hexdigest()
    assert list(status[0].values()) == [0, "000000000", "ok", "", digest, 5, "00000"]
    assert status[1] | {"detail": "gone", "reason": "http_404", "sha256": "", "size": 0} == status[1]
    assert (tmp_path / "out" / "00003.tar").read_bytes() == b"tar of 00003"


def test_only_shards_without_a_table_are_fetched_again(tmp_path: Path) -> None:
    first = fetch(tmp_path, ["ok"] * 35)
    (tmp_path / "done" / "00001.parquet").unlink()
    (tmp_path / "tmp" / "00001").mkdir(parents=True)
    (tmp_path / "fetched").unlink()
    (tmp_path / "out" / "00009.tar").write_bytes(b"of another crawl")
    assert fetch(tmp_path, ["ok"] * 35) == first
    assert (tmp_path / "fetched").read_text() == "00001\n"
    assert not (tmp_path / "tmp").exists()
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == [
        f"0000{n}.tar" for n in range(4)
    ]


def test_a_crawl_that_fails_for_one_reason_is_stopped_and_the_reason_named(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"of the first \d+ rows failed with `dns`; .* set download.stop_rows=0"
    ):
        fetch(tmp_path, ["[rankclip:dns] no such host"] * 200)


@pytest.mark.parametrize(
    ("captions", "spec"),
    [
        (["[rankclip:dns] "] * 40, SPEC.model_copy(update={"stop_rows": 0})),
        (["[rankclip:dns] "] * 9 + ["ok"] + ["[rankclip:dns] "] * 30, SPEC),
        (["[rankclip:dns] ", "[rankclip:http_404] "] * 20, SPEC),
        (["[rankclip:dns] "] * 10, SPEC),
    ],
)
def test_a_crawl_goes_on_when_told_so_or_when_something_works(
    tmp_path: Path, captions: list[str], spec: DownloadSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_PROCESSES", "1")
    assert len(fetch(tmp_path, captions, spec)) == len(captions)


def test_a_row_without_a_result_is_counted(tmp_path: Path) -> None:
    told: list[object] = []
    statuses = Statuses("00000", told.append)
    statuses.note(None, {"row": 1, "status": "failed_to_resize", "error_message": "Image decoding error"})
    rows = statuses.table([0, 1]).to_pylist()
    assert [row["reason"] for row in rows] == ["other", "not_an_image"]
    assert told == [{Reason.OTHER: 1, Reason.NOT_AN_IMAGE: 1}]
