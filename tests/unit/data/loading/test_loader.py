"""Batches are a function of seed, step and data, however many processes make them and whoever asks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data.loading import arena, rows, workers
from rankclip.data.loading.crop import Crops
from rankclip.data.loading.decoding import decode
from rankclip.data.loading.loader import Loaded, Loader, kept_bytes, worker_count
from rankclip.data.loading.order import Batch, batches
from rankclip.data.loading.rows import Rows, Undecodable
from rankclip.data.loading.samples import Samples
from rankclip.data.loading.shift import Shifts, move
from rankclip.errors import DataError, InputError, RunError
from rankclip.lifecycle import SIGNALS
from tests.unit.data import loading_rows, sharded

N, SIZE, BATCH, SEED = 50, 8, 12, 3
BROKEN = (4, 20, 21, 49)
"""Samples that cannot be decoded in `damaged`; 49 is followed by the first."""
BLOBS = sharded.pictures(N, SIZE)
SLOTS = {
    "raw": [f"{k}: a caption" for k in range(N)],
    "other": [[f"{k} too"] if k % 3 else [] for k in range(N)],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded.write(tmp_path_factory.mktemp("whole"), BLOBS, SLOTS)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    blobs = [blob[:200] if k in BROKEN else blob for k, blob in enumerate(BLOBS)]
    return sharded.write(tmp_path_factory.mktemp("damaged"), blobs, SLOTS)


def rows_of(
    folder: Path, described: Sequence[str] = ("raw", "other"), tokenize: Any = sharded.letters
) -> Rows:
    return Rows(Samples(folder), "raw", SIZE, tokenize, described)


def loader_of(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Loader:
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", str(count))
    return Loader(rows_of(folder), BATCH, SEED, **{"reach": 2, **changes})


def copied(loaded: Loaded) -> list[Any]:
    """A batch as it is now; its memory is used again."""
    return [value.clone() if isinstance(value, torch.Tensor) else value for value in loaded]


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one, other, strict=True))


def keys(found: Sequence[Loaded]) -> list[int]:
    return [int(i) for loaded in found for i in loaded.indices]


def test_a_batch_is_what_the_order_says(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list(loader_of(whole, 0, monkeypatch).batches(3, 9))
    shifts = Shifts(N, SEED, 2)
    for loaded, batch in zip(made, batches(N, BATCH, SEED, 3), strict=False):
        assert (loaded.step, loaded.epoch) == (batch.step, batch.epoch)
        assert np.array_equal(loaded.indices, batch.indices)
        pictures = np.empty((BATCH, 3, SIZE, SIZE), np.uint8)
        for out, i in zip(pictures, batch.indices, strict=True):
            decode(BLOBS[i], SIZE, out)
        move(pictures, shifts.of(batch))
        assert np.array_equal(loaded.images, pictures)
        assert np.array_equal(loaded.tokens, sharded.letters([SLOTS["raw"][i] for i in batch.indices]))
        assert loaded.there[:, 0].all()
        assert loaded.there[:, 1].tolist() == [i % 3 != 0 for i in batch.indices]
        others = sharded.letters(["".join(SLOTS["other"][i]) for i in batch.indices])
        assert np.array_equal(loaded.described[:, 1], others)
        assert loaded.undecodable == []
    assert [loaded.step for loaded in made] == list(range(3, 9))


@pytest.mark.parametrize("crop", [None, (0.3, 0.9)])
@pytest.mark.parametrize("folder", ["whole", "damaged"])
def test_processes_make_the_same_batches_as_none(
    folder: str, crop: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = request.getfixturevalue(folder)
    found = {
        count: [copied(loaded) for loaded in loader_of(data, count, monkeypatch, crop=crop).batches(1, 30)]
        for count in (0, 2)
    }
    assert len(found[0]) == len(found[2]) == 29
    for one, other in zip(found[0], found[2], strict=True):
        assert same(one[:-1], other[:-1])
    first = found[0][:4]  # later ones may be kept in memory, and nothing is said again
    assert [one[-1] for one in first] == [one[-1] for one in found[2][:4]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.integers(1, 3), st.integers(1, 3))
def test_the_next_thousand_samples_after_any_stop_are_those_of_the_uninterrupted_order(
    whole: Path, stop: int, before: int, after: int
) -> None:
    steps = -(-1000 // BATCH)
    uninterrupted = [int(i) for batch in islice(batches(N, BATCH, SEED), stop + steps) for i in batch.indices]

    def run(ranks: int, start: int, end: int) -> list[int]:
        parts = [
            [loaded.indices for loaded in bare(whole, rank, ranks).batches(start, end)]
            for rank in range(ranks)
        ]
        assert len({len(part) for part in parts}) == 1  # as many steps on every worker
        return [int(i) for step in zip(*parts, strict=True) for part in step for i in part]

    assert run(before, max(0, stop - 3), stop) == uninterrupted[max(0, stop - 3) * BATCH : stop * BATCH]
    assert run(after, stop, stop + steps) == uninterrupted[stop * BATCH :]


LOADERS: dict[tuple[Path, int, int], Loader] = {}


def bare(folder: Path, rank: int, ranks: int) -> Loader:
    """A loader of one rank, which keeps what it decoded."""
    place = folder, rank, ranks
    if place not in LOADERS:
        LOADERS[place] = Loader(rows_of(folder, ()), BATCH, SEED, rank=rank, ranks=ranks)
    return LOADERS[place]


def test_processes_of_two_workers_go_on_where_three_stopped(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [
        int(i) for batch, _ in zip(batches(N, BATCH, SEED, 7), range(84), strict=False) for i in batch.indices
    ]
    parts = [
        [
            loaded.indices.copy()
            for loaded in loader_of(whole, 1, monkeypatch, rank=rank, ranks=2).batches(7, 91)
        ]
        for rank in range(2)
    ]
    found = [int(i) for step in zip(*parts, strict=True) for part in step for i in part]
    assert len(found) >= 1000
    assert found == expected


@pytest.mark.parametrize("count", [0, 2])
def test_a_sample_that_does_not_decode_is_replaced_by_the_next_and_told(
    damaged: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead = {4: 5, 20: 22, 21: 22, 49: 0}
    told: dict[int, Undecodable] = {}
    for loaded, batch in zip(
        loader_of(damaged, count, monkeypatch).batches(0, 12), batches(N, BATCH, SEED), strict=False
    ):
        expected = [instead.get(int(i), int(i)) for i in batch.indices]
        assert loaded.indices.tolist() == expected
        assert np.array_equal(loaded.tokens, sharded.letters([SLOTS["raw"][i] for i in expected]))
        for one in loaded.undecodable:
            assert batch.indices[one.row] in (one.sample, one.sample - 1)
            told[one.sample] = one
    assert sorted(told) == sorted(BROKEN)
    assert {one.reason.split()[0] for one in told.values()} == {"Truncated"}


def test_a_data_set_of_which_nothing_decodes_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "IN_A_ROW", 7)
    folder = sharded.write(tmp_path, [*BLOBS[:4], *[b"broken"] * 9, *BLOBS[13:20]])
    made = rows_of(folder, ())
    out = made.empty(1)
    assert len(made.fill(np.array([7]), out)) == 6
    assert out["index"].tolist() == [13]
    with pytest.raises(DataError, match=r"^7 samples in a row.*from 000000004 in 00000\.tar on \(no image"):
        made.fill(np.array([4]), out)


@pytest.mark.parametrize(("room", "decodings"), [(2**30, BATCH), (0, 2 * BATCH), (5, BATCH + BATCH - 5)])
def test_what_fits_into_memory_is_decoded_once(
    whole: Path, room: int, decodings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(rows, "decode", lambda blob, *rest: seen.append(len(blob)) or decode(blob, *rest))
    monkeypatch.setenv("RANKCLIP_CACHE_BYTES", str(room if room != 5 else 5 * rows_of(whole).row_bytes))
    made = loader_of(whole, 0, monkeypatch)
    batch = next(batches(N, BATCH, SEED))
    first, second = (copied(made.batch(batch)) for _ in range(2))
    assert same(first, second)
    assert len(seen) == decodings
    assert same(first, copied(Loader(rows_of(whole), BATCH, SEED, reach=2).batch(batch)))


CROP = (0.3, 0.9)


def test_images_are_cut_as_their_sample_and_epoch_say(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list(loader_of(whole, 0, monkeypatch, crop=CROP, reach=0).batches(2, 10))
    assert {loaded.epoch for loaded in made} == {0, 1, 2}
    picture = np.empty((3, SIZE, SIZE), np.uint8)
    for loaded in made:
        crops = Crops(SEED, loaded.epoch, *CROP)
        for row, i in enumerate(loaded.indices.tolist()):
            decode(BLOBS[i], SIZE, picture, lambda *size, i=i, crops=crops: crops.box(i, *size))
            assert np.array_equal(loaded.images[row], picture)


def test_cut_images_are_the_same_on_any_number_of_workers_and_from_any_step(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def images(rank: int, ranks: int, start: int) -> torch.Tensor:
        made = loader_of(whole, 0, monkeypatch, crop=CROP, rank=rank, ranks=ranks).batches(start, 11)
        return torch.stack([loaded.images for loaded in made])

    alone = images(0, 1, 0)
    assert torch.equal(torch.cat([images(rank, 3, 5) for rank in range(3)], dim=1), alone[5:])


def test_cut_images_are_decoded_each_time_and_so_in_processes(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = next(batches(N, BATCH, SEED))
    made = loader_of(whole, 0, monkeypatch, crop=CROP)
    first, later = (made.batch(batch._replace(epoch=epoch)).images for epoch in (0, 1))
    assert (first != later).flatten(1).any(dim=1).all()
    assert torch.equal(made.batch(batch).images, first)
    monkeypatch.delenv("RANKCLIP_LOADER_WORKERS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(4))
    assert Loader(rows_of(whole), BATCH, SEED, reach=2).workers == 0  # kept in memory
    assert Loader(rows_of(whole), BATCH, SEED, crop=CROP).workers == 3


@pytest.mark.parametrize(
    ("said", "all_fit", "cores", "beside", "expected"),
    [
        ("", True, 16, 1, 0), ("", False, 16, 1, 8), ("", False, 4, 1, 3), ("", False, 1, 1, 0),
        ("", False, 16, 4, 3), ("0", False, 16, 1, 0), ("5", True, 1, 1, 5),
    ],
)  # fmt: skip
def test_processes_are_started_where_decoding_is_work_that_never_ends(
    said: str, all_fit: bool, cores: int, beside: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", said)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(beside))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(cores))
    assert worker_count(all_fit) == expected


@pytest.mark.parametrize("said", ["many", "-1", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", said)
    with pytest.raises(InputError, match=rf"RANKCLIP_LOADER_WORKERS is '{said}'; set it to a number"):
        worker_count(True)


@pytest.mark.parametrize(("said", "beside", "expected"), [("", 1, 2 << 30), ("800", 8, 100), ("0", 2, 0)])
def test_workers_of_one_machine_share_the_memory(
    said: str, beside: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_CACHE_BYTES", said)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(beside))
    assert kept_bytes() == expected


@pytest.mark.parametrize("said", ["2GB", "-1", "1e9"])
def test_memory_that_is_no_number_is_refused(whole: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_CACHE_BYTES", said)
    with pytest.raises(InputError, match=rf"RANKCLIP_CACHE_BYTES is '{said}'; set it to a number of bytes"):
        Loader(rows_of(whole), BATCH, SEED)


@pytest.mark.parametrize("n", [1, 12, 4096])
def test_batches_made_ahead_stay_within_their_bytes(whole: Path, n: int) -> None:
    layout = Rows(Samples(whole), "raw", 224, sharded.letters).layout
    for room in (1 << 20, 64 << 20, 1 << 30):
        count = arena.places(layout, n, room, most=16)
        slots_bytes = count * (n * (3 * 224 * 224) + 0)
        assert 2 <= count <= 16
        assert count == 2 or slots_bytes <= room
    assert workers.AHEAD_BYTES <= 1 << 29


def test_no_more_batches_are_asked_for_than_there_is_memory_for(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "AHEAD_BYTES", 3 * BATCH * (rows_of(whole).row_bytes + 64))
    submit, asked = workers.Workers.submit, []
    monkeypatch.setattr(
        workers.Workers, "submit", lambda self, *rest: asked.append(self.slots.count) or submit(self, *rest)
    )
    for number, _ in enumerate(loader_of(whole, 1, monkeypatch).batches(0, 20), start=1):
        assert asked[0] == 3
        assert len(asked) <= number + 1  # with the one in use, three
    assert len(asked) == 20


AT = r"^loader process \d of 2, at sample \d{9} of 0000\d\.tar for step \d+, "


@pytest.mark.parametrize(
    ("tokenize", "wanted"),
    [
        (loading_rows.stuck, AT + r"has been there for 1 s; look at that sample, and"),
        (
            loading_rows.deadly,
            AT + r"died \(SIGKILL\); if memory is short set RANKCLIP_LOADER_WORKERS to less",
        ),
        (loading_rows.faulty, r"^a loader process failed \(ZeroDivisionError: no reason\)$"),
    ],
)
def test_a_process_that_hangs_dies_or_fails_is_one_line_and_none_is_left(
    whole: Path, tokenize: Any, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", "2")
    seen = [17 in batch.indices for batch, _ in zip(batches(N, BATCH, SEED), range(4), strict=False)]
    assert not seen[0]
    assert any(seen)
    made = Loader(rows_of(whole, (), tokenize), BATCH, SEED).batches(0, 20)
    # from the first batch on, since starting may take as long
    watched = (monkeypatch.setattr(workers, "STUCK_S", 1.0) for _ in made)
    with pytest.raises(RunError, match=wanted):
        list(watched)
    assert loader_processes() == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_all_processes_leaves_those_of_the_loader_at_work(
    number: signal.Signals, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = set(psutil.Process().children(recursive=True))  # other tests' servers, say
    made = loader_of(whole, 2, monkeypatch).batches(0, 12)
    found = [next(made).step]
    below = set(psutil.Process().children(recursive=True)) - others
    assert len(below) >= 2  # and the server that they are forked from, where it is new
    for process in below:
        process.send_signal(number)
    assert found + [loaded.step for loaded in made] == list(range(12))


def test_errors_of_reading_come_through_a_process_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sharded.write(tmp_path, BLOBS, SLOTS)
    made = loader_of(folder, 1, monkeypatch)
    (folder / "00003.tar").unlink()
    with pytest.raises(DataError, match=r"00003\.tar cannot be read"):
        list(made.batches(0, 5))


def loader_processes() -> list[psutil.Process]:
    """Processes of loaders below this one; the server that forks them stays."""
    below = psutil.Process().children(recursive=True)
    forked = [one for one in below if one.ppid() != os.getpid()]
    return [one for one in forked if one.status() != psutil.STATUS_ZOMBIE]


def test_who_stops_in_the_middle_leaves_no_process(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(loader_of(whole, 2, monkeypatch).batches(0, 1000)) as made:
        next(made)
        assert len(loader_processes()) == 2
    assert loader_processes() == []


KILLED = """
import sys
from pathlib import Path
import psutil
from tests.unit.data.loading_rows import endless

