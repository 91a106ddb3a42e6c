"""What a second run of curate finds done: after a kill, with other limits, after a retry, on a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rankclip import files, lifecycle, storage
from rankclip.data.curation import curate, judging
from rankclip.data.curation.spec import CurateSpec
from rankclip.errors import DataError, RunError
from tests.unit.data.crawled import Row, encoded, lay_out, picture
from tests.unit.data.curation.scenes import scene

ROWS = [Row(encoded(scene(n, (48, 32))), shard=f"{n % 3:05d}") for n in range(9)]

Judged = Counter[str]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Judged:
    """Counts the images judged in this process, by tar."""
    counts: Judged = Counter()
    judge_tar = judging.judge_tar

    def counting(work: judging.JudgeWork) -> judging.Judged:
        counts[work.shard] += len(work.images)
        return judge_tar(work)

    monkeypatch.setattr(judging, "judge_tar", counting)
    return counts


def outcome(data: Path) -> tuple[bytes, bytes]:
    return (data / "ledger.parquet").read_bytes(), (data / "ledger.json").read_bytes()


def run(data: Path, spec: CurateSpec | None = None) -> tuple[bytes, bytes]:
    curate.run(spec or CurateSpec(), data, data / "work")
    return outcome(data)


def parts(data: Path) -> list[Path]:
    return sorted((data / "work").glob("curate-*/0*.parquet"))


def test_what_is_judged_is_not_judged_again(tmp_path: Path, judged: Judged) -> None:
    first = run(lay_out(tmp_path, ROWS))
    assert judged == {"00000": 3, "00001": 3, "00002": 3}
    parts(tmp_path)[1].unlink()
    assert run(tmp_path) == first
    assert judged == {"00000": 3, "00001": 6, "00002": 3}


def test_other_limits_and_removals_decode_nothing(tmp_path: Path, judged: Judged) -> None:
    run(lay_out(tmp_path, ROWS))
    run(tmp_path, CurateSpec(min_side=40, remove=("too_small",), near_distance=0, blocklist=("cat",)))
    assert judged.total() == 9
    assert files.read_json(tmp_path / "ledger.json")["reasons"] == {"too_small": 9}


def test_another_limit_of_pixels_judges_anew_and_leaves_nothing_old(tmp_path: Path, judged: Judged) -> None:
    run(lay_out(tmp_path, ROWS))
    run(tmp_path, CurateSpec(max_pixels=100))
    assert judged.total() == 18
    assert files.read_json(tmp_path / "ledger.json")["reasons"] == {"too_large_pixels": 9}
    assert len(list((tmp_path / "work").iterdir())) == 1


def test_work_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    lay_out(tmp_path, ROWS)
    with lifecycle.lock(tmp_path / "work" / "curate-0123456789abcdef"):
        run(tmp_path)
        assert (tmp_path / "work" / "curate-0123456789abcdef").exists()


def test_two_runs_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(lay_out(tmp_path, ROWS))
    folder = parts(tmp_path)[0].parent
    lock: Callable[..., Any] = lifecycle.lock
    monkeypatch.setattr(lifecycle, "lock", lambda path, wait_s=0.0: lock(path, wait_s=0.0))
    with lock(folder), pytest.raises(RunError, match="in use by process"):
        run(tmp_path)


def test_a_retry_judges_only_the_tars_it_added(tmp_path: Path, judged: Judged) -> None:
    failed = [*ROWS, Row(reason="dns"), Row(reason="timeout")]
    run(lay_out(tmp_path, failed))
    late = [Row(encoded(picture()), shard="00000-r1"), Row(reason="timeout")]
    run(lay_out(tmp_path, [*ROWS, *late]))
    assert judged == {"00000": 3, "00001": 3, "00002": 3, "00000-r1": 1}
    assert files.read_json(tmp_path / "ledger.json")["reasons"] == {"timeout": 1}


def test_rows_counted_anew_are_not_taken_for_those_judged(tmp_path: Path) -> None:
    run(lay_out(tmp_path, ROWS))
    lay_out(tmp_path / "refused", [Row(reason="no_url", stage="ingest")])
    (tmp_path / "refused" / "refused.parquet").replace(tmp_path / "refused.parquet")
    for name in ("urls.parquet", "crawl/status.parquet"):  # the same keys and tars, one row further on
        table = files.read_table(tmp_path / name)
        shifted = pa.array([row + 1 for row in table["row"].to_pylist()])
        files.write_table(tmp_path / name, table.set_column(0, "row", shifted))
    run(tmp_path)
    rows = files.read_table(tmp_path / "ledger.parquet", ["row", "width"]).to_pylist()
    assert [row["width"] for row in rows] == [0] + [48] * 9


@pytest.mark.parametrize("harm", [b"", b"PAR1 cut off"])
def test_a_damaged_part_is_made_again(tmp_path: Path, judged: Judged, harm: bytes) -> None:
    first = run(lay_out(tmp_path, ROWS))
    parts(tmp_path)[0].write_bytes(harm)
    assert run(tmp_path) == first
    assert judged["00000"] == 6


def test_a_tar_made_anew_is_judged_anew(tmp_path: Path) -> None:
    lay_out(tmp_path / "lost", [Row(shard=row.shard) for row in ROWS])
    run(lay_out(tmp_path, ROWS))
    (tmp_path / "lost/crawl/00001.tar").replace(tmp_path / "crawl/00001.tar")
    run(tmp_path)
    assert files.read_json(tmp_path / "ledger.json")["reasons"] == {"missing": 3}


def test_after_an_error_the_tars_before_it_are_kept(tmp_path: Path, judged: Judged) -> None:
    lay_out(tmp_path, ROWS)
    whole = (tmp_path / "crawl" / "00002.tar").read_bytes()
    (tmp_path / "crawl" / "00002.tar").write_bytes(whole[:700])
    with pytest.raises(DataError, match=r"00002\.tar is not a whole tar"):
        run(tmp_path)
    (tmp_path / "crawl" / "00002.tar").write_bytes(whole)
    run(tmp_path)
    assert judged == {"00000": 3, "00001": 3, "00002": 6}


def test_on_a_cluster_the_parts_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: Judged
) -> None:
    here = run(lay_out(tmp_path / "here", ROWS))
    lay_out(tmp_path / "cluster", ROWS)
    monkeypatch.setattr("rankclip.launch.on_cluster", lambda: True)
    monkeypatch.setattr("rankclip.data.processes.mapped", elsewhere)
    assert run(tmp_path / "cluster") == here
    assert judged.total() == 18
    assert len(parts(tmp_path / "cluster")) == 3


def test_on_a_cluster_what_is_fetched_lies_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, ROWS)
    used: list[Path] = []
    at_hand = storage.at_hand

    def watched(store: storage.Store, name: str, scratch: Path) -> Any:
        assert scratch.stat().st_mode & 0o777 == 0o700
        used.append(scratch)
        return at_hand(store, name, scratch)

    monkeypatch.setattr("rankclip.launch.on_cluster", lambda: True)
    monkeypatch.setattr("rankclip.data.processes.mapped", elsewhere)
    monkeypatch.setattr(storage, "at_hand", watched)
    run(tmp_path)
    assert len(set(used)) == 3
    assert not any(folder.exists() for folder in used)


def elsewhere(function: Callable[[Any], Any], items: Any, images: int) -> Iterator[Any]:
    """Stands for machines that see neither the tables nor the folder of parts, only the store of tars."""
    for item in items:
        found = function(item)
        assert not item.part.exists()
        yield found


KILLED = """
import os, signal, sys
from pathlib import Path
from rankclip.data.curation import curate, parts, judging
from rankclip.data.curation.spec import CurateSpec

write, left = parts.write, int(sys.argv[2])
def dies(path, part, judged):
    global left
    if not left:
        path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.tmp").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    write(path, part, judged)
parts.write = dies
curate.run(CurateSpec(), Path(sys.argv[1]), Path(sys.argv[1]) / "work")
"""


def test_after_a_kill_one_tar_is_judged_again_and_nothing_half_done_remains(
    tmp_path: Path, judged: Judged
) -> None:
    undisturbed = run(lay_out(tmp_path / "whole", ROWS))
    judged.clear()
    data = lay_out(tmp_path / "killed", ROWS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, data, "2"], env=environment, check=False)
    assert done.returncode == -9
    assert not (data / "ledger.parquet").exists()
    assert run(data) == undisturbed
    assert judged == {"00002": 3}
    assert not list(data.rglob("*.tmp"))
