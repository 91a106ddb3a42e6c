"""How much the trials tell of each searched key: permutation importance of a random forest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rankclip.evaluation.statistics.estimate import rounding
from rankclip.sweep import standing
from rankclip.sweep.ledger import Trial
from rankclip.sweep.shown import places
from rankclip.sweep.space import Distribution
from rankclip.sweep.spec import Aim

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPEATS, FOLDS, DRAWS, TREES = 8, 5, 5, 50
LEAST, ENOUGH = 5, 10
"""Trials that a forest is fitted to at all, and from which on it is not called a guess."""

LITTLE = 0.1
"""Share of the variance, explained, below which the trials tell of no key."""


@dataclass(frozen=True)
class Share:
    """Of a key: by how much of the variance a forest predicts worse without it.

    `low`, `high`: the middle 90 % over `REPEATS` repeats. They tell of the chance in forest, folds and
    shuffles, not of what other trials would have read.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Of every key, at the last rung that all finished and stopped trials reached."""

    rung: int
    trials: int
    explained: float
    """Share of the variance that the forest predicts of trials it has not seen; 0 or less: none."""
    shares: Mapping[str, Share]
    """By key, most important first."""

    @property
    def warning(self) -> str:
        """Why the shares should not be trusted; empty while there is no reason."""
        if self.trials < ENOUGH:
            return f"Only {self.trials} trials: a guess. From {ENOUGH} on there is something to learn from."
        if self.explained < LITTLE:
            return (
                "The forest predicts hardly better than the mean of the trials: they tell little of any key."
            )
        return ""


def importance(space: Mapping[str, Distribution], trials: Sequence[Trial], aim: Aim) -> Importance | None:
    """Importance of the keys of one arm's trials; None where too few trials read the same or all alike.

    A forest (Breiman, Machine Learning 2001) is fitted to four fifths of the trials and predicts the others,
    once as they are and once with a key's values drawn from all trials. The increase of the squared error is
    the key's; keys that only act together each have the whole of it.
    """
    rung, read = standing.common(trials, aim)
    values = np.array([value for _, value in read])
    if len(read) < LEAST or np.ptp(values) <= rounding(float(abs(values).max())):
        return None
    settings = np.array(
        [
            [places.place(its, trial.values[key]) if key in trial.values else places.NOT_SEARCHED
             for key, its in space.items()]
            for trial, _ in read
        ]
    )  # fmt: skip
    errors = np.array([_errors(settings, values, repeat) for repeat in range(REPEATS)]) / values.var()
    worse = errors[:, 1:] - errors[:, :1]
    low, high = np.quantile(worse, (0.05, 0.95), axis=0)
    shares = {
        key: Share(float(worse[:, at].mean()), float(low[at]), float(high[at]))
        for at, key in enumerate(space)
    }
    ranked = dict(sorted(shares.items(), key=lambda each: -each[1].mean))
    return Importance(rung, len(read), 1.0 - float(errors[:, 0].mean()), ranked)


def _errors(settings: NDArray[np.float64], values: NDArray[np.float64], repeat: int) -> NDArray[np.float64]:
    """Mean squared error over held-out trials `[1 + K]`: as they are, and without each of the K keys."""
    from sklearn.ensemble import RandomForestRegressor

    chance = np.random.default_rng(repeat)
    count, keys = settings.shape
    total = np.zeros(1 + keys)
    for held in np.array_split(chance.permutation(count), FOLDS):
        rest = np.setdiff1d(np.arange(count), held)
        forest = RandomForestRegressor(TREES, random_state=repeat).fit(settings[rest], values[rest])
        asked = np.tile(settings[held], (1 + keys, DRAWS, 1, 1))
        for key in range(keys):
            asked[1 + key, ..., key] = chance.choice(settings[:, key], (DRAWS, len(held)))
        predicted = forest.predict(asked.reshape(-1, keys)).reshape(1 + keys, DRAWS, len(held))
        total += ((predicted - values[held]) ** 2).mean(axis=1).sum(axis=1)
    return np.asarray(total / count)
