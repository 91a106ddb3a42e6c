"""What a sweep came to, as everything reads it that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankclip.sweep.ledger import Trial
from rankclip.sweep.spec import SweepSpec

AS_IT_IS = "as it is"
"""Name of the setting in which an arm stands in the study, without what is searched."""


@dataclass(frozen=True)
class Setting:
    """A setting that was trained again with fresh seeds."""

    arm: str
    name: str
    """`AS_IT_IS`, or "trial-007"."""
    values: Mapping[str, Any]
    """By key of the space; empty for the arm as it is."""
    scores: Mapping[int, float]
    """What the first aim reads at the last step, by seed."""


@dataclass(frozen=True)
class Outcome:
    """Everything that is known of a sweep, whether it has ended or not."""

    name: str
    study: str
    spec: SweepSpec
    steps: Mapping[str, int]
    """Of a whole trial, by arm."""
    trials: Sequence[Trial]
    """Of all arms."""
    settings: Sequence[Setting]
    """Those of the re-runs; empty before them."""
    winners: Mapping[str, Setting]
    """By arm: of its re-run settings the one with the best mean."""
    ended: str
    """How it ended: "complete", "out of budget", "stopped", "failed", "failed in part"; empty before."""
    lost: Mapping[str, str] = field(default_factory=dict)
    """By arm: what failed of its re-runs, or why there are none."""
