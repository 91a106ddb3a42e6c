"""The training recipe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rankclip.data.captions.spec import SlotName
from rankclip.spec import Spec

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


class TrainSpec(Spec):
    """AdamW and everything else that decides what is learnt, for every arm unless it overrides something."""

    batch_size: Annotated[int, Field(ge=2)]
    """Pairs a step, over all workers."""

    steps: PositiveInt
    """Optimiser steps."""

    lr: PositiveFloat
    """Peak learning rate."""

    logit_scale_lr: PositiveFloat | None
    """Peak learning rate of the logit scale and SigLIP's bias; `null`: that of all else."""

    schedule: Literal["cosine", "constant_cooldown"]
    """After the warm-up a cosine down to zero; or the peak, and a straight line to zero at the end."""

    warmup_steps: NonNegativeInt
    """Steps of linear warm-up; fewer than `steps`."""

    cooldown_steps: NonNegativeInt
    """Steps of the line to zero of `constant_cooldown`; 0 with `cosine`."""

    schedule_ahead: NonNegativeInt
    """Steps by which the learning rate is ahead of training: an epoch in the released code of RankCLIP, whose
    warm-up therefore hardly happens; else 0."""

    weight_decay: NonNegativeFloat
    """Decay of matrices; never of norms, biases, embeddings of position, or the logit scale."""

    betas: tuple[Beta, Beta]
    """AdamW's averages."""

    eps: PositiveFloat
    """AdamW's epsilon."""

    initial_alpha: Annotated[float, Field(ge=1.0)] | None
    """exp(logit scale) before the first step; `null`: 1 / 0.07, SigLIP's 10, or that of the weights that
    training starts from."""

    max_alpha: Annotated[float, Field(gt=1.0)]
    """exp(logit scale) is kept in [1, max_alpha] after every step; SigLIP's has no upper bound."""

    clip_norm: PositiveFloat | None
    """Norm to which a larger gradient of all parameters together is cut; `null`: none is."""

    skip_nonfinite: NonNegativeInt
    """Batches whose loss or gradient is not finite that a run may leave out; the next one ends it."""

    precision: Literal["fp32", "bf16"]
    """In which the towers compute; weights, optimiser, logits and losses are float32 in either."""

    patch_dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Share of an image's patches that a ViT is not shown in training; Li et al., CVPR 2023 (FLIP)."""

    micro_batch: PositiveInt | None
    """Pairs of a worker that pass through the model at once; `null`: all. The loss sees the whole batch.

    Memory for the time of a second forward pass; exact but for batch norm, which then sees a micro-batch.
    """

    weights: Literal["last", "best", "averaged"]
    """Which weights a run ends with: those of its last step, those with the highest mean top-1 in validation
    (the first of several), or their moving average, which validation then looks at too."""

    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Decay of that average and of the averaged model that teacher `soft` is; no other run has one."""

    captions: SlotName
    """Which caption slot is learnt from: the source's or one of the section `captions`."""

    shift_pixels: NonNegativeInt
    """Each image is moved by up to this many pixels both ways, its edge repeated; 0 leaves it where it is."""

    crop: tuple[Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]] | None
    """Least and largest share of an image's area that is cut out at random and scaled, its sides between 3:4
    and 4:3 of each other as in open_clip; `null`: the middle, always."""

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
    def _schedule_fits_into_the_steps(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be less than steps {self.steps}")
        if self.warmup_steps + self.cooldown_steps > self.steps:
            raise ValueError(
                f"cooldown_steps {self.cooldown_steps} do not fit into the steps {self.steps} behind "
                f"warmup_steps {self.warmup_steps}"
            )
        if self.cooldown_steps and self.schedule == "cosine":
            raise ValueError(f"cooldown_steps {self.cooldown_steps} needs schedule constant_cooldown")
        return self

    @model_validator(mode="after")
    def _cuts_a_possible_share(self) -> Self:
        if self.crop and self.crop[0] > self.crop[1]:
            raise ValueError(f"crop {list(self.crop)}: the least share must come first")
        return self
