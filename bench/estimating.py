"""What `rankclip estimate` says of training shapes-smoke, and what training it takes.

Run it with `python -m bench.estimating` after `rankclip use shapes-smoke` and `dvc repro shard benchmarks` on
a machine that does nothing else; it takes about six minutes and writes `results/estimating.json` beside this.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import machine
from rankclip import composition, pretrain
from rankclip.config import Study
from rankclip.errors import InputError
from rankclip.estimate.disk import samples_of
from rankclip.estimate.need import Worker
from rankclip.estimate.study import Asked, Outlook, arms_of, outlook
from rankclip.tracking import Tracker
from rankclip.training.machine import Machine

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "estimating.json"
STUDY, SLOTS = "shapes-smoke", 2


def said(study: Study, root: Path) -> Outlook:
    """The estimate, rehearsed in `root`."""
    worker = Worker("cpu", 1, recompute=False)
    samples = samples_of(study, ROOT / "data" / STUDY)
    asked = Asked(slots=SLOTS)
    return outlook(study, arms_of(study, worker), worker, Machine(device="cpu"), asked, samples, root)


def train(study: Study, root: Path) -> None:
    """Trains every run of the study in `root`."""
    requests = pretrain.of_study(study, list(study.arms), data=ROOT / "data" / STUDY, work=root / "runs")
    pretrain.train(requests, Tracker(root, STUDY), SLOTS)


def measured(root: Path) -> float:
    """Seconds that a driver of its own takes, which asks DVC first, as `rankclip pretrain --pending` does."""
    since = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dvc", "--version"], check=True, capture_output=True, cwd=ROOT)
    subprocess.run([sys.executable, "-m", "bench.estimating", str(root)], check=True, cwd=ROOT)
    return time.perf_counter() - since


def main() -> None:
    """Estimates, trains, compares."""
    study = composition.compose(STUDY, [], ROOT / "conf")
    if not (ROOT / "data" / STUDY / "shards" / "manifest.json").exists():
        raise InputError(
            "there are no shards; `rankclip use shapes-smoke`, then `dvc repro shard benchmarks`"
        )
    with tempfile.TemporaryDirectory() as folder:
        since = time.perf_counter()
        found = said(study, Path(folder))
        estimating_s = time.perf_counter() - since
        took = measured(Path(folder))
    row = {
        "machine": machine("cpu"),
        "runs": len(found.runs),
        "slots": SLOTS,
        "estimated_s": round(found.whole_s, 1),
        "measured_s": round(took, 1),
        "ratio": round(found.whole_s / took, 3),
        "estimating_s": round(estimating_s, 1),
        "step_s": {name: round(each.step_s, 4) for name, each in found.times.items()},
        "run_s": {name: round(each.run_s, 1) for name, each in found.times.items()},
        "around_s": round(found.around_s, 1),
        "between_s": round(found.between_s, 1),
    }
    RESULTS.write_text(json.dumps(row, indent=1) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(composition.compose(STUDY, [], ROOT / "conf"), Path(sys.argv[1]))
    else:
        main()
