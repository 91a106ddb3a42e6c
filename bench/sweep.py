"""Does a sweep that stops early find what the full grid finds, for less training?

`rankclip sweep` searches the learning rate and the weight of RankCLIP's two terms on `shapes-smoke`, twice
in each repeat: every setting of a grid to its end, and proposals of TPE, stopped by ASHA. TPE searches the
ranges whose points the grid tries: such keys are searched so, and as choices they would have no order. The
arm begins at a learning rate that is bad for it, since the first trial of TPE, but of no grid, is the arm
as it is. Both searches of a repeat have one seed, so that they differ in their settings alone, and each a
folder, so that neither takes a run from the other.

Work is optimiser steps. Runs begin to learn after about 100 of them, in batches of 64 as of 128, which cost
twice as much: so of three rungs the second, at 135, tells settings apart and the first, at 45, little.

The seed's standard deviation is that of re-runs around the mean of their setting, pooled over all settings
that the searches of a repeat trained again. Each winner is the best of its search after re-runs, so that its
mean is a little too good, in both alike.

Run it with `make bench-sweep`; on two cores it takes about an hour. What has ended is not done again: after
an interruption the same command goes on. It writes `results/sweep.json`, unless it is a look, as with
`--repeats 1 --steps 27 --folder /tmp/look`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bench.machine import machine
from rankclip import composition, files
from rankclip.errors import RankclipError
from rankclip.sweep import plan as plans
from rankclip.sweep import standing
from rankclip.sweep.budget import Limits
from rankclip.sweep.ledger import Trial
from rankclip.sweep.plan import Plan
from rankclip.sweep.run import Driver
from rankclip.sweep.spec import SweepSpec

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "sweep.json"
STUDY, ARM = "shapes-smoke", "rankclip"
REPEATS, STEPS, BATCH = 3, 405, 64
POINTS, TRIALS = 6, 18
"""Of the grid, points of each range; of TPE, trials."""
BEGINS = 1e-4
"""Learning rate of the arm as it is."""
WITHIN, AT_MOST = 1.0, 0.3
"""Seed standard deviations that the sweep's winner may be worse, and its share of the grid's work."""
SPACE = {
    "train.lr": {"name": "loguniform", "low": 1e-4, "high": 1e-2},
    "objective.terms.rank_cross.weight.final": {
        "name": "loguniform",
        "low": 0.01,
        "high": 1.0,
        "also": ["objective.terms.rank_in.weight.final"],
    },
}


@dataclass(frozen=True)
class Searched:
    """What a search spent and found."""

    states: dict[str, int]
    """How many trials ended in which way."""
    steps: int
    """Trained in trials."""
    rerun_steps: int
    """Trained in re-runs."""
    winner: str
    """Name of a setting."""
    settings: dict[str, dict[str, float]]
    """Values of those that were trained again, by name."""
    scores: dict[str, dict[str, float]]
    """What they came to, by name and seed."""

    @property
    def mean(self) -> float:
        """Of the winner's re-runs."""
        return fmean(self.scores[self.winner].values())


@dataclass(frozen=True)
class Repeat:
    """A sweep beside the grid."""

    grid: float
    """Mean of the re-runs of the grid's best."""
    sweep: float
    """Mean of the re-runs of the sweep's winner."""
    difference: float
    """The sweep's minus the grid's."""
    seed_sd: float
    degrees: int
    """Of freedom, of `seed_sd`."""
    in_sds: float
    """The difference in seed standard deviations."""
    work: float
    """Steps of the sweep's trials as a share of the grid's."""
    work_with_reruns: float


