"""Optimiser and learning rates."""

from __future__ import annotations

import math

import torch
from torch import nn

from rankclip.training.spec import TrainSpec

SCALES = ("logit_scale", "logit_bias")
"""Last names of the parameters that have a learning rate of their own."""


def build_optimizer(model: nn.Module, spec: TrainSpec) -> torch.optim.AdamW:
    """AdamW that decays matrices only: not parameters of one dimension or none, nor positions.

    Each group tells by `scales` which of the two `learning_rates` is its own.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    scales = [p for name, p in named if name.endswith(SCALES)]
    others = [(name, p) for name, p in named if not name.endswith(SCALES)]
    decayed = [p for name, p in others if p.ndim >= 2 and not name.endswith("positional_embedding")]
    kept = [p for name, p in others if p.ndim < 2 or name.endswith("positional_embedding")]
    groups = [
        {"params": decayed, "weight_decay": spec.weight_decay, "scales": False},
        {"params": kept, "weight_decay": 0.0, "scales": False},
        {"params": scales, "weight_decay": 0.0, "scales": True},
    ]
    return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, spec: TrainSpec, step: int) -> tuple[float, float]:
    """Gives the optimiser the learning rates of step 0, 1, ...; returns them."""
    rates = learning_rates(spec, step)
    for group in optimizer.param_groups:
        group["lr"] = rates[group["scales"]]
    return rates


def learning_rates(spec: TrainSpec, step: int) -> tuple[float, float]:
    """Learning rates of step 0, 1, ...: of all else, and of the logit scale and bias."""
    at = min(step + spec.schedule_ahead, spec.steps)
    lr = _rate(spec, spec.lr, at)
    return lr, lr if spec.logit_scale_lr is None else _rate(spec, spec.logit_scale_lr, at)


def _rate(spec: TrainSpec, peak: float, step: int) -> float:
    """A line up to the peak; then a cosine to zero, or the peak and at last a line to zero."""
    if step < spec.warmup_steps:
        return peak * (step + 1) / spec.warmup_steps
    if spec.schedule == "constant_cooldown":
        left = spec.steps - step
        return peak if left >= spec.cooldown_steps else peak * left / spec.cooldown_steps
    progress = (step - spec.warmup_steps) / (spec.steps - spec.warmup_steps)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
