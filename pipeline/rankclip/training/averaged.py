"""The moving average of a model's weights."""

from __future__ import annotations

import copy

import torch

from rankclip.models.image_text import ImageTextModel


class Averaged:
    """An exponential moving average of a model's weights; Tarvainen and Valpola, NeurIPS 2017.

    Its decay grows to the given one as 1 - 1 / (t + 1) at step t, as theirs does, so that the untrained
    model is soon forgotten. Statistics of batch norm are those of the model.
    """

    def __init__(self, model: ImageTextModel, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: ImageTextModel, step: int) -> None:
        """Takes in the model as it is after `step` steps."""
        share = 1.0 - min(self.decay, 1.0 - 1.0 / (step + 1))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), share)
        for ours, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            ours.copy_(buffer)
