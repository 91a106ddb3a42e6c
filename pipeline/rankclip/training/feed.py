"""What a worker's steps are fed with: pairs of a folder of shards, and what of it could not be decoded."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rankclip import distributed
from rankclip.data.loading.loader import Loaded, Loader
from rankclip.data.loading.order import Batch, dropped, steps_per_epoch
from rankclip.data.loading.quarantine import Entry, Quarantine
from rankclip.data.loading.rows import Rows
from rankclip.data.loading.samples import Samples
from rankclip.errors import InputError
from rankclip.models.image_text import longest
from rankclip.models.open_clip import tokenize
from rankclip.models.spec import ModelSpec
from rankclip.training.request import QUARANTINE, TrainRequest


class Feed:
    """This worker's part of each batch. All randomness is a function of (seed, epoch, sample).

    Args:
        request: the run.
        image_size: S, pixels.
        device: of the model.

    Raises:
        DataError: the shards are not what their manifest says.
        InputError: an image has no caption in the chosen slot, the samples do not fill a batch, or
            RANKCLIP_LOADER_WORKERS is no number.
    """

    def __init__(self, request: TrainRequest, image_size: int, device: torch.device) -> None:
        train, self.device = request.train, device
        self.samples = Samples(request.shards)
        steps_per_epoch(len(self), train.batch_size)
        if missing := self.samples.captions(train.captions).missing:
            raise InputError(
                f"train.captions: {missing} of {len(self)} images have no caption in slot "
                f"{train.captions!r}; the slots are {', '.join(self.samples.slots)}"
            )
        described = self.samples.slots if "described" in request.objective.needs else ()
        self.rows = Rows(
            self.samples, train.captions, image_size, functools.partial(tokens, request.model), described
        )
        self.loader = Loader(
            self.rows, train.batch_size, request.seed,
            rank=distributed.rank(), ranks=distributed.world_size(),
            reach=train.shift_pixels, crop=train.crop, pinned=device.type == "cuda",
        )  # fmt: skip
        self.quarantine = Quarantine(request.folder / QUARANTINE, writes=distributed.rank() == 0)
        self.met: list[Entry] = []

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def dropped(self) -> int:
        """Samples that an epoch leaves out, others each time."""
        return dropped(len(self), self.loader.batch_size)

    def batches(self, start_step: int, stop_step: int) -> Iterator[Loaded]:
        """The batches from a step on; one that is given is valid until the next is asked for.

        Raises:
            DataError: a shard cannot be read, or too many samples in a row cannot be decoded.
            RunError: a process of the loader died or hangs, or the store does not answer.
        """
        for loaded in self.loader.batches(start_step, stop_step):
            first = self.loader.rank * len(loaded.indices)
            self.met += [
                Entry(
                    loaded.step + 1, first + one.row, loaded.epoch,
                    self.samples.keys[one.sample], self.samples.shard(one.sample), one.reason,
                )
                for one in loaded.undecodable
            ]  # fmt: skip
            yield self._on_device(loaded)

    def keys(self, indices: Iterable[int]) -> list[str]:
        """What samples `[n]` are called."""
        return [self.samples.keys[int(i)] for i in indices]

    def batch(self, chosen: NDArray[np.int64], epoch: int) -> Loaded:
        """These samples `[n]` as a batch of an epoch has them."""
        return self.loader.batch(Batch(0, epoch, chosen))

    def close(self) -> None:
        """Closes the shards."""
        self.samples.close()

    def _on_device(self, loaded: Loaded) -> Loaded:
        images, tokens, described, there = (
            tensor.to(self.device, non_blocking=True)
            for tensor in (loaded.images, loaded.tokens, loaded.described, loaded.there)
        )
        if self.device.type != "cpu":  # trimmed here, the model need not wait for the device to do it
            tokens = tokens[:, : longest(loaded.tokens)]
        return loaded._replace(images=images, tokens=tokens, described=described, there=there)

    def settle(self, step: int) -> int:
        """Writes down what could not be decoded on any worker up to now; how many samples it is in all.

        Every worker calls this after the same steps.

        Args:
            step: how many are done.

        Raises:
            DataError: there are too many.
        """
        met, self.met = of_all_workers(self.met, self.device), []
        self.quarantine.add(met, min(len(self), step * self.loader.batch_size))
        return len(self.quarantine)


def tokens(model: ModelSpec, texts: Sequence[str]) -> NDArray[np.int32]:
    """Tokens of texts: `[n, L]`."""
    found: NDArray[np.int32] = tokenize(model, texts).to(torch.int32).numpy()
    return found


def of_all_workers(met: list[Entry], device: torch.device) -> list[Entry]:
    """What all workers met, on each of them; a collective."""
    if distributed.world_size() == 1:
        return met
    text = "".join(json.dumps(entry) + "\n" for entry in met).encode()
    told = torch.tensor(list(text), dtype=torch.uint8, device=device)
    everything = distributed.gather(told, distributed.sizes(len(told), device))
    return [Entry(*json.loads(line)) for line in bytes(everything.tolist()).splitlines()]
