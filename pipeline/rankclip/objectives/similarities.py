"""What the terms of an objective look at: this worker's rows of the four similarity matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Similarities:
    """Scaled similarities of n local pairs with all N of the global batch.

    Row i belongs to the pair in column `rows[i]`. The mean over the N rows of the global batch is the sum
    over workers of their `mean`, so that values and gradients add up to those of one worker.
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

    Never below float32, whatever the autocast: bf16 rounding reorders near-ties.
    """
    with torch.autocast(image.device.type, enabled=False):
        precision = torch.promote_types(image.dtype, torch.float32)
        alpha, image, text = alpha.to(precision), image.to(precision), text.to(precision)
        images, texts = images.to(precision), texts.to(precision)
        left_image, left_text = alpha * image, alpha * text
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


def relabelled(batch: Similarities, name: str) -> Tensor:
    """The named matrix M, without alpha, with its pairs relabelled: rows of M[shuffle][:, shuffle], `[n, N]`.

    Rows and columns are permuted alike, so that each list keeps its own pair where it was: permuting rows
    alone would also pull every pair apart, a force that no ranking term has.
    """
    left, right = name.split("_")
    embeddings = {"image": batch.images, "text": batch.texts}
    with torch.autocast(batch.images.device.type, enabled=False):
        picked: Tensor = embeddings[left][batch.shuffle[batch.rows]] @ embeddings[right][batch.shuffle].T
    return picked
