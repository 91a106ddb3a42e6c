"""CLIP's term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rankclip.objectives.schedule import Schedule
from rankclip.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from rankclip.objectives.similarities import Similarities


class Contrastive(Spec):
    """(CE(S, diag) + CE(S', diag)) / 2: each image picks its caption among all, and each caption its image.

    InfoNCE in both directions; Radford et al., ICML 2021, figure 3.
    """

    name: Literal["contrastive"]

    weight: Schedule
    """Weight of the term."""

    def __call__(self, batch: Similarities) -> Tensor:
        """Nats, this worker's part of the mean over the global batch."""
        from torch.nn.functional import cross_entropy

        image_to_text = cross_entropy(batch.image_text, batch.rows, reduction="none")
        text_to_image = cross_entropy(batch.text_image, batch.rows, reduction="none")
        return batch.mean(image_to_text + text_to_image) / 2
