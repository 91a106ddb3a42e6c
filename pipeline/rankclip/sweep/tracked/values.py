"""Numbers of a sweep as MLflow's tables compare them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rankclip.evaluation.statistics import estimate
from rankclip.sweep import standing
from rankclip.sweep.outcome import Outcome, Setting
from rankclip.sweep.space import Distribution
from rankclip.sweep.spec import Aim
from rankclip.tracking.lines import flatten, parsed
from rankclip.training.request import TrainRequest


def params(arm: str, request: TrainRequest, space: Mapping[str, Distribution]) -> dict[str, str]:
    """Parameters of a run by dotted key, the same keys in every one: arm, seed and settings.

    A searched key has a text even where it is null, since MLflow's charts leave out runs that lack one.
    """
    keys = [each for key, its in space.items() for each in (key, *its.also)]
    return dict.fromkeys(keys, "null") | flatten({"arm": arm, "seed": request.seed, **request.config})


def ends(curve: Path, aims: Sequence[Aim]) -> dict[str, float]:
    """`final/...`, what a curve reads last of validation, loss and cost; `best/...`, its best validation.

    `final/step` is how far it came. The best is the largest, but for an aim that should be small.
    """
    small = {aim.metric for aim in aims if aim.mode == "min"}
    last: dict[str, float] = {}
    best: dict[str, float] = {}
    for name, value in _points(curve):
        last[name] = value
        if name.startswith("val/"):
            chosen = min if name in small else max
            best[name] = chosen(value, best.get(name, value))
    kept = {name for name in last if name.startswith("val/") or name in ("step", "loss", "elapsed_s")}
    finals = {f"final/{name}": last[name] for name in sorted(kept)}
    return finals | {f"best/{name}": value for name, value in sorted(best.items())}


def _points(curve: Path) -> list[tuple[str, float]]:
    """Every finite number of a curve with its name, in the order of the complete lines."""
    content = curve.read_bytes() if curve.exists() else b""
    records = map(parsed, content[: content.rfind(b"\n") + 1].splitlines())
    return [
        (name, float(value))
        for record in filter(None, records)
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]


def aggregates(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Over the seeds of a setting, each with what `ends` gives: means, spread and interval of `final/...`.

    `agg/<metric>_mean`, `_sd`, `_ci95_low`, `_ci95_high`; what so few values cannot tell is left out. The
    means are `final/...` too, so that a table sorted by it has them in their place.
    """
    names = {name for run in runs for name in run if name.startswith("final/") and name != "final/step"}
    found: dict[str, float] = {}
    for name in sorted(names):
        metric = name.removeprefix("final/")
        values = [run[name] for run in runs if name in run]
        found[name] = estimate.mean_interval(values).mean
        found |= {f"agg/{metric}_{part}": value for part, value in told(values).items()}
    return found


def told(values: Sequence[float]) -> dict[str, float]:
    """Mean, sd and 95 % interval of one value a seed, as far as there are any."""
    got = estimate.mean_interval(values)
    parts = {"mean": got.mean, "sd": got.sd, "ci95_low": got.low, "ci95_high": got.high}
    return {part: value for part, value in parts.items() if math.isfinite(value)}


def counts(outcome: Outcome) -> dict[str, str]:
    """How many trials ended how, as texts."""
    return {f"trials.{state}": str(count) for state, count in standing.tally(outcome.trials).items()}


def winners(outcome: Outcome) -> dict[str, float]:
    """`winner/<arm>/<metric>_mean` and so on, of the first aim, for the run of the sweep itself."""
    metric = outcome.spec.aims[0].metric
    return {
        f"winner/{arm}/{metric}_{part}": value
        for arm, setting in outcome.winners.items()
        for part, value in told(list(setting.scores.values())).items()
    }


def best(outcome: Outcome) -> Setting | None:
    """The winner of the arm whose winner has the best mean; None before there is one."""
    sign = outcome.spec.aims[0].sign
    ranked = [setting for setting in outcome.winners.values() if setting.scores]
    return max(ranked, key=lambda one: sign * mean(one), default=None)


def mean(setting: Setting) -> float:
    """Mean of the first aim over the re-runs of a setting."""
    return estimate.mean_interval(list(setting.scores.values())).mean


def best_seed(setting: Setting, aim: Aim) -> int:
    """The seed of a setting's re-runs that reads best."""
    return max(setting.scores, key=lambda seed: aim.sign * setting.scores[seed])
