"""The training recipe."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rankclip.data.captions.spec import SlotName
from rankclip.spec import Spec

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


class TrainSpec(Spec):
    """AdamW with linear warm-up and cosine decay to zero, for every arm unless it overrides something."""

    batch_size: Annotated[int, Field(ge=2)]
    """Pairs a step, over all workers."""

    steps: PositiveInt
    """Optimiser steps."""

    lr: PositiveFloat
    """Peak learning rate."""

    warmup_steps: NonNegativeInt
    """Steps of linear warm-up; fewer than `steps`."""

    weight_decay: NonNegativeFloat
    """Decay of matrices; never of norms, biases, embeddings of position, or the logit scale."""

    betas: tuple[Beta, Beta]
    """AdamW's averages."""

    eps: PositiveFloat
    """AdamW's epsilon."""

    max_alpha: Annotated[float, Field(gt=1.0)]
    """exp(logit scale) is kept in [1, max_alpha] after every step; SigLIP's has no upper bound."""

    micro_batch: PositiveInt | None
    """Pairs of a worker that pass through the model at once; `null`: all. The loss sees the whole batch.

    Memory for the time of a second forward pass; exact but for batch norm, which then sees a micro-batch.
    """

    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Decay of the averaged model that teacher `soft` is; no other objective has one."""

    captions: SlotName
    """Which caption slot is learnt from: the source's or one of the section `captions`."""

    shift_pixels: NonNegativeInt
    """Each image is moved by up to this many pixels both ways, its edge repeated; 0 leaves it where it is."""

    threads: PositiveInt
    """CPU threads of a worker; fixed, because their number changes the last bits."""

    log_every: PositiveInt
    """Steps between lines of metrics.jsonl."""

    diagnose_every: PositiveInt | None
    """Steps between diagnostics of the terms' gradients and rankings; `null`: never."""

    validation: Annotated[tuple[str, ...], Field(min_length=1)]
    """Classification benchmarks whose validation split is followed during training."""

    validate_every: PositiveInt
    """Steps between zero-shot validations."""

    checkpoint_every: PositiveInt
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _warms_up_before_it_ends(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be less than steps {self.steps}")
        return self
