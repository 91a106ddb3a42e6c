"""What the report compares; imports nothing heavy, the configuration reads it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rankclip.spec import Spec

Name = Annotated[str, Field(min_length=1, max_length=64)]


class ReportSpec(Spec):
    """The comparison that the headline states, and the size of the illustrations."""

    baseline: Name = "clip"
    """Arm that differences are taken to; without one of this name, the first arm that has no other role."""

    treatment: Name = "rankclip"
    """Arm that the headline is about; without one of this name, the first arm that has no other role."""

    control: Name = "rankclip_shuffled"
    """Arm with the treatment's force and none of its information; a study may do without."""

    headline_metric: Name = "top1"
    """Metric averaged over the benchmarks that report it, on their test split."""

    headline_protocol: Name = "zero_shot"
    """Protocol of the headline metric."""

    level: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """Confidence level of every interval."""

    contact_images: Annotated[int, Field(ge=0, le=400)] = 48
    """Training images shown on the contact sheet."""
