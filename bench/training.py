"""Our trainer beside open_clip's own, and what ranking, Ray, MLflow and a second worker cost.

Run it with `make bench-training`, on a machine that does nothing else; it takes about half an hour on two
cores, and writes `results/training.json` beside this file. On a GPU it measures full-size models instead (see
`accelerated`), and needs neither Ray nor MLflow. `--help` tells how to measure less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench import timing, trainers
from bench.machine import machine
from bench.trainers import Job

RESULTS = Path(__file__).parent / "results" / "training.json"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    samples: int
    steps: int
    """Of a run."""
    warm: int
    """Steps at a run's start that are not counted."""
    rounds: int
    batch_size: int = 128


WHOLE = Plan(samples=4096, steps=40, warm=8, rounds=4)
QUICK = Plan(samples=64, steps=4, warm=1, rounds=1, batch_size=8)


def peers(data: str, plan: Plan) -> dict[str, dict[str, Job]]:
    """open_clip's trainer and ours, alike but for who trains; ranking beside plain CLIP."""
    from bench import captioned

    both: dict[str, dict[str, Job]] = {}
    for title, words, threads in (
        ("two threads", captioned.CC, 2),
        ("one thread", captioned.CC, 1),
        ("two threads, captions that fill the text tower", captioned.LONG, 2),
    ):
        folder = captioned.write(Path(data, "-".join(map(str, words))), plan.samples, words)
        job = Job(str(folder), batch_size=plan.batch_size, steps=plan.steps, threads=threads)
        both[title] = {"open_clip": replace(job, trainer="open_clip"), "ours": job}
        if words == captioned.CC:
            both[title]["ours, rankclip"] = replace(job, arm="rankclip")
    return both


def launched(data: str, plan: Plan) -> dict[str, Job]:
    """One run, started in every way; all decode for themselves, so that one core is left to the driver."""
    from bench import captioned

    folder = captioned.write(Path(data, "cc"), plan.samples, captioned.CC)
    steps = 2 * plan.steps
    job = Job(
        str(folder), batch_size=plan.batch_size, steps=steps, threads=1, loaders=0, log_every=10,
    )  # fmt: skip
    return {
        "alone": job,
        "ray": replace(job, start="ray"),
        "ray, tracked": replace(job, start="tracked"),
        "two workers": replace(job, start="group"),
        "alone, two threads": replace(job, threads=2),
    }


def measured(jobs: Mapping[str, Job], plan: Plan) -> dict[str, Any]:
    """Samples/s of each job by round, each in a process of its own, all in turn.

    Beside them samples for a second of CPU time of the process that trains, and its most memory.
    """
    rates, cpu = ({name: [] for name in jobs} for _ in range(2))
    memory: dict[str, float] = {}
    for turn in range(plan.rounds):
        for name, job in jobs.items():
            found = trainers.in_process(job)
            for clock, kept in ((found.stamps, rates), (found.cpu, cpu)):
                kept[name].append(trainers.pairs_per_s(clock, job.batch_size, plan.warm))
            memory[name] = max(memory.get(name, 0.0), found.peak_mib)
            print(f"round {turn + 1}: {name}: {rates[name][-1]:.1f} samples/s", flush=True)
    medians, by_cpu = (
        {name: round(statistics.median(each), 1) for name, each in kept.items()} for kept in (rates, cpu)
    )
    return {
        "jobs": {name: {k: v for k, v in asdict(job).items() if k != "data"} for name, job in jobs.items()},
        "samples_per_s": medians,
        "samples_per_cpu_s": by_cpu,
        "rounds": {name: [round(rate, 1) for rate in each] for name, each in rates.items()},
        "peak_mib": memory,
    }


def as_fast(found: Mapping[str, Any], one: str, other: str) -> dict[str, float]:
    """How many times as fast `one` is as `other`, round by round."""
    rounds = {name: [1 / rate for rate in rates] for name, rates in found["rounds"].items()}
    return asdict(timing.ratio(rounds, other, one))


def beside(plan: Plan) -> dict[str, Any]:
    """Our trainer and open_clip's."""
    with tempfile.TemporaryDirectory(prefix="bench-") as data:
        found = {title: measured(jobs, plan) for title, jobs in peers(data, plan).items()}
    for each in found.values():
        each["ours_to_open_clip"] = as_fast(each, "ours", "open_clip")
        if "ours, rankclip" in each["jobs"]:
            each["seconds_of_rankclip_to_clip"] = as_fast(each, "ours", "ours, rankclip")
    faster = found["two threads"]["ours_to_open_clip"]["of_medians"]
    targets = {"times as fast as open_clip's trainer": {"at_least": 1.3, "found": faster}}
    return {"machine": machine("cpu"), "targets": targets, **found}


def started(plan: Plan) -> dict[str, Any]:
    """One run alone, by Ray, followed by MLflow, and by two workers."""
    with tempfile.TemporaryDirectory(prefix="bench-") as data:
        found = measured(launched(data, plan), plan)
    ray, tracked = as_fast(found, "alone", "ray"), as_fast(found, "ray", "ray, tracked")
    targets = {
        "seconds of a step by Ray to those of one alone": {"at_most": 1.02, "found": ray["of_medians"]},
        "seconds of a tracked step to those of one that is not": {
            "at_most": 1.01,
            "found": tracked["of_medians"],
        },
    }
    ratios = {
        "seconds_by_ray_to_alone": ray,
        "seconds_tracked_to_untracked": tracked,
        "two_workers_to_one": as_fast(found, "two workers", "alone"),
        "two_threads_to_one": as_fast(found, "alone, two threads", "alone"),
    }
    return {"machine": machine("cpu"), "targets": targets, **found, **ratios}


def on_gpu(plan: Plan) -> dict[str, Any]:
    """Full-size models."""
    from bench import accelerated

    return accelerated.measure(accelerated.QUICK if plan is QUICK else accelerated.WHOLE, "cuda")


PARTS: Mapping[str, Callable[[Plan], dict[str, Any]]] = {
    "trainers": beside, "starts": started, "cuda": on_gpu,
}  # fmt: skip


def main() -> None:
    """Measures, prints, and writes unless asked to be quick."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--quick", action="store_true", help="a little of everything; writes nothing")
    options.add_argument("--only", choices=PARTS, help="one part; the others in the file stay as they are")
    given = options.parse_args()
    here = ["cuda"] if torch.cuda.is_available() else ["trainers", "starts"]
    for part in [given.only] if given.only else here:
        found = PARTS[part](QUICK if given.quick else WHOLE)
        print(json.dumps(found, indent=1))
        if not given.quick:
            known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps(known | {part: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
