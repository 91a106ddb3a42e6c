"""What a step is fed with: a function of seed, epoch and sample, whoever asks."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rankclip.data.loading.order import batches
from rankclip.errors import DataError, InputError
from rankclip.models.image_text import longest
from rankclip.models.open_clip import tokenize
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import pixels
from rankclip.training import run
from rankclip.training.feed import Feed
from rankclip.training.loop import Training
from rankclip.training.request import METRICS, QUARANTINE, TrainRequest
from tests.numerics.towers import group, on_workers
from tests.unit.data import sharded
from tests.unit.training import tiny

BROKEN = (3, 8, 9, 19)
"""Samples of `damaged` that cannot be decoded; the last is followed by the first."""


def feed_of(data: Path, **changes: Any) -> Feed:
    return Feed(tiny.request(data, data / "work", **changes), 32, torch.device("cpu"))


def test_a_batch_is_the_chosen_pairs_as_evaluation_sees_them(tiny_data: Path) -> None:
    feed = feed_of(tiny_data, shift_pixels=0)
    for batch in islice(batches(len(feed), 8, seed=4, start_step=3), 2):
        loaded = feed.batch(batch.indices, batch.epoch)
        for row, index in enumerate(batch.indices):
            assert torch.equal(loaded.images[row], pixels(feed.samples.read(int(index)), 32))
            assert torch.equal(loaded.tokens[row].long(), tokenize(tiny.MODEL, [f"caption {index}"])[0])
        assert loaded.described.shape == (8, 0, 77)


def test_images_are_cut_as_the_recipe_says_others_each_epoch(tiny_data: Path) -> None:
    plain, cut = (feed_of(tiny_data, shift_pixels=0, crop=crop) for crop in (None, (0.3, 0.8)))
    chosen = np.arange(8)
    found = [cut.batch(chosen, epoch).images for epoch in (0, 1, 0)]
    assert torch.equal(found[0], found[2])
    for other in (plain.batch(chosen, 0).images, found[1]):
        assert (found[0] != other).flatten(1).any(dim=1).all()


def test_samples_are_called_by_their_keys(tiny_data: Path) -> None:
    feed = feed_of(tiny_data)
    assert feed.keys(feed.batch(np.array([3, 0, 17]), 0).indices) == ["000000003", "000000000", "000000017"]


def test_captions_that_leave_the_host_are_trimmed_to_the_longest(tiny_data: Path) -> None:
    request = tiny.request(tiny_data, tiny_data / "work")
    on_host, elsewhere = (Feed(request, 32, torch.device(name)) for name in ("cpu", "meta"))
    pairs = zip(on_host.batches(0, 4), elsewhere.batches(0, 4), strict=True)
    for here, there in pairs:
        assert here.tokens.shape == (8, 77)
        assert there.tokens.shape == (8, longest(here.tokens))


def test_batches_go_on_from_any_step_to_the_last(tiny_data: Path) -> None:
    feed = feed_of(tiny_data)
    whole = [loaded.indices.tolist() for loaded in feed.batches(0, 7)]
    assert [loaded.indices.tolist() for loaded in feed.batches(4, 7)] == whole[4:]
    assert len(whole) == 7
    assert list(feed.batches(7, 7)) == []
    assert feed.dropped == tiny.IMAGES % 8


def test_described_are_the_first_captions_of_every_slot_where_a_term_needs_them(tiny_data: Path) -> None:
    consensus = tiny.objective("c", [tiny.CONTRASTIVE, {"name": "rank_in", "teacher": "consensus"}])
    feed = feed_of(tiny_data, objective=consensus)
    loaded = feed.batch(np.array([3, 0, 17, 5]), 0)
    slots = feed.samples.slots
    assert (tuple(loaded.described.shape), tuple(loaded.there.shape)) == (
        (4, len(slots), 77),
        (4, len(slots)),
    )
    assert loaded.there[1].sum() < len(slots)  # the first image has no caption `detail`
    assert torch.equal(loaded.described[0, 0].long(), tokenize(tiny.MODEL, ["caption 3"])[0])


def test_images_without_a_caption_in_the_slot_are_refused(tiny_data: Path) -> None:
    with pytest.raises(InputError, match=r"train\.captions: 1 of 20 images.*'detail'.*slots are raw, detail"):
        feed_of(tiny_data, captions="detail")


def test_a_slot_that_the_data_lack_is_refused(tiny_data: Path) -> None:
    with pytest.raises(InputError, match=r"no caption slot 'style'.*use one of raw, detail"):
        feed_of(tiny_data, captions="style")


@pytest.fixture(scope="module")
def damaged(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study's benchmark, and shards of 20 images of which some are cut off."""
    data = tmp_path_factory.mktemp("damaged")
    (data / "benchmarks").symlink_to(tiny_data / "benchmarks")
    blobs = [
        blob[:300] if k in BROKEN else blob for k, blob in enumerate(sharded.pictures(tiny.IMAGES, size=32))
    ]
    sharded.write(data / "shards", blobs)
    return data


