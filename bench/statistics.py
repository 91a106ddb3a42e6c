"""Do the intervals keep what they say? Simulated studies, thousands of each kind.

A study has arms and seeds; a score is its arm's mean, what its seed shares with all arms, and a residual.
Where nothing differs, so many studies may claim a difference as the level says; where arms differ by the
smallest difference that `power` gives, so many must find it. Run it with `python -m bench.statistics`; it
takes a minute of one core, gives the same figures on any machine and writes `results/statistics.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankclip.evaluation.statistics.additive import Difference, fit
from rankclip.evaluation.statistics.bootstrap import bootstrap_interval
from rankclip.evaluation.statistics.correction import adjusted
from rankclip.evaluation.statistics.estimate import mean_interval
from rankclip.evaluation.statistics.power import smallest_difference

RESULTS = Path(__file__).parent / "results" / "statistics.json"
LEVEL, POWER, SD = 0.95, 0.8, 0.01
ARMS, SEEDS, CORRELATIONS = (2, 3, 8), (2, 3, 5), (0.0, 0.5, 0.9)

Scores = NDArray[np.float64]
"""`[studies, arms, seeds]`."""


def scores(generator: np.random.Generator, studies: int, arms: int, seeds: int, correlation: float) -> Scores:
    """Of arms that do not differ."""
    shared = generator.normal(0, SD * math.sqrt(correlation), (studies, 1, seeds))
    own: Scores = generator.normal(0, SD * math.sqrt(1 - correlation), (studies, arms, seeds))
    return 0.5 + shared + own


def compare(table: Scores) -> Difference:
    """The second arm of `[arms, seeds]` minus the first."""
    return fit({str(arm): dict(enumerate(row)) for arm, row in enumerate(table)}).difference("1", "0", LEVEL)


def rate(claims: Iterator[bool]) -> dict[str, float]:
    """The share of studies that claim something, with its own standard error."""
    found = np.fromiter(claims, dtype=float)
    share = float(found.mean())
    return {"rate": round(share, 4), "error": round(math.sqrt(share * (1 - share) / len(found)), 4)}


def seeds_rates(generator: np.random.Generator, studies: int) -> Iterator[dict[str, Any]]:
    """Claims of no difference and of the smallest difference, by design."""
    for arms, seeds, correlation in itertools.product(ARMS, SEEDS, CORRELATIONS):
        null = scores(generator, studies, arms, seeds, correlation)
        sd = SD * math.sqrt(2 * (1 - correlation))
        gain = smallest_difference(seeds, sd, POWER, LEVEL, arms)
        true = scores(generator, studies, arms, seeds, correlation)
        true[:, 1] += gain
        yield {
            "arms": arms,
            "seeds": seeds,
            "seed_correlation": correlation,
            "no_difference": rate(compare(each).excludes_zero for each in null),
            "detectable_points": round(100 * gain, 3),
            "detectable": rate(compare(each).excludes_zero for each in true),
            "paired_alone": rate(
                mean_interval((each[1] - each[0]).tolist(), LEVEL).excludes_zero for each in true
            ),
        }


RULES: dict[str, Callable[[Difference], float]] = {
    "pooled": lambda found: found.p,
    "alone": lambda found: found.p_alone,
    "larger_of_both": lambda found: max(found.p, found.p_alone),
    "alone_where_unlike": lambda found: found.p_alone if found.unlike else found.p,
}
"""p-values that a claim could rest on; the report's is the first."""


def unequal(generator: np.random.Generator, studies: int) -> Iterator[dict[str, Any]]:
    """Claims where the compared arm varies otherwise than the rest, which the model does not know of.

    `no_difference` and `detectable` are shares of studies that claim one, by rule, where there is none and
    where it is that of equal arms; `warned` is the share in which the report says that the arms are unlike.
    """
    for arms, factor in itertools.product((3, 8), (1, 1.5, 2, 3)):
        null = scores(generator, studies, arms, 3, 0.0)
        null[:, 1] = 0.5 + factor * (null[:, 1] - 0.5)
        true = null.copy()
        true[:, 1] += smallest_difference(3, SD * math.sqrt(2), POWER, LEVEL, arms)
        none, some = ([compare(each) for each in studied] for studied in (null, true))
        yield {
            "arms": arms,
            "seeds": 3,
            "times_the_spread": factor,
            "no_difference": {name: rate(p(each) < 1 - LEVEL for each in none) for name, p in RULES.items()},
            "detectable": {name: rate(p(each) < 1 - LEVEL for each in some) for name, p in RULES.items()},
            "warned": rate(each.unlike for each in none),
        }


def families(generator: np.random.Generator, studies: int) -> Iterator[dict[str, Any]]:
    """Studies that claim any of many differences that do not exist, on benchmarks that are correlated."""
    for benchmarks, likeness in itertools.product((8, 24), (0.0, 0.8)):
        arms, seeds = 3, 3
        common = generator.normal(0, math.sqrt(likeness), (studies, 1, arms, seeds))
        own = generator.normal(0, math.sqrt(1 - likeness), (studies, benchmarks, arms, seeds))
        p = [[compare(table).p for table in each] for each in common + own]
        yield {
            "benchmarks": benchmarks,
            "likeness": likeness,
            **{
                method: rate(min(adjusted(each, method)) < 1 - LEVEL for each in p)
                for method in ("none", "holm", "benjamini_hochberg")
            },
        }


def examples(generator: np.random.Generator, studies: int) -> Iterator[dict[str, Any]]:
    """How often intervals over test examples hold the truth."""
    kinds: dict[str, tuple[Callable[[int], NDArray[np.float64]], float]] = {
        "right at 0.3": (lambda n: (generator.random(n) < 0.3).astype(float), 0.3),
        "right at 0.95": (lambda n: (generator.random(n) < 0.95).astype(float), 0.95),
        "gains": (lambda n: generator.beta(0.5, 1.5, n), 0.25),
    }
    for (name, (draw, truth)), n in itertools.product(kinds.items(), (100, 1000)):
        found = (bootstrap_interval(draw(n), seed, LEVEL) for seed in range(studies))
        yield {"values": name, "examples": n, "covered": rate(e.low <= truth <= e.high for e in found)}
    for clustered in (False, True):
        groups = np.arange(1000) // 5
        drawn = (
            np.repeat(generator.normal(0, 1, 200), 5) + generator.normal(0, 1, 1000) for _ in range(studies)
        )
        found = (
            bootstrap_interval(each, seed, LEVEL, clusters=groups if clustered else None)
            for seed, each in enumerate(drawn)
        )
        kind = "five captions of an image, " + ("together" if clustered else "as if independent")
        yield {"values": kind, "examples": 1000, "covered": rate(e.low <= 0 <= e.high for e in found)}


def main() -> None:
    """Simulates, prints, and writes the results unless it is a quick look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies, nothing is written")
    quick = parser.parse_args().quick
    studies = 400 if quick else 4000
    generator = np.random.default_rng(0)
    found = {
        "level": LEVEL,
        "power": POWER,
        "studies": studies,
        "seeds": list(seeds_rates(generator, studies)),
        "unequal": list(unequal(generator, studies)),
        "families": list(families(generator, studies // 4)),
        "examples": list(examples(generator, studies // 4)),
    }
    print(json.dumps(found, indent=1))
    if not quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
