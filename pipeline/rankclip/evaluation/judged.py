"""What is measured of a set with people's judgements: each kind of judgement has its own measures."""

from __future__ import annotations

from rankclip.data.benchmarks.coco import JudgedSet
from rankclip.data.benchmarks.crisscrossed import Crisscrossed
from rankclip.data.benchmarks.eccv import EccvCaption
from rankclip.data.benchmarks.sugarcrepe import SugarCrepe
from rankclip.errors import DataError
from rankclip.evaluation import choices, graded, similarity
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Measured


def measure(embedded: Embedded, data: JudgedSet) -> list[Measured]:
    """All metrics of the set.

    Args:
        embedded: the images of `data`, in its order.
        data: with the judgements.

    Raises:
        DataError: the embedded images are of another set.
    """
    if embedded.keys != data.keys or embedded.captions != data.captions:
        raise DataError(
            f"the embedded images of {embedded.name} are not those of the set {data.name}; embed it again"
        )
    if isinstance(data, Crisscrossed):
        return similarity.measure(embedded, data.ratings)
    if isinstance(data, EccvCaption):
        return graded.measure(embedded, data.to_text, data.to_image)
    if isinstance(data, SugarCrepe):
        return choices.measure(embedded, data.choices)
    raise DataError(f"nothing is known to measure of the judgements of {data.name}")
