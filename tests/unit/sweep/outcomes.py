"""Sweeps as they come out, made by hand."""

from __future__ import annotations

import math
import random
from typing import Any

from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import AS_IT_IS, Outcome, Setting
from rankclip.sweep.spec import SweepSpec

CROSS, IN, END = (
    f"objective.terms.{key}"
    for key in ("rank_cross.weight.final", "rank_in.weight.final", "rank_in.weight.end")
)
LR = "train.lr"
TOP1 = "val/mean_top1"
RUNGS = [10, 30, 90]
SEEDS = (1001, 1002, 1003)


def sweep(aims: int = 1, trials: int = 24, **changes: Any) -> SweepSpec:
    """Two weights, a choice, and a rate that is searched under one of its values."""
    weight = {"name": "loguniform", "low": 0.01, "high": 1.0}
    space = {CROSS: weight, IN: weight, END: {"name": "choice", "values": [0.1, 0.6667]}}
    space[LR] = {"name": "loguniform", "low": 1e-4, "high": 1e-2, "when": {END: [0.1]}}
    both = [{"metric": TOP1, "mode": "max"}, {"metric": "elapsed_s", "mode": "min"}]
    values: dict[str, Any] = {
        "question": "Which weights help?",
        "arms": ["rankclip"],
        "space": space,
        "set": {},
        "aims": both[:aims],
        "search": {"name": "random", "seed": 0},
        "stopping": {"name": "asha", "rungs": 3, "reduction": 3} if aims == 1 else {"name": "none"},
        "trials": trials,
        "seed": 1000,
        "reruns": {"best": 3, "seeds": 3},
    }
    return SweepSpec.model_validate(values | changes)


def trials(arm: str = "rankclip", count: int = 24, chance: int = 0) -> list[Trial]:
    """Whose quality is that of the cross-modal weight, best near 0.06, and a little noise; none failed."""
    dice = random.Random(chance)
    made = []
    for number in range(count):
        values = {
            CROSS: 10 ** dice.uniform(-2, 0),
            IN: 10 ** dice.uniform(-2, 0),
            END: dice.choice([0.1, 0.6667]),
        }
        if values[END] == 0.1:
            values[LR] = 10 ** dice.uniform(-4, -2)
        quality = 0.5 - 0.08 * (math.log10(values[CROSS]) + 1.2) ** 2 + dice.gauss(0, 0.005)
        reached = RUNGS[: 3 if number % 3 == 0 else 1]
        reports = [
            {"step": step, TOP1: quality * step / 90, "elapsed_s": step * (1 + values[CROSS])}
            for step in reached
        ]
        state = "finished" if len(reached) == 3 else "stopped"
        made.append(Trial(arm, number, values, state, reports, "", 2.0 * len(reached)))  # type: ignore[arg-type]
    return made


def outcome(gain: float = 0.02, arms: tuple[str, ...] = ("rankclip",), **changes: Any) -> Outcome:
    """Every arm's trials, and its two best trained again: `gain` better than the arm as it is."""
    spec = sweep(arms=list(arms))
    every = [trial for arm in arms for trial in trials(arm)]
    settings, winners = [], {}
    for arm in arms:
        best = sorted((t for t in every if t.arm == arm), key=lambda one: -(one.reports[-1][TOP1]))[:2]
        as_it_is = Setting(arm, AS_IT_IS, {}, {seed: 0.45 + 0.01 * at for at, seed in enumerate(SEEDS)})
        again = [
            Setting(
                arm,
                trial.name.partition("/")[2],
                trial.values,
                {
                    seed: score + gain - 0.004 * place + 0.002 * (at - 1) ** (2 - place)
                    for at, (seed, score) in enumerate(as_it_is.scores.items())
                },
            )
            for place, trial in enumerate(best)
        ]
        settings += [as_it_is, *again]
        winners[arm] = max([as_it_is, *again], key=lambda one: sum(one.scores.values()))
    made: dict[str, Any] = {
        "name": "rank-weights",
        "study": "toys",
        "spec": spec,
        "steps": dict.fromkeys(arms, 90),
        "trials": every,
        "settings": settings,
        "winners": winners,
        "ended": "complete",
    }
    return Outcome(**made | changes)
