"""The data engine against its peers: ingest, download, index, raw reading and full loading.

Run it with `make bench-data`, on a machine that does nothing else; it takes about half an hour and writes
`results/data.json` beside this file. `--quick` does a little of everything and writes nothing.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import crawling, hostile, indexing, ingesting, loading, timing
from bench.machine import machine
from rankclip.data.crawl.spec import DownloadSpec

RESULTS = Path(__file__).parent / "results" / "data.json"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    list_rows: int
    """Of the list that is ingested, and of the index that is written."""
    crawl_rows: int
    hostile_rows: int
    hostile_each: int
    """Rows of each kind of trouble."""
    indexed: int
    """Samples of the tars that are indexed."""
    growth: tuple[int, ...]
    """Numbers of tars that hold `indexed // 5` samples."""
    loaded: int
    """Samples of the shards that are read."""
    rounds: int


WHOLE = Plan(12_423_374, 10_000, 20_000, 5, 100_000, (10, 100, 1000), 2000, 3)
QUICK = Plan(20_000, 300, 500, 1, 2000, (2, 4), 128, 1)


def main(plan: Plan) -> dict[str, Any]:
    """Everything, in turn."""
    found: dict[str, Any] = {"machine": machine("cpu")}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        found["ingest"] = told("ingest", ingesting.measure(folder, plan.list_rows))
        found["download"] = told("download", download(plan))
        found["hostile"] = told("hostile", hostility(plan))
        rows = plan.list_rows // indexing.PER_TAR * indexing.PER_TAR
        whole = indexing.measure(folder / "index", plan.indexed, 10, plan.rounds, rows)
        found["index"] = told("index", whole)
        found["growth"] = told("growth", growth(folder, plan))
        found["loading"] = told("loading", loading.measure(folder / "shards", plan.loaded, plan.rounds))
    return found


def download(plan: Plan) -> dict[str, Any]:
    """Seconds of the stage and of the bare command, and what the stage's are of the command's."""
    times = crawling.compared(plan.crawl_rows, plan.rounds)
    ratio = timing.ratio(times, crawling.OURS, crawling.BARE)
    return {"rows": plan.crawl_rows, "median_s": medians(times), "ours_to_bare": vars(ratio)}


def hostility(plan: Plan) -> dict[str, Any]:
    """A crawl full of trouble against one without."""
    spec = DownloadSpec(stop_rows=0, resize="keep_ratio")
    return hostile.compared(spec, plan.hostile_rows, plan.hostile_each, min(plan.rounds, 2))


def growth(folder: Path, plan: Plan) -> list[dict[str, float]]:
    """Seconds of the index of as many samples in more and more tars."""
    rows = []
    for count in plan.growth:
        place = folder / f"growth-{count}"
        (place / "tars").mkdir(parents=True)
        indexing.write(place / "tars", plan.indexed // 5, count)
        took = statistics.median(indexing.in_process("once", place, 0)["s"] for _ in range(plan.rounds))
        rows.append({"samples": plan.indexed // 5, "tars": count, "s": round(took, 2)})
    return rows


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Of each command's seconds."""
    return {name: round(statistics.median(each), 2) for name, each in times.items()}


def told(title: str, found: Any) -> Any:
    """What was found, printed."""
    print(title, json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    quick = "--quick" in sys.argv[1:]
    result = main(QUICK if quick else WHOLE)
    if not quick:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
