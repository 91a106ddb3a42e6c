"""Many runs at once: pending runs on a few slots against the time that they would take at best.

`python -m bench.slots` prints JSON. At best a run costs on its slot what it costs alone on this machine, in a
process of its own with its start: runs / slots of those times. What is more is Ray's start, the driver, and
what runs side by side take from each other (`steps_s` tells that share).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import captioned
from bench.machine import machine
from rankclip import composition, pretrain
from rankclip.progress import last_report
from rankclip.tracking import Tracker
from rankclip.training.request import METRICS, TrainRequest

ROOT = Path(__file__).parents[1]
ALONE = (
    "import json, sys; from rankclip.training.run import train_run; train_run(json.load(open(sys.argv[1])))"
)
ARMS = ("clip", "rankclip")
SAMPLES = 2048


def asked(data: Path, work: Path, runs: int, steps: int) -> list[TrainRequest]:
    """Runs of a small study, both arms and as many seeds as are needed."""
    seeds = list(range(-(-runs // len(ARMS))))
    changes = (
        f"train.steps={steps}", f"train.warmup_steps={steps // 10}", f"train.validate_every={steps}",
        f"train.validation=[{captioned.BENCHMARK}]", f"study.seeds={seeds}",
    )  # fmt: skip
    study = composition.compose("shapes-smoke", changes, ROOT / "conf")
    return pretrain.of_study(study, ARMS, data, work)[:runs]


def alone(request: TrainRequest, folder: Path) -> float:
    """Seconds of one run in a process of its own, with nothing beside it."""
    path = folder / "request.json"
    path.write_text(json.dumps(request.dump()))
    since = time.monotonic()
    subprocess.run([sys.executable, "-c", ALONE, str(path)], cwd=ROOT, check=True)
    return time.monotonic() - since


def steps_s(requests: list[TrainRequest]) -> float:
    """Seconds of a run's steps, by its own account: the median."""
    reports = [last_report(request.folder / METRICS) for request in requests]
    return statistics.median(report["elapsed_s"] for report in reports if report)


def measure(folder: Path, runs: int, slots: int, steps: int) -> dict[str, Any]:
    """Times of runs alone, and of all at once."""
    data = captioned.write(folder / "data", SAMPLES, captioned.CC)
    single = asked(data, folder / "alone", len(ARMS), steps)
    times = {request.arm: alone(request, folder) for request in single}
    together = asked(data, folder / "together", runs, steps)
    since = time.monotonic()
    pretrain.train(together, Tracker(folder, "slots"), slots)
    took = time.monotonic() - since
    at_best = sum(times[request.arm] for request in together) / slots
    since = time.monotonic()
    pretrain.train(together, Tracker(folder, "slots"), slots)
    return {
        "runs": runs,
        "slots": slots,
        "steps": steps,
        "alone_s": {arm: round(seconds, 2) for arm, seconds in times.items()},
        "at_best_s": round(at_best, 2),
        "together_s": round(took, 2),
        "ratio": round(took / at_best, 3),
        "steps_s": {"alone": round(steps_s(single), 2), "together": round(steps_s(together), 2)},
        "again_s": round(time.monotonic() - since, 2),
        "machine": machine("cpu"),
    }


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, default=8)
    options.add_argument("--slots", type=int, default=2)
    options.add_argument("--steps", type=int, default=520)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), given.runs, given.slots, given.steps), indent=2))


if __name__ == "__main__":
    main()
