"""What steps say of themselves; a step late on a GPU, where to wait for it would let the device wait too."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rankclip.training.step import Step


class Verdict(NamedTuple):
    """Of one step, the same on every worker."""

    step: int
    """1-based."""
    fault: str
    """Why its batch was left out; empty for one that was learnt from."""
    asked: bool
    """Whether a worker asked for a save, or to stop."""


class _Arriving(NamedTuple):
    step: int
    fault: str
    numbers: Tensor
    """`finite` and `asking` of the step, `[2]`, on the host once `there`."""
    there: torch.cuda.Event | None


class Verdicts:
    """Those that are on their way from the device, in the order of the steps."""

    def __init__(self) -> None:
        self._arriving: deque[_Arriving] = deque()

    def add(self, number: int, step: Step) -> None:
        """Takes a step, the `number`-th."""
        numbers, there = torch.stack([step.finite.double(), step.asking.double()]), None
        if numbers.is_cuda:
            numbers = torch.empty(2, dtype=torch.float64, pin_memory=True).copy_(numbers, non_blocking=True)
            there = torch.cuda.current_stream().record_event()
        self._arriving.append(_Arriving(number, step.fault, numbers, there))

    def known(self, *, wait: bool = False) -> Iterator[Verdict]:
        """Of all steps but the last, and of that too on a CPU or where `wait` says so."""
        while self._arriving and (wait or self._arriving[0].there is None or len(self._arriving) > 1):
            number, fault, numbers, there = self._arriving.popleft()
            if there:
                there.synchronize()
            finite, asking = numbers.tolist()
            yield Verdict(number, "" if finite else fault or "loss or gradient is not finite", asking > 0)
