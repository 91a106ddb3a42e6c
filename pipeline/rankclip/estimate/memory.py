"""Memory of a worker in training, found on the shapes of tensors: nothing is computed, whatever the model."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rankclip.models.image_text import ImageTextModel
from rankclip.objectives.accumulate import BYTES_PER_SCORE, CHUNK_BYTES, FEWEST_ROWS
from rankclip.training.spec import TrainSpec

FLOAT = 4
"""Bytes of a number of weights, gradients and averages, in every precision."""


class Memory(NamedTuple):
    """Bytes of one worker. What a framework takes for itself, on a GPU about 1e9, comes on top."""

    weights: float
    averages: float
    """AdamW's two of each weight, and the averaged model where there is one."""
    gradients: float
    activations: float
    """The most that lives at once of what forward and backward make, but gradients of weights."""
    loss: float
    """A chunk of rows of the similarity matrices, and the embeddings of all pairs."""

    @property
    def total(self) -> float:
        """Of all parts."""
        return sum(self)


def memory(
    model: ImageTextModel, train: TrainSpec, pairs: int, caption_length: int, device: str, *, averaged: bool
) -> Memory:
    """What a worker needs. The model is used up: it has shapes afterwards and no numbers.

    Args:
        model: of the run, in the mode in which it trains.
        train: its recipe.
        pairs: of this worker, of each batch.
        caption_length: tokens of the longest caption.
        device: "cpu" or "cuda", which differ in the size of a chunk of the loss.
        averaged: whether an averaged model is kept.
    """
    parameters = list(model.clip.parameters())
    weights = FLOAT * sum(parameter.numel() for parameter in parameters)
    learnt = FLOAT * sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    width = model(None, captions(1, caption_length))[1].shape[1]
    at_once = min(pairs, train.micro_batch or pairs)
    made = _most_alive(model, max(at_once, 2), caption_length, train.precision)
    return Memory(
        weights=weights,
        averages=2 * learnt + averaged * weights,
        gradients=learnt,
        activations=max(made - learnt, 0),
        loss=_chunk(pairs, train.batch_size, device) + 6 * FLOAT * width * train.batch_size,
    )


def _chunk(pairs: int, batch_size: int, device: str) -> int:
    """Bytes of the chunk of rows that `objectives.accumulate` takes."""
    most = max(FEWEST_ROWS, CHUNK_BYTES[device] // (BYTES_PER_SCORE * batch_size))
    rows = math.ceil(pairs / math.ceil(pairs / most))
    return rows * batch_size * BYTES_PER_SCORE


def captions(n: int, length: int) -> Tensor:
    """Tokens `[n, length]` of captions that are all as long as may be."""
    tokens = torch.zeros(n, length, dtype=torch.int64)
    tokens[:, -1] = 1  # the end token is the largest
    return tokens


def _most_alive(model: ImageTextModel, n: int, caption_length: int, precision: str) -> int:
    """Bytes that forward and backward of `n` pairs make and that live at once, gradients of weights too."""
    shapes = FakeTensorMode(allow_non_fake_inputs=True)
    _forget_numbers(model.clip, shapes)
    tokens, constants = model.trim(captions(n, caption_length))
    for parameter in model.clip.parameters():
        parameter.grad = None
    held = [*model.clip.parameters(), *model.clip.buffers()]
    with torch.random.fork_rng(devices=[]), shapes, torch.enable_grad(), Living(held) as living:
        pixels = torch.empty(n, 3, model.image_size, model.image_size)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            inputs = (pixels, shapes.from_tensor(tokens))
            image, text, *_ = torch.func.functional_call(model.clip, constants, inputs)
        (image.float().sum() + text.float().sum()).backward()
    return int(living.most)


def _forget_numbers(module: nn.Module, shapes: FakeTensorMode) -> None:
    """Leaves of weights and buffers only what shape and type they have."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                with shapes:
                    empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                part._parameters[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                with shapes:
                    part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


class Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that operations make, as long as each lives."""

    def __init__(self, held: Sequence[Tensor]) -> None:
        """`held`: tensors that were there before; views of them count as nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.most: int = 0
        self._known: dict[int, int] = {tensor.untyped_storage()._cdata: 0 for tensor in held}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._known:
            return
        self._known[storage._cdata] = storage.nbytes()
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, number: int) -> None:
        self.now -= self._known.pop(number)
