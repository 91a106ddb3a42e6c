"""Which weights a run ends with, `train.weights`."""

from __future__ import annotations

from pathlib import Path

from rankclip.errors import DataError
from rankclip.models.image_text import ImageTextModel
from rankclip.training import checkpoint
from rankclip.training.averaged import Averaged
from rankclip.training.spec import TrainSpec

Improved = tuple[tuple[int, float], ...]
"""Steps whose mean validation score was above all before, and the score."""


class Kept:
    """The last weights, their moving average, or those that were best in validation."""

    def __init__(
        self, train: TrainSpec, folder: Path, model: ImageTextModel, averaged: Averaged | None
    ) -> None:
        self.weights, self.folder, self.model, self.averaged = train.weights, folder, model, averaged
        self.improved: Improved = ()

    def validated(self) -> ImageTextModel:
        """The model that validation looks at."""
        if self.weights != "averaged":
            return self.model
        assert self.averaged is not None
        return self.averaged.model

    def improves(self, step: int, score: float) -> bool:
        """Notes a validation; says whether its checkpoint is to be kept as the best so far."""
        if self.weights != "best" or (self.improved and score <= self.improved[-1][1]):
            return False
        self.improved = (*self.improved, (step, score))
        return True

    def rewind(self, improved: Improved) -> None:
        """Goes back to a checkpoint.

        Raises:
            DataError: the best one before it is gone.
        """
        if improved and not (best := checkpoint.path(self.folder, improved[-1][0])).exists():
            raise DataError(
                f"{best}, the best of this run so far, is gone; delete {self.folder} to train it from its "
                "start"
            )
        self.improved = improved

    def step(self, last: int) -> int:
        """The step whose weights a run of `last` steps ends with."""
        return self.improved[-1][0] if self.improved else last

    def at_end(self) -> ImageTextModel:
        """The model that a run ends with, once it has made all its steps.

        Raises:
            DataError: the best checkpoint is damaged.
        """
        model = self.validated()
        if self.improved:
            best = checkpoint.path(self.folder, self.improved[-1][0])
            try:
                model.load_state_dict(checkpoint.read(best, checked=True).model)
            except DataError as error:
                raise DataError(
                    f"{best}, the best of this run, is damaged; delete {self.folder} to train it again"
                ) from error
        return model
