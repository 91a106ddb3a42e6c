"""What a recipe asks of a worker: parameters, arithmetic, memory."""

from __future__ import annotations

import functools
import time
from typing import Literal, NamedTuple

import torch

from rankclip.estimate.memory import Memory, captions, memory
from rankclip.models.image_text import ImageTextModel
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.objectives import Objective
from rankclip.training.cost import flops_per_pair
from rankclip.training.device import lowered
from rankclip.training.recompute import recompute
from rankclip.training.spec import TrainSpec

CAPTION_LENGTH = 32
"""Tokens of the longest caption of a batch, roughly: web captions have 5 to 25 words."""

TRIAL_FLOPS = 2e10
"""Arithmetic of a batch that shows how fast a CPU is, half a second of one core; a model of which not even
two pairs are so little is not tried."""

Device = Literal["cpu", "cuda"]


class Worker(NamedTuple):
    """Who trains: what changes no result, but what a recipe takes."""

    device: Device
    workers: int
    """Of the run."""
    recompute: bool
    """Whether activations are computed again."""


class Need(NamedTuple):
    """What a recipe asks of one of its workers."""

    parameters: int
    flops_per_pair: float
    """Forward and backward of both towers."""
    memory: Memory
    pair_s: float | None
    """Seconds of both towers for a pair, by a trial on this CPU; None where none was made."""


def need(
    model: ModelSpec, objective: Objective, train: TrainSpec, worker: Worker, *, trial: bool = False
) -> Need:
    """What a recipe asks of a worker; the model is built, and but for the trial nothing is computed.

    Raises:
        InputError: the recipe does not fit the model.
    """
    fresh = model.model_copy(update={"pretrained": None, "pretrained_sha256": None})
    averaged = "averaged" in objective.needs or train.weights == "averaged"
    return _need(fresh, objective.bounded, averaged, train, worker, trial)


@functools.lru_cache
def _need(
    spec: ModelSpec, bounded: bool, averaged: bool, train: TrainSpec, worker: Worker, trial: bool
) -> Need:
    model = build(spec, 0, bounded, patch_dropout=train.patch_dropout).train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    flops = flops_per_pair(model, CAPTION_LENGTH)
    pairs = max(1, train.batch_size // worker.workers)
    few = min(pairs, int(TRIAL_FLOPS / flops))
    pair_s = towers_s(model, train, few) if trial and few > 1 else None
    if worker.recompute:
        recompute(model)
    found = memory(model, train, pairs, CAPTION_LENGTH, worker.device, averaged=averaged)
    return Need(parameters, flops, found, pair_s)


def towers_s(model: ImageTextModel, train: TrainSpec, pairs: int) -> float:
    """Seconds that both towers take for a pair, forward and backward, on this CPU in a batch of so many."""
    images = torch.zeros(pairs, 3, model.image_size, model.image_size, dtype=torch.uint8)
    before, took = torch.get_num_threads(), []
    torch.set_num_threads(train.threads)
    try:
        for _ in range(3):
            since = time.perf_counter()
            with torch.random.fork_rng(devices=[]):
                with lowered(torch.device("cpu"), train.precision):
                    image, text, *_ = model(images, captions(pairs, CAPTION_LENGTH))
                (image.float().sum() + text.float().sum()).backward()
            took.append(time.perf_counter() - since)
    finally:
        torch.set_num_threads(before)
    return min(took) / pairs
