"""How fast a run trains, and what it uses."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from rankclip import distributed
from rankclip.data.loading.loader import Loaded
from rankclip.models.image_text import ImageTextModel, longest
from rankclip.training.cost import flops_per_pair, peak_flops
from rankclip.training.spec import TrainSpec

MEASURED = ("samples_per_s", "data_wait", "memory_mb", "tflops", "mfu", "elapsed_s", "validation_s")
"""What a clock or the machine says in a report, and another run of the same would not repeat."""


class Meter:
    """Measures steps from one report to the next; validations and saves between them do not count.

    Args:
        spec: the recipe.
        device: on which the model is.
        elapsed_s: seconds trained before.
    """

    def __init__(self, spec: TrainSpec, device: torch.device, elapsed_s: float = 0.0) -> None:
        self._spec, self._device, self.elapsed_s = spec, device, elapsed_s
        self._flops_per_pair = 0.0
        self._peak = peak_flops(device, spec.precision)
        self.restart()

    def restart(self) -> None:
        """Begins a new interval."""
        self._since, self._waited, self._steps = time.monotonic(), 0.0, 0

    def count_flops(self, model: ImageTextModel, tokens: Tensor) -> None:
        """Counts the arithmetic of a pair by captions `[n, L]`; those of later batches are taken as alike."""
        began = time.monotonic()
        self._flops_per_pair = flops_per_pair(model, longest(tokens))
        self._since += time.monotonic() - began

    def waiting(self, batches: Iterable[Loaded]) -> Iterator[Loaded]:
        """The batches, and how long each had to be waited for."""
        source = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(source, None)
            if batch is None:
                return
            self._waited += time.monotonic() - asked
            self._steps += 1
            yield batch

    def read(self) -> dict[str, float]:
        """What of `MEASURED` is of steps: speed of all workers together, waiting and memory of this one."""
        took = max(time.monotonic() - self._since, 1e-9)
        self.elapsed_s += took
        speed = self._steps * self._spec.batch_size / took
        found = {
            "samples_per_s": round(speed, 1),
            "data_wait": round(self._waited / took, 4),
            "memory_mb": round(peak_memory(self._device) / 1e6, 1),
            "tflops": round(speed * self._flops_per_pair / 1e12, 4),
        }
        if self._peak:
            most = self._peak * distributed.world_size()
            found["mfu"] = round(speed * self._flops_per_pair / most, 4)
        return found | {"elapsed_s": round(self.elapsed_s, 1)}


def peak_memory(device: torch.device) -> int:
    """The most bytes so far: of tensors on a GPU, else of this whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # bytes on macOS, else KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
