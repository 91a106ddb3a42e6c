"""What the study's manifest says of its benchmarks: those that are there and those that are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rankclip import files
from rankclip.errors import DataError
from rankclip.report.scores import Scores

REMEDY = "run `dvc repro -f -s benchmarks`"


@dataclass(frozen=True)
class Sets:
    """`classes`: how many a classification benchmark has; `missing`: why a benchmark was not measured."""

    classes: Mapping[str, int]
    missing: Mapping[str, str]


def read_sets(benchmarks: Path) -> Sets:
    """The sets of `manifest.json` in the folder `benchmarks`.

    Raises:
        DataError: the manifest is missing, damaged or of another form.
    """
    path = benchmarks / "manifest.json"
    manifest = files.read_json(path, REMEDY)
    try:
        classes = {name: int(entry.get("classes", 0)) for name, entry in manifest["benchmarks"].items()}
        missing = {str(name): str(line) for name, line in manifest.get("missing", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} does not list the benchmarks ({type(error).__name__}: {files.one_line(error)}); {REMEDY}"
        ) from None
    return Sets({name: count for name, count in classes.items() if count}, missing)


def chance_levels(sets: Sets, scores: Scores) -> dict[tuple[str, str], float]:
    """What guessing scores: k / classes for top-k, 1 / classes for the mean over classes."""
    chance = {}
    for (benchmark, name), source in scores.sources.items():
        places = _places(source.metric)
        if places and benchmark in sets.classes:
            chance[benchmark, name] = places / sets.classes[benchmark]
    return chance


def _places(metric: str) -> int:
    """How many guesses a metric allows; 0 where guessing is not a matter of classes."""
    found = re.fullmatch(r"top(\d+)", metric)
    return int(found[1]) if found else int(metric == "mean_per_class")