for number, loaded in enumerate(endless(Path(sys.argv[1]))):
    if number == 3:
        print(*[one.pid for one in psutil.Process().children(recursive=True)], flush=True)
"""


def test_after_kill_9_no_process_is_left_and_what_they_share_has_no_name(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", "2")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    root = Path(__file__).parents[4]
    started = subprocess.Popen([sys.executable, "-c", KILLED, str(whole)], stdout=subprocess.PIPE, cwd=root)
    assert started.stdout is not None
    with started.stdout:
        below = [psutil.Process(int(pid)) for pid in started.stdout.readline().split()]
        mapped = {area.path for one in below for area in one.memory_maps()}
        started.kill()
        started.wait()
    assert len(below) >= 3  # the server and two that make batches
    assert any("memfd:rankclip-batches" in path for path in mapped)
    assert not any(path.startswith("/dev/shm") for path in mapped)
    assert psutil.wait_procs(below, timeout=10)[1] == []


MEMORY = """
import sys
from pathlib import Path
import psutil
from rankclip.data.loading.loader import Loader
from rankclip.data.loading.rows import Rows
from rankclip.data.loading.samples import Samples
from tests.unit.data import sharded

made = Loader(Rows(Samples(Path(sys.argv[1])), "raw", 48, sharded.letters), 30, 3, reach=2)
for loaded in made.batches(0, 60):
    if loaded.step % 10 == 9:
        here = psutil.Process()
        print(sum(one.memory_full_info().uss for one in [here, *here.children(recursive=True)]))
"""


@pytest.mark.parametrize("count", ["0", "1"])
def test_memory_does_not_grow_from_epoch_to_epoch(
    tmp_path: Path, count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sharded.write(tmp_path, sharded.pictures(300, 64), per_shard=50)
    monkeypatch.setenv("RANKCLIP_CACHE_BYTES", "0")
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", count)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    root = Path(__file__).parents[4]
    told = subprocess.run(
        [sys.executable, "-c", MEMORY, str(folder)], stdout=subprocess.PIPE, cwd=root, check=True
    )
    used = [int(line) for line in told.stdout.split()]
    assert len(used) == 6
    assert used[-1] - used[1] < 4 << 20, used


def test_batches_with_samples_of_no_epoch_are_made_too(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loader_of(whole, 0, monkeypatch).batch(Batch(0, 5, np.array([7, 7, 1])))
    assert made.indices.tolist() == [7, 7, 1]
    assert torch.equal(made.tokens[0], made.tokens[1])
