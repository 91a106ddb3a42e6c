"""What a sweep may spend on trials, and which share of it an arm has; re-runs come on top."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from rankclip.sweep.shown.words import duration


@dataclass(frozen=True)
class Limits:
    """What a call may spend on trials."""

    seconds: float | None = None
    """Of the clock, from the start of the first search on."""
    gpu_hours: float | None = None
    """Of all trials of the sweep together, those of earlier calls and those under way included."""
    together: int | None = None
    """Trials at once; None: as many as the resources allow."""


class Budget:
    """Arms are searched one after another, each with an equal share of what those before it have left."""

    def __init__(self, limits: Limits, gpu_hours: Callable[[], float]) -> None:
        """
        Args:
            limits: of this call.
            gpu_hours: what was spent so far.
        """
        self.limits, self._gpu_hours = limits, gpu_hours
        self._ends = self._until = self._hours = math.inf

    def share(self, arms: int) -> None:
        """Begins the search of an arm, of so many that are not searched yet."""
        now = time.monotonic()
        if self.limits.seconds is not None:
            self._ends = min(self._ends, now + self.limits.seconds)
            self._until = now + (self._ends - now) / arms
        if self.limits.gpu_hours is not None:
            spent = self._gpu_hours()
            self._hours = spent + (self.limits.gpu_hours - spent) / arms

    @property
    def over(self) -> bool:
        """Whether the arm's share is spent."""
        if time.monotonic() >= self._until:
            return True
        return self.limits.gpu_hours is not None and self._gpu_hours() >= self._hours

    def left(self) -> dict[str, str]:
        """What is left of the arm's share, in words by name."""
        found = {}
        if self.limits.seconds is not None:
            found["time"] = duration(min(self._until - time.monotonic(), self.limits.seconds))
        if self.limits.gpu_hours is not None:
            found["GPU hours"] = f"{max(0.0, self._hours - self._gpu_hours()):.2f}"
        return found
