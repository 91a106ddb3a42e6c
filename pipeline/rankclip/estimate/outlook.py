"""One line on a run, before its first step."""

from __future__ import annotations

from datetime import timedelta

import torch

from rankclip import files
from rankclip.errors import DataError
from rankclip.estimate.need import Device, Need, Worker, need
from rankclip.launch.group import workers
from rankclip.training.cost import peak_flops
from rankclip.training.machine import Machine
from rankclip.training.request import TrainRequest
from rankclip.training.spec import TrainSpec

UTILISATION = 0.1
"""Share of a GPU's peak that both towers reach, where nothing was measured: what users of open_clip report is
0.08 of it (RN50 on A100s, open_clip#184) to 0.14 (ViT-B/32)."""


def line(request: TrainRequest) -> str:
    """Memory, steps and time of a run, for its driver to print; takes a few seconds for each recipe.

    Raises:
        InputError: the recipe does not fit the model, or RANKCLIP_WORKERS is no number.
    """
    worker = Worker(device_of(request.machine), workers(), request.machine.recompute)
    cpu = worker.device == "cpu"
    found = need(request.model, request.objective, request.train, worker, trial=cpu)
    return (
        f"{request.arm}: {memory_said(found)}; {steps_said(request)}{time_said(request.train, found, worker)}"
    )


def device_of(machine: Machine) -> Device:
    """What a worker would train on, were it on this machine."""
    if machine.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return machine.device


def memory_said(found: Need) -> str:
    """Parameters and memory in half a line."""
    memory = found.memory
    fixed = memory.weights + memory.averages + memory.gradients
    return (
        f"{found.parameters / 1e6:.1f} M parameters, about {size(memory.total)} of tensors a worker "
        f"(weights, gradients and optimiser {size(fixed)}, activations {size(memory.activations)}, "
        f"loss {size(memory.loss)})"
    )


def steps_said(request: TrainRequest) -> str:
    """Steps and epochs in half a line."""
    train = request.train
    said = f"{train.steps} steps of {train.batch_size} pairs"
    try:
        samples = files.read_json(request.shards / "manifest.json")["samples"]
    except (DataError, KeyError):
        return said
    return f"{said}, {train.steps * train.batch_size / samples:.1f} epochs"


def time_said(train: TrainSpec, found: Need, worker: Worker) -> str:
    """How long a run takes; empty where that is not known."""
    seconds = seconds_of(train, found, worker)
    if seconds is None:
        return ""
    if found.pair_s is not None:
        return f", about {duration(seconds)} a run for the towers on a CPU like this one"
    return f", {duration(seconds)} a run at {UTILISATION:.0%} of the peak of {torch.cuda.get_device_name()}"


def seconds(request: TrainRequest) -> float | None:
    """How long a run takes, about; None where that is not known. Takes a few seconds for each recipe.

    Raises:
        InputError: as `line`.
    """
    worker = Worker(device_of(request.machine), workers(), request.machine.recompute)
    cpu = worker.device == "cpu"
    found = need(request.model, request.objective, request.train, worker, trial=cpu)
    return seconds_of(request.train, found, worker)


def seconds_of(train: TrainSpec, found: Need, worker: Worker) -> float | None:
    """How long a run takes for the towers, as far as it is known."""
    pairs = train.steps * train.batch_size / worker.workers
    if found.pair_s is not None:
        return pairs * found.pair_s
    peak = peak_flops(torch.device("cuda"), train.precision) if torch.cuda.is_available() else None
    return None if peak is None else pairs * found.flops_per_pair / (UTILISATION * peak)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds; days where it takes any."""
    return str(timedelta(seconds=round(seconds)))


def size(count: float) -> str:
    """Bytes as a person reads them."""
    if count < 1e9:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB" if count < 1e10 else f"{count / 1e9:,.0f} GB"