def told(request: TrainRequest) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (request.folder / QUARANTINE).read_text().splitlines()]


def counted(request: TrainRequest) -> list[int]:
    lines = (request.folder / METRICS).read_text().splitlines()
    return [json.loads(line)["quarantined"] for line in lines]


def trained(request: TrainRequest) -> tuple[Any, ...]:
    run.train_run(request.dump())
    return (request.folder / run.WEIGHTS).read_bytes(), told(request), counted(request)


def test_samples_that_do_not_decode_are_told_once_and_counted(damaged: Path, tmp_path: Path) -> None:
    request = tiny.request(damaged, tmp_path)
    _, entries, counts = trained(request)
    assert sorted(int(entry["key"]) for entry in entries) == list(BROKEN)
    assert [entry["step"] for entry in entries] == sorted(entry["step"] for entry in entries)
    assert {entry["shard"] for entry in entries} == {"00000.tar", "00001.tar", "00003.tar"}
    assert all(entry["reason"] and entry["epoch"] == (entry["step"] - 1) // 2 for entry in entries)
    assert counts[-1] == 4
    assert counts == sorted(counts)
    assert json.loads((request.folder / "record.json").read_text())["counts"]["quarantined"] == 4


def test_processes_of_the_loader_change_nothing_also_where_samples_are_damaged(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for count in ("0", "1"):
        monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", count)
        found.append(trained(tiny.request(damaged, tmp_path / count)))
    assert found[0] == found[1]


@pytest.mark.parametrize("line", [1, 3, 4])
def test_an_interrupted_run_tells_of_damaged_samples_as_if_it_had_not_been(
    damaged: Path, tmp_path: Path, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = (tiny.request(damaged, tmp_path / name) for name in ("whole", "broken"))
    expected = trained(whole)
    append, written = run._append, []

    def appending(path: Path, report: dict[str, Any]) -> int:
        written.append(append(path, report))
        if len(written) == line:
            raise KeyboardInterrupt
        return written[-1]

    with monkeypatch.context() as patch:
        patch.setattr(run, "_append", appending)
        with pytest.raises(KeyboardInterrupt):
            run.train_run(broken.dump())
    assert trained(broken) == expected


VIT = ModelSpec(name="shapes-vit")


def work(rank: int, workers: int, folder: str, data: str) -> None:
    with group(rank, workers, folder):
        training = Training(tiny.request(Path(data), Path(folder, "run"), model=VIT))
        if rank == 0:
            training.request.folder.mkdir(parents=True)
        torch.save([line["quarantined"] for line in training.reports()], Path(folder, f"rank-{rank}.pt"))


def test_two_workers_tell_of_the_same_samples_as_one(damaged: Path, tmp_path: Path) -> None:
    one = tiny.request(damaged, tmp_path / "one", model=VIT)
    _, entries, counts = trained(one)
    first, second = on_workers(work, 2, tmp_path, str(damaged))
    assert first == second == counts
    assert told(tiny.request(damaged, tmp_path / "run", model=VIT)) == entries


def test_a_data_set_that_is_broken_does_not_train(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(tiny_data / "benchmarks")
    blobs = [b"gone" if k % 3 else blob for k, blob in enumerate(sharded.pictures(30, size=32))]
    sharded.write(tmp_path / "shards", blobs, per_shard=10)
    request = tiny.request(tmp_path, tmp_path / "work")
    wanted = r"^\d\d of 24 samples cannot be decoded \(\d in 0000\d\.tar.*quarantine\.jsonl names them; "
    with pytest.raises(DataError, match=wanted):
        run.train_run(request.dump())
    assert not request.finished
