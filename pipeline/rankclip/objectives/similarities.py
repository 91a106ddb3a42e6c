"""What the terms of an objective look at: this worker's rows of the four similarity matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Similarities:
    """Scaled similarities of n local pairs with all N of the global batch, float32.

    Row i belongs to the pair in column `rows[i]`. The mean over the N rows of the global batch is the sum over
    workers of their `mean`, so that values and gradients add up to those of one worker.
    """

    image_text: Tensor
    """Rows of S = alpha V T': `[n, N]`."""

    text_image: Tensor
    """Rows of S': `[n, N]`."""

    image_image: Tensor
    """Rows of A = alpha V V': `[n, N]`."""

    text_text: Tensor
    """Rows of B = alpha T T': `[n, N]`."""

    rows: Tensor
    """Column of each row's own pair: `[n]`, int64."""

    images: Tensor
    """All image embeddings, without gradient: `[N, D]`."""

    texts: Tensor
    """All text embeddings, without gradient: `[N, D]`."""

    shuffle: Tensor
    """A permutation of the global batch that depends on seed and step alone: `[N]`, int64."""

    def mean(self, values: Tensor) -> Tensor:
        """This worker's part of the mean over the global batch of `values` `[n]`."""
        return values.sum() / len(self.images)


def similarities(
    image: Tensor, text: Tensor, alpha: Tensor, images: Tensor, texts: Tensor, rows: Tensor, shuffle: Tensor
) -> Similarities:
    """Similarities of local unit embeddings `image`, `text` `[n, D]` with the gathered ones `[N, D]`.

    Always float32: bf16 rounding reorders near-ties.
    """
    with torch.autocast(image.device.type, enabled=False):
        left_image, left_text = alpha.float() * image.float(), alpha.float() * text.float()
        images, texts = images.float(), texts.float()
        return Similarities(
            image_text=left_image @ texts.T,
            text_image=left_text @ images.T,
            image_image=left_image @ images.T,
            text_text=left_text @ texts.T,
            rows=rows,
            images=images.detach(),
            texts=texts.detach(),
            shuffle=shuffle,
        )
