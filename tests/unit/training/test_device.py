"""Which device a worker takes, on machines with and without GPUs."""

from __future__ import annotations

import pytest
import torch

from rankclip.errors import InputError
from rankclip.training import device
from rankclip.training.machine import Machine


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine that shows four GPUs; which of them were made current."""
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return taken


@pytest.mark.parametrize(("place", "index"), [(None, 0), ("0", 0), ("3", 3)])
@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_a_worker_takes_the_gpu_of_its_place(
    gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch, asked: str, place: str | None, index: int
) -> None:
    if place is not None:
        monkeypatch.setenv("LOCAL_RANK", place)
    found = device.chosen(Machine.model_validate({"device": asked}))
    assert (found, gpus) == (torch.device("cuda", index), [found])


def test_a_worker_that_is_shown_one_gpu_takes_it_whatever_its_place(
    gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device.chosen(Machine(device="auto")) == torch.device("cuda", 0)


def test_more_workers_than_gpus_are_refused(
    gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(InputError, match=r"LOCAL_RANK is 4, but this machine shows 4 GPUs; start at most 4"):
        device.chosen(Machine(device="cuda"))
    assert gpus == []


def test_a_cpu_is_taken_where_it_is_asked_for(gpus: list[torch.device]) -> None:
    assert device.chosen(Machine(device="cpu")) == torch.device("cpu")
    assert gpus == []


def test_without_a_gpu_a_cpu_is_taken_unless_a_gpu_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.chosen(Machine(device="auto")) == torch.device("cpu")
    with pytest.raises(InputError, match=r"RANKCLIP_DEVICE is 'cuda', but PyTorch finds no GPU here; use"):
        device.chosen(Machine(device="cuda"))
