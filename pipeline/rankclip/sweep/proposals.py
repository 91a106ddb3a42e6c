"""Which settings are tried next: the only door to Optuna."""

from __future__ import annotations

import itertools
import json
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rankclip.sweep.ledger import Trial
from rankclip.sweep.space import Choice, Distribution, LogUniform, RandInt, holds, size
from rankclip.sweep.spec import Grid, SweepSpec, Tpe

if TYPE_CHECKING:
    import optuna

Values = dict[str, Any]

ATTEMPTS = 100
"""Proposals that were tried before, after which a space is taken for exhausted."""

INSISTENT = 10
"""Proposals that were tried before, after which TPE, which may insist on what it knows, gives up."""

LISTED = 10_000
"""Settings of a space that is searched to its last one."""


def propose(
    spec: SweepSpec, history: Sequence[Trial], present: Mapping[str, Any] | None = None
) -> Values | None:
    """The settings of an arm's next trial, a function of the sweep and of the arm's trials so far.

    Args:
        spec: the sweep.
        history: all trials of the arm, those under way included.
        present: what the arm has now, `settings.present`: the first trial, but of a grid.

    Returns:
        Values by key of the space; a key whose condition does not hold is left out. None when nothing is left
        that was not tried.
    """
    if present is not None and not history and not isinstance(spec.search, Grid):
        return dict(present)
    tried = {signature(trial.values) for trial in history}
    return next((values for values in _candidates(spec, history) if signature(values) not in tried), None)


def signature(values: Mapping[str, Any]) -> str:
    """By which equal settings are known."""
    return json.dumps(values, sort_keys=True)


def _candidates(spec: SweepSpec, history: Sequence[Trial]) -> Iterator[Values]:
    if isinstance(spec.search, Grid):
        yield from combinations(spec, spec.search.points)
        return
    few = math.prod(size(its) for its in spec.space.values()) <= LISTED
    for attempt in range(INSISTENT if few else ATTEMPTS):
        yield asked(spec, history, attempt)
    if few:
        yield from combinations(spec, LISTED)


def combinations(spec: SweepSpec, points: int) -> list[Values]:
    """Every combination, in an order of chance, so that a part of it is spread over the whole.

    Args:
        spec: the sweep.
        points: of a range, its ends among them, unless it has fewer.
    """
    places = [[(key, value) for value in _points(its, points)] for key, its in spec.space.items()]
    whole = {}
    for combination in itertools.product(*places):
        values = _active(spec, dict(combination))
        whole[signature(values)] = values
    order = list(whole.values())
    random.Random(0).shuffle(order)
    return order


def _active(spec: SweepSpec, values: Values) -> Values:
    """Without the keys whose condition does not hold."""
    return {key: value for key, value in values.items() if holds(spec.space, key, values)}


def _points(its: Distribution, count: int) -> list[Any]:
    if isinstance(its, Choice):
        return list(its.values)
    if isinstance(its, RandInt):
        every = range(its.low, its.high + 1, its.step)
        chosen = np.linspace(0, len(every) - 1, min(count, len(every)))
        return [every[round(place)] for place in chosen]
    spaced = np.geomspace if its.name == "loguniform" else np.linspace
    return [float(point) for point in spaced(its.low, its.high, count)]


def asked(spec: SweepSpec, history: Sequence[Trial], attempt: int) -> Values:
    """What Optuna proposes after these trials."""
    trial = _study(spec, history, attempt).ask()
    values: Values = {}
    for key, its in spec.space.items():
        if not holds(spec.space, key, values):
            continue
        if isinstance(its, Choice):  # by its place, since Optuna's choices are no lists and no mappings
            values[key] = its.values[trial.suggest_categorical(key, range(len(its.values)))]
        elif isinstance(its, RandInt):
            values[key] = trial.suggest_int(key, its.low, its.high, step=its.step)
        else:
            values[key] = trial.suggest_float(key, its.low, its.high, log=isinstance(its, LogUniform))
    return values


def _study(spec: SweepSpec, history: Sequence[Trial], attempt: int) -> optuna.Study:
    """Optuna's study of these trials, whose chance is that of their number and of the attempt."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    assert not isinstance(spec.search, Grid)
    chance = np.random.SeedSequence((spec.search.seed, len(history), attempt))
    seed = int(chance.generate_state(1)[0])
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed)
    if isinstance(spec.search, Tpe) and attempt < INSISTENT:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=spec.search.startup,
                multivariate=True,
                group=True,
                constant_liar=True,
                seed=seed,
            )
    directions = ["maximize" if aim.mode == "max" else "minimize" for aim in spec.aims]
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.add_trials([known for trial in history if (known := _known(spec, trial)) is not None])
    return study


def _known(spec: SweepSpec, trial: Trial) -> optuna.trial.FrozenTrial | None:
    """A trial as Optuna knows it; None of one that failed."""
    import optuna

    states = {
        "finished": optuna.trial.TrialState.COMPLETE,
        "stopped": optuna.trial.TrialState.PRUNED,
        "proposed": optuna.trial.TrialState.RUNNING,
    }
    values = [trial.last(aim.metric) for aim in spec.aims]
    if trial.state == "failed" or (trial.state == "finished" and None in values):
        return None
    metric = spec.aims[0].metric
    reported = {int(each["step"]): each[metric] for each in trial.reports if metric in each}
    return optuna.trial.create_trial(
        state=states[trial.state],
        params={key: _place(spec.space[key], value) for key, value in trial.values.items()},
        distributions={key: _distribution(spec.space[key]) for key in trial.values},
        values=values if trial.state == "finished" else None,
        intermediate_values=reported if len(spec.aims) == 1 else None,
    )


def _place(its: Distribution, value: Any) -> Any:
    return its.values.index(value) if isinstance(its, Choice) else value


def _distribution(its: Distribution) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(its, Choice):
        return CategoricalDistribution(range(len(its.values)))
    if isinstance(its, RandInt):
        return IntDistribution(its.low, its.high, step=its.step)
    return FloatDistribution(its.low, its.high, log=isinstance(its, LogUniform))
