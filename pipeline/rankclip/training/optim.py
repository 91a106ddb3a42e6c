"""Optimiser and learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from rankclip.training.spec import TrainSpec


def build_optimizer(model: nn.Module, spec: TrainSpec) -> torch.optim.AdamW:
    """AdamW that decays matrices only: not parameters of one dimension or none, nor positions."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = [p for name, p in named if p.ndim >= 2 and not name.endswith("positional_embedding")]
    kept = [p for name, p in named if p.ndim < 2 or name.endswith("positional_embedding")]
    groups = [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)


def learning_rate(spec: TrainSpec, step: int) -> float:
    """Learning rate of step 0, 1, ...: linear warm-up to the peak, then a cosine that ends at zero."""
    if step < spec.warmup_steps:
        return spec.lr * (step + 1) / spec.warmup_steps
    progress = (step - spec.warmup_steps) / (spec.steps - spec.warmup_steps)
    return spec.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
