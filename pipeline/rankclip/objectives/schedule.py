"""How the weight of a term changes over training; progress is step / planned steps, in [0, 1]."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, model_validator

from rankclip.spec import Spec

Progress = Annotated[float, Field(ge=0.0, le=1.0)]


class Constant(Spec):
    """The same weight throughout."""

    name: Literal["constant"]

    value: NonNegativeFloat
    """The weight."""

    def __call__(self, progress: float) -> float:
        """The weight at `progress`."""
        return self.value

    @property
    def largest(self) -> float:
        """The largest weight it ever takes."""
        return self.value


class Linear(Spec):
    """`initial` until `start`, then in a straight line to `final` at `end`, then `final`.

    RankCLIP's released ramp, clip(3 p, 0, 2) / 16, is initial 0, final 0.125, start 0, end 2/3.
    """

    name: Literal["linear"]

    initial: NonNegativeFloat
    """Weight at first."""

    final: NonNegativeFloat
    """Weight at last."""

    start: Progress
    """Progress at which the weight begins to change."""

    end: Progress
    """Progress at which it has arrived; after `start`."""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"a linear weight starts at {self.start} and ends at {self.end}; end it later")
        return self

    def __call__(self, progress: float) -> float:
        """The weight at `progress`."""
        if progress <= self.start:
            return self.initial
        if progress >= self.end:
            return self.final
        return self.initial + (self.final - self.initial) * (progress - self.start) / (self.end - self.start)

    @property
    def largest(self) -> float:
        """The largest weight it ever takes."""
        return max(self.initial, self.final)


Schedule = Annotated[Constant | Linear, Field(discriminator="name")]
