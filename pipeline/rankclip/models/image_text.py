"""Both towers of a model as one module: what is trained, and what evaluation embeds with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ImageTextModel(nn.Module):
    """Both towers behind one `forward`, which is what DDP and compilation wrap.

    A tower called on its own through a wrapper would not be synchronised between workers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: nn.Module, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.clip = clip
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def logit_scale(self) -> nn.Parameter:
        """ln alpha, a scalar."""
        return self.clip.get_parameter("logit_scale")

    def forward(self, pixels: Tensor | None, tokens: Tensor | None) -> tuple[Tensor, ...]:
        """Unit embeddings of images `[N, 3, S, S]` uint8 and captions `[N, L]`, and alpha = exp(logit scale).

        The bias follows where the model has one. Captions are trimmed to the longest of the batch, which is
        exact: the text tower is causal and pools at the end token. Either input may be None; its embedding is
        then None.
        """
        images = None if pixels is None else self.normalise(pixels)
        trimmed, constants = (None, {}) if tokens is None else self.trim(tokens)
        outputs: tuple[Tensor, ...] = torch.func.functional_call(self.clip, constants, (images, trimmed))
        return outputs

    def normalise(self, pixels: Tensor) -> Tensor:
        """Bytes to the model's input range. `[N, 3, S, S]`"""
        scaled = pixels.to(torch.float32).div_(255.0).sub_(self.mean).div_(self.std)
        return scaled.contiguous(memory_format=torch.channels_last)

    def trim(self, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to the longest caption, and the text tower's tensors of that length."""
        length = tokens.shape[1]
        if not tokens.is_cuda or length == self.clip.context_length:  # else trimmed where it cost no waiting
            length = longest(tokens)
        prefix = "text." if hasattr(self.clip, "text") else ""
        state = dict(self.clip.named_parameters()) | dict(self.clip.named_buffers())
        position, mask = state[f"{prefix}positional_embedding"], state[f"{prefix}attn_mask"]
        constants = {
            f"{prefix}positional_embedding": position[:length],
            f"{prefix}attn_mask": mask[:length, :length],
        }
        return tokens[:, :length], constants


def longest(tokens: Tensor) -> int:
    """Length of the longest of some captions `[N, L]`, with its end token; waits for a GPU they are on."""
    # the end token is the largest; not the count of tokens but 0, which is "!" as well as the padding
    return int(tokens.argmax(dim=1).max()) + 1
