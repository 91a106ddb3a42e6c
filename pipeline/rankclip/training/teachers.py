"""What the terms of an objective look at besides the embeddings of a step, where they need it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rankclip.data.loading.loader import Loaded
from rankclip.errors import InputError
from rankclip.models.image_text import ImageTextModel
from rankclip.training.averaged import Averaged
from rankclip.training.device import Precision, lowered, widened
from rankclip.training.feed import Feed
from rankclip.training.micro_batches import outputs
from rankclip.training.spec import TrainSpec


class Teachers:
    """Makes the options of `gathered` that an objective needs, for this worker's part of each batch."""

    def __init__(
        self, needs: Collection[str], key: str, feed: Feed, averaged: Averaged | None, train: TrainSpec
    ) -> None:
        """Takes what it needs from the data, and the averaged model if there is one.

        Raises:
            InputError: the data has no latents, or captions in one slot alone, where a term of the run `key`
                needs more.
        """
        self.needs, self.size, self.precision = needs, train.micro_batch, train.precision
        self.averaged = averaged if "averaged" in needs else None
        # without need too, for diagnostics, where there are any
        latents = feed.samples.latents() if "latents" in needs or train.diagnose_every else None
        if "latents" in needs and latents is None:
            raise InputError(
                f"{key}: teacher oracle needs the true similarity of images, which {feed.samples.folder} "
                "does not hold; choose another teacher, or data that has latents"
            )
        self.latents = None if latents is None else torch.from_numpy(latents)
        if "described" in needs:
            require_several_slots(key, feed)

    def of(
        self,
        model: ImageTextModel,
        batch: Loaded,
        *,
        diagnosed: bool = False,
    ) -> dict[str, Any]:
        """The options for this part of a batch, none with gradient.

        Args:
            model: as it is now.
            batch: as the model sees it.
            diagnosed: whether diagnostics look at them too, which compare rankings with the true ones.
        """
        found: dict[str, Any] = {}
        if "captions" in self.needs:
            found["captions"] = caption_numbers(batch.tokens)
        if self.latents is not None and (diagnosed or "latents" in self.needs):
            found["latents"] = self.latents[batch.indices].to(batch.images.device, non_blocking=True)
        if self.averaged is not None:
            found["averaged"] = embeddings(
                self.averaged.model, batch.images, batch.tokens, self.size, self.precision
            )
        if "described" in self.needs:
            found["described"] = caption_embeddings(
                model, batch.described, batch.there, self.size, self.precision
            )
        return found


def require_several_slots(key: str, feed: Feed) -> None:
    """Refuses data in which all captions of an image are one, so that a consensus is no other teacher.

    Raises:
        InputError: fewer than two slots have captions.
    """
    samples = feed.samples
    found = [name for name in samples.slots if samples.captions(name).missing < len(samples)]
    if len(found) < 2:
        raise InputError(
            f"{key}: teacher consensus needs captions in two slots or more, but {samples.folder} has "
            f"{' '.join(found)} alone; choose another teacher, or data with captions in more slots"
        )


def caption_numbers(tokens: Tensor) -> Tensor:
    """Equal numbers for equal captions, tokens `[n, L]` whatever their padding: `[n]`, int64.

    64 bits of a hash, the same on every worker: in a million batches of 32,768 captions that all differ, two
    would share a number with probability 3e-5.
    """
    rows = tokens.cpu().contiguous().numpy()
    numbers = [
        int.from_bytes(
            hashlib.blake2b(row.tobytes().rstrip(b"\0"), digest_size=8).digest(), "big", signed=True
        )
        for row in rows
    ]
    return torch.tensor(numbers, dtype=torch.int64, device=tokens.device)


@torch.no_grad()
def embeddings(
    model: ImageTextModel, pixels: Tensor, tokens: Tensor, size: int | None, precision: Precision = "fp32"
) -> tuple[Tensor, Tensor]:
    """Unit image and text embeddings `[n, D]`, at most `size` pairs at once, by towers of this precision."""
    size = size or len(pixels)
    found = [
        outputs(model, images, captions, precision)
        for images, captions in zip(torch.split(pixels, size), torch.split(tokens, size), strict=True)
    ]
    return torch.cat([each[0] for each in found]), torch.cat([each[1] for each in found])


@torch.no_grad()
def caption_embeddings(
    model: ImageTextModel, tokens: Tensor, there: Tensor, size: int | None, precision: Precision = "fp32"
) -> Tensor:
    """Unit embeddings of M captions of each image, zeros where one is missing: `[n, M, D]`.

    Args:
        model: as it is now; it is used in evaluation mode.
        tokens: `[n, M, L]`.
        there: `[n, M]`, which captions there are.
        size: at most so many captions pass at once.
        precision: in which the tower computes.
    """
    with evaluating(model), lowered(tokens.device, precision):
        rows = torch.cat(
            [model(None, piece)[1] for piece in torch.split(tokens.flatten(0, 1), size or len(tokens))]
        )
    return widened(rows).view(*there.shape, -1) * there.unsqueeze(-1)


@contextmanager
def evaluating(model: ImageTextModel) -> Iterator[None]:
    """Puts a model into evaluation mode for a while, in which it draws no random number."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
