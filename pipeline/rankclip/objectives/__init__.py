"""Training objectives: weighted terms, each one file and one line of `Term`."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from rankclip.objectives.contrastive import Contrastive
from rankclip.objectives.ranking import RankCross, RankIn
from rankclip.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from rankclip.objectives.similarities import Similarities

Term = Annotated[Contrastive | RankCross | RankIn, Field(discriminator="name")]
"""Every term there is: the registry, the schema and the error text."""


class Objective(Spec):
    """A sum of weighted terms."""

    name: str
    """What the objective is called; `clip` is the contrastive term alone."""

    terms: Annotated[tuple[Term, ...], Field(min_length=1)]
    """The terms, each at most once."""

    @model_validator(mode="after")
    def _is_what_it_is_called(self) -> Self:
        names = [term.name for term in self.terms]
        if len(set(names)) < len(names):
            raise ValueError(f"terms {names} name one term twice; give each term once, with one weight")
        if all(term.weight.largest == 0.0 for term in self.terms):
            raise ValueError(f"objective {self.name!r} has no term with a weight above zero; give it one")
        added = [term.name for term in self.terms if term.name != "contrastive"]
        if self.name == "clip" and added:
            raise ValueError(f"`clip` is the contrastive term alone; with {', '.join(added)} it needs a name")
        if self.name != "clip" and all(t.weight.largest == 0.0 for t in self.terms if t.name in added):
            raise ValueError(
                f"objective {self.name!r} adds no term to CLIP (extra weights are zero): it is `clip`"
            )
        return self

    def __call__(self, batch: Similarities, progress: float) -> dict[str, Tensor]:
        """`loss` and each term before its weight, nats; this worker's part of the mean over the global batch.

        A term whose weight is zero at `progress` is not computed.
        """
        weights: dict[str, float] = {term.name: term.weight(progress) for term in self.terms}
        values: dict[str, Tensor] = {term.name: term(batch) for term in self.terms if weights[term.name]}
        parts = [value if weights[name] == 1.0 else weights[name] * value for name, value in values.items()]
        # before every schedule has begun, a zero that still has its (zero) gradients
        total = functools.reduce(operator.add, parts) if parts else 0.0 * batch.image_text.sum()
        return {"loss": total, **values}