def main() -> None:
    """Searches, prints the table, and writes the results unless it is a look."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=f"Has data/{STUDY}.")
    parser.add_argument("--folder", type=Path, default=ROOT / "work" / "bench-sweep", help="For the runs.")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--steps", type=int, default=STEPS, help="Of a whole trial.")
    options = parser.parse_args()
    data = options.root.absolute() / "data" / STUDY
    if not data.is_dir():
        sys.exit(
            f"{data} is missing; `rankclip use {STUDY}`, then `dvc repro shard benchmarks`, or give --root"
        )
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the runs are nobody's: each search's folder has a database
    pairs = []
    try:
        for number in range(options.repeats):
            pairs.append(
                {
                    name: searched(options.folder.absolute() / f"repeat-{number}" / name, data, spec)
                    for name, spec in specs(number, options.steps).items()
                }
            )
            print(table([compared(**pair) for pair in pairs]), flush=True)
    except RankclipError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    if (options.repeats, options.steps) != (REPEATS, STEPS):
        print("a look: nothing is written")
        return
    files.write_json(RESULTS, results(pairs))
    print(RESULTS)


def specs(repeat: int, steps: int) -> dict[str, SweepSpec]:
    """Both searches of a repeat, whose seeds no other repeat and no study has."""
    seed = 1000 * (repeat + 1)
    common = {
        "question": "Which learning rate and which weight of the ranking terms?",
        "arms": [ARM],
        "space": SPACE,
        "set": {"train.steps": steps, "train.warmup_steps": steps // 10, "train.batch_size": BATCH},
        "aims": [{"metric": "val/mean_top1", "mode": "max"}],
        "seed": seed,
        "reruns": {"best": 3, "seeds": 4},
    }
    kinds: dict[str, dict[str, Any]] = {
        "grid": {
            "search": {"name": "grid", "points": POINTS},
            "stopping": {"name": "none"},
            "trials": POINTS ** len(SPACE),
        },
        "sweep": {
            "search": {"name": "tpe", "startup": 6, "seed": seed},
            "stopping": {"name": "asha", "rungs": 3, "reduction": 3},
            "trials": TRIALS,
        },
    }
    return {name: SweepSpec.model_validate({**common, **its}) for name, its in kinds.items()}


def searched(root: Path, data: Path, spec: SweepSpec) -> Searched:
    """Runs a sweep in a folder of its own, or reads what it came to.

    Raises:
        Preempted: we were told to end.
        RunError: nothing could be compared.
    """
    link = root / "data" / STUDY
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(data)
    study = composition.compose(STUDY, [f"arms.{ARM}.overrides.train.lr={BEGINS}"], ROOT / composition.CONF)
    plan = Plan("bench", spec, study, root)
    ended = plan.folder / "searched.json"
    if not ended.exists():
        plans.check(plan)
        print(f"{root.parent.name}: {spec.search.name}, {spec.trials} trials", flush=True)
        driver = Driver(plan, Limits())
        driver.run()
        files.write_json(ended, asdict(came_to(driver)))
    return Searched(**files.read_json(ended))


def came_to(driver: Driver) -> Searched:
    """What a driver that has ended spent and found."""
    settings, plan = driver.settings[ARM], driver.plan
    trials = driver.ledger.of(ARM)
    return Searched(
        states=dict(Counter(trial.state for trial in trials)),
        steps=work(trials),
        rerun_steps=plan.steps(ARM) * sum(len(setting.scores) for setting in settings),
        winner=driver.winners[ARM].name,
        settings={setting.name: dict(setting.values) for setting in settings},
        scores={
            setting.name: {str(seed): score for seed, score in setting.scores.items()} for setting in settings
        },
    )


def work(trials: Iterable[Trial]) -> int:
    """Steps that trials took; one that is stopped trains no step after its rung."""
    return sum(standing.step(trial) for trial in trials)


def compared(grid: Searched, sweep: Searched) -> Repeat:
    """A sweep beside the grid of its repeat."""
    distinct = {
        json.dumps(each.settings[name], sort_keys=True): tuple(scores.values())
        for each in (grid, sweep)
        for name, scores in each.scores.items()
    }  # the arm as it is was trained again by both, with the same seeds
    sd, degrees = pooled_sd(distinct.values())
    difference = sweep.mean - grid.mean
    return Repeat(
        grid=grid.mean,
        sweep=sweep.mean,
        difference=difference,
        seed_sd=sd,
        degrees=degrees,
        in_sds=difference / sd if difference else 0.0,  # in a look all may be equal
        work=sweep.steps / grid.steps,
        work_with_reruns=(sweep.steps + sweep.rerun_steps) / (grid.steps + grid.rerun_steps),
    )


def pooled_sd(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation within groups, and its degrees of freedom."""
    groups = list(groups)
    squares = sum((value - fmean(group)) ** 2 for group in groups for value in group)
    degrees = sum(len(group) - 1 for group in groups)
    return math.sqrt(squares / degrees), degrees


def medians(repeats: Sequence[Repeat]) -> dict[str, float]:
    """Of what is told of each repeat."""
    return {name: median(asdict(each)[name] for each in repeats) for name in asdict(repeats[0])}


def verdict(of_repeats: Mapping[str, float]) -> dict[str, bool]:
    """Whether medians keep both bounds; a sweep that found more than the grid is within any."""
    return {"as_good": of_repeats["in_sds"] >= -WITHIN, "cheap": of_repeats["work"] <= AT_MOST}


def results(pairs: Sequence[Mapping[str, Searched]]) -> dict[str, Any]:
    """All results, as they are written."""
    repeats = [compared(**pair) for pair in pairs]
    middle = medians(repeats)
    return {
        "machine": machine("cpu"),
        "study": STUDY,
        "arm": {"name": ARM, "train.lr": BEGINS},
        "specs": {name: spec.dump() for name, spec in specs(0, STEPS).items()},
        "bounds": {"in_sds": -WITHIN, "work": AT_MOST},
        "repeats": [asdict(each) for each in repeats],
        "medians": middle,
        "holds": verdict(middle),
        "searches": [{name: asdict(each) for name, each in pair.items()} for pair in pairs],
    }


def table(repeats: Sequence[Repeat]) -> str:
    """A line for each repeat, their medians, and whether the bounds hold; scores in percent."""
    middle = medians(repeats)
    rows = [*((str(number), asdict(each)) for number, each in enumerate(repeats)), ("median", middle)]
    lines = ["repeat  grid's best  sweep's winner  difference  seed sd (df)  in sds   work  with re-runs"]
    for name, row in rows:
        grid, sweep, difference, sd = (100 * row[key] for key in ("grid", "sweep", "difference", "seed_sd"))
        lines.append(
            f"{name:6}  {grid:11.2f}  {sweep:14.2f}  {difference:+10.2f}  {sd:7.2f} ({row['degrees']:2.0f})"
            f"  {row['in_sds']:+6.2f}  {row['work']:5.2f}  {row['work_with_reruns']:12.2f}"
        )
    kept = verdict(middle)
    told = {True: "holds", False: "does not hold"}
    lines.append(
        f"at most {WITHIN:g} seed sd below the grid's best: {told[kept['as_good']]}; "
        f"at most {AT_MOST:g} of its work: {told[kept['cheap']]}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
