"""RankCLIP's terms: the ranking of one similarity matrix is the teacher of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rankclip.objectives.schedule import Schedule
from rankclip.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from rankclip.objectives.similarities import Similarities

Teacher = Literal["other_modality", "shuffled"]


class RankCross(Spec):
    """(PL(S; order S') + PL(S'; order S)) / 2, Plackett-Luce: cross-modal consistency.

    RankCLIP (ICCV 2025), its cross-modal list loss, per position.
    """

    name: Literal["rank_cross"]

    weight: Schedule
    """Weight of the mean of both directions, per position."""

    teacher: Teacher
    """`shuffled` ranks the pairs of a random relabelling of the batch: the same force, no information."""

    def __call__(self, batch: Similarities) -> Tensor:
        """Nats per position, this worker's part of the mean over the global batch."""
        return agreement(
            batch, (batch.image_text, batch.text_image), ("image_text", "text_image"), self.teacher
        )


class RankIn(Spec):
    """(PL(A; order B) + PL(B; order A)) / 2, Plackett-Luce: in-modal consistency.

    RankCLIP (ICCV 2025), its in-modal list loss, per position.
    """

    name: Literal["rank_in"]

    weight: Schedule
    """Weight of the mean of both directions, per position."""

    teacher: Teacher
    """`shuffled` ranks the pairs of a random relabelling of the batch: the same force, no information."""

    def __call__(self, batch: Similarities) -> Tensor:
        """Nats per position, this worker's part of the mean over the global batch."""
        return agreement(
            batch, (batch.image_image, batch.text_text), ("image_image", "text_text"), self.teacher
        )


def agreement(
    batch: Similarities, matrices: tuple[Tensor, Tensor], names: tuple[str, str], teacher: Teacher
) -> Tensor:
    """Mean of both directions, each matrix once the student and once the teacher."""
    from rankclip.objectives.listwise import plackett_luce, ranking
    from rankclip.objectives.similarities import relabelled

    if teacher == "shuffled":
        orders = tuple(ranking(relabelled(batch, name)) for name in names)
    else:
        orders = tuple(ranking(matrix) for matrix in matrices)
    return batch.mean(plackett_luce(matrices[0], orders[1]) + plackett_luce(matrices[1], orders[0])) / 2
