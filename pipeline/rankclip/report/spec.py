"""What the report compares; imports nothing heavy, the configuration reads it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rankclip.evaluation.statistics.correction import Correction
from rankclip.spec import Spec

Name = Annotated[str, Field(min_length=1, max_length=64)]


class ReportSpec(Spec):
    """The comparison that the headline states, and the size of the illustrations."""

    baseline: Name
    """Arm that differences are taken to."""

    treatment: Name | None = None
    """Arm that the headline is about; none only where the study has one arm."""

    control: Name | None = None
    """Arm with the treatment's force and none of its information; a study may do without."""

    headline_metric: Literal["top1", "top3", "top5", "mean_per_class"] = "top1"
    """Metric averaged over the classification benchmarks that report it, on their test split."""

    headline_protocol: Literal["zero_shot"] = "zero_shot"
    """Protocol of the headline metric."""

    level: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """Confidence level of every interval."""

    correction: Correction = "holm"
    """Of the p-values of all comparisons but the headline's, for how many they are."""

    contact_images: Annotated[int, Field(ge=0, le=400)] = 48
    """Training images shown on the contact sheet."""

    @model_validator(mode="after")
    def _roles_differ(self) -> Self:
        named = [name for name in (self.baseline, self.treatment, self.control) if name is not None]
        if len(set(named)) < len(named):
            raise ValueError(f"baseline, treatment and control must differ, got {', '.join(named)}")
        return self
