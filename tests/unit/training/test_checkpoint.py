"""Checkpoints: whole or not there."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

import pytest
import torch

from rankclip.errors import DataError
from rankclip.training import checkpoint
from rankclip.training.checkpoint import Checkpoint, path, steps


def state(step: int) -> Checkpoint:
    parameter = torch.nn.Parameter(torch.arange(600.0))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return Checkpoint(
        step=step,
        model={"weight": parameter.detach()},
        optimizer=optimizer.state_dict(),
        elapsed_s=1.5,
        metrics_bytes=70,
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = state(3)
    checkpoint.save(tmp_path, saved)
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert (loaded.step, loaded.elapsed_s, loaded.metrics_bytes) == (3, 1.5, 70)
    assert torch.equal(loaded.model["weight"], saved.model["weight"])
    first, second = loaded.optimizer["state"][0], saved.optimizer["state"][0]
    assert all(torch.equal(first[name], second[name]) for name in ("exp_avg", "exp_avg_sq", "step"))


def test_a_folder_without_a_checkpoint_has_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, state(3))

    def fail(value: object, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(tmp_path, state(6))
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded.step == 3
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint-3.pt"]


def test_a_full_disk_is_named_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = torch.save
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(torch, "save", lambda value, file: save(value, full))
        with pytest.raises(OSError) as raised:
            checkpoint.save(tmp_path, state(3))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path(tmp_path, 3)))
    assert not list(tmp_path.iterdir())


def damages(whole: bytes) -> dict[str, bytes]:
    middle = whole.index(torch.arange(600.0).numpy().tobytes()[1000:1100])
    return {
        "empty": b"",
        "text": b"not a checkpoint\n" * 100,
        "zeros": bytes(len(whole)),
        "first half": whole[: len(whole) // 2],
        "last byte missing": whole[:-1],
        "a name that is no text": whole.replace(b"/data.pkl", b"/dat\xff.pkl"),
        "flipped byte in a tensor": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    }


def test_every_damage_is_an_error_of_one_line_with_the_remedy(tmp_path: Path) -> None:
    saved = state(3)
    saved.model["weight"] = torch.arange(600.0)
    checkpoint.save(tmp_path, saved)
    file = path(tmp_path, 3)
    for name, content in damages(file.read_bytes()).items():
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"checkpoint-3\.pt is not a checkpoint .*delete it") as refused:
            checkpoint.load(tmp_path)
        assert "\n" not in str(refused.value), name


@pytest.mark.parametrize("value", [5, [1, 2], {"step": 1}, {"model": {}, "other": 2}])
def test_a_file_of_something_else_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, path(tmp_path, 3))
    with pytest.raises(DataError, match="is not a checkpoint"):
        checkpoint.load(tmp_path)


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def test_the_last_ones_are_kept_and_those_of_later_steps_are_not(tmp_path: Path) -> None:
    for step in (3, 9, 10, 12):
        checkpoint.save(tmp_path, state(step), keep=3)
    assert steps(tmp_path) == [9, 10, 12]
    checkpoint.save(tmp_path, state(11), keep=3)  # the run was taken back to step 10
    assert steps(tmp_path) == [9, 10, 11]
    checkpoint.save(tmp_path, state(100))
    assert steps(tmp_path) == [100]
    checkpoint.delete(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_last_whole_one_is_read_and_the_damaged_one_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (3, 9, 10):
        checkpoint.save(tmp_path, state(step), keep=3)
    damage(path(tmp_path, 10))
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded.step == 9
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{path(tmp_path, 10)} is not a checkpoint (")
    damage(path(tmp_path, 3))
    damage(path(tmp_path, 9))
    with pytest.raises(DataError, match=r"checkpoint-10\.pt is not a checkpoint"):
        checkpoint.load(tmp_path)


def test_what_a_killed_writer_left_is_deleted_before_the_next_one_writes(tmp_path: Path) -> None:
    left = tmp_path / ".checkpoint-9.pt.4194303.tmp"
    left.touch()
    other = tmp_path / "checkpoint-best.pt"
    other.touch()
    assert checkpoint.load(tmp_path) is None
    assert list(tmp_path.iterdir()) == [other]
