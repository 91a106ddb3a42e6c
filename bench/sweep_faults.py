"""Searches whose trials are killed, whose driver is killed or told to end, and one of two workers a trial.

Run it with `make bench-faults`; `--trials 8` for a look, `--only NAME` for one campaign, which keeps the rows
of the others. It writes `results/sweep_faults.json` beside this file: what was killed how often, whether all
trials are accounted for, and whether what had ended was left alone. Trials are tiny; on two cores it takes
about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench.machine import commit
from rankclip import launch
from rankclip.launch import guard
from rankclip.models.spec import ModelSpec
from rankclip.sweep.ledger import Trial
from rankclip.sweep.tuning import Resources
from rankclip.training import checkpoint
from rankclip.training.run import WEIGHTS
from tests.e2e.project import wait_until
from tests.unit.sweep.searched import ALONE, ARM, ASHA, Searched, spec
from tests.unit.training import tiny

RESULTS = Path(__file__).parent / "results" / "sweep_faults.json"
STEPS = 80
TRIALS = 30
CRASHING = 0.25
"""Share of the trials whose process is killed."""
MOMENTS = 5
"""How often a driver is killed."""
ENDS_S = 20
"""Seconds in which a driver that was told to end has let its trials save."""


@dataclass(frozen=True)
class Row:
    """What became of one search."""

    campaign: str
    trials: int
    states: dict[str, int]
    faults: int
    """Kills and signals."""
    took_s: float
    ended_s: float
    """Of a driver that was told to end: the longest that it took; else 0."""
    again: int
    """Trials that had ended and were trained again."""
    good: bool
    """Whether all trials ended, none again, with no checkpoint left and all CPUs free."""


def main() -> None:
    """Runs the campaigns and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS, help="Of the campaign of crashes.")
    parser.add_argument("--only", choices=[*CAMPAIGNS], action="append", help="Which; by default all.")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.drive, int(os.environ["TRIALS"]))
        return
    rows = []
    for name in options.only or CAMPAIGNS:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            tiny.write(Path(folder))
            rows.append(CAMPAIGNS[name](Path(folder), options.trials))
            print(rows[-1], flush=True)
    write(rows, RESULTS)
    bad = [row for row in rows if not row.good]
    print(f"{len(rows)} campaigns, {len(bad)} of them went wrong: {RESULTS}")
    sys.exit(bool(bad))


def write(rows: Sequence[Row], path: Path) -> None:
    """Writes rows, each with what it was measured on; those of other campaigns stay as they are."""
    about = {
        "machine": {"cpus": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9)},
        "python": platform.python_version(),
        "commit": commit(),
        "steps": STEPS,
    }
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    found = {row["campaign"]: row for row in before}
    found |= {row.campaign: {**asdict(row), **about} for row in rows}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"rows": list(found.values())}, indent=1) + "\n")


def searched(folder: Path, trials: int, **changes: object) -> Searched:
    """A search over learning rates in an order of chance."""
    found = Searched(spec(ASHA, trials), folder / "data", folder, steps=STEPS, changes=dict(changes))
    if not found.ledger.path.exists():
        found.propose(random.Random(0).sample([0.0001 * k for k in range(1, trials + 1)], trials))
    return found


def crashes(folder: Path, trials: int) -> Row:
    """A quarter of the trials lose their process at a moment of chance, once or each time."""
    chance, began = random.Random(1), time.monotonic()
    doomed = set(chance.sample(range(trials), round(CRASHING * trials)))
    always = set(sorted(doomed)[::3])
    kills: Counter[int] = Counter()

    def kill(trial: Trial) -> None:
        if trial.ended or trial.number not in doomed or (kills[trial.number] and trial.number not in always):
            return
        if trial.number in always or trial.reports or chance.random() < 0.5:
            kills[trial.number] += 1
            for process in workers():
                process.kill()

    sweep = searched(folder, trials)
    with launch.session(dashboard=True):
        found = sweep.run(changed=kill)
        good = (
            clean(sweep, found, trials)
            and {each.number for each in found if each.state == "failed"} == always
        )
    took = round(time.monotonic() - began, 1)
    return Row("crashes", len(found), states(found), sum(kills.values()), took, 0.0, 0, good)


def killed_drivers(folder: Path, trials: int) -> Row:
    """kill -9 of the driver at moments of chance, each followed by another."""
    return drivers("killed drivers", folder, 8, [signal.SIGKILL] * MOMENTS)


def told_drivers(folder: Path, trials: int) -> Row:
    """Signals that ask the driver to end, each followed by another."""
    return drivers("told drivers", folder, 8, [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])


def together(folder: Path, trials: int) -> Row:
    """Trials of two workers, some of which are stopped."""
    began = time.monotonic()
    sweep = searched(folder, 4, model=ModelSpec(name="shapes-vit"))
    with launch.session(dashboard=True):
        import ray
        from ray.util.state import list_placement_groups

        found = sweep.run(Resources(workers=2, cpus=1, gpus=0, together=1))
        good = clean(sweep, found, 4)
        groups = list_placement_groups(address=ray.get_runtime_context().gcs_address)
        good &= all(group.state == "REMOVED" for group in groups)
    return Row("two workers", 4, states(found), 0, round(time.monotonic() - began, 1), 0.0, 0, good)


def drivers(name: str, folder: Path, trials: int, signals: list[signal.Signals]) -> Row:
    """Ends one driver after another by a signal, then lets one come to the end."""
    chance, began, ends, again, faults = random.Random(name), time.monotonic(), [0.0], 0, 0
    sweep = searched(folder, trials)
    seen: dict[int, int] = {}
    for number in [*signals, None]:
        before = size(folder)
        driver = started(folder, trials)
        if number is not None:
            while driver.poll() is None and size(folder) == before:
                time.sleep(0.05)
            time.sleep(chance.uniform(0.0, 3.0))
            if driver.poll() is None:
                faults += 1
                asked = time.monotonic()
                driver.send_signal(number)
                driver.wait()
                ends.append(round(time.monotonic() - asked, 1) if number != signal.SIGKILL else 0.0)
        driver.wait()
        wait_until(lambda: not alive(folder), 60, "what the driver started ends")
        written = ended(sweep)
        again += sum(seen[trial] != written.get(trial) for trial in seen)
        seen = written
    found = sweep.ledger.of(ARM)
    quiet = "Traceback" not in (folder / "driver.log").read_text()
    good = (
        quiet
        and driver.returncode == 0
        and not again
        and max(ends) < ENDS_S
        and clean(sweep, found, trials, ray=False)
    )
    took = round(time.monotonic() - began, 1)
    return Row(name, len(found), states(found), faults, took, max(ends), again, good)


def started(folder: Path, trials: int) -> subprocess.Popen[bytes]:
    """Starts a driver that searches in a folder."""
    command = (sys.executable, "-m", "bench.sweep_faults", "--drive", str(folder))
    with (folder / "driver.log").open("ab") as log:
        environment = os.environ | {"TRIALS": str(trials), "FAULTS": str(folder)}
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def drive(folder: Path, trials: int) -> None:
    """Searches until told to end."""
    with launch.stoppable(lambda: None) as told:
        searched(folder, trials).run(ALONE, done=lambda: "told to end" if told.is_set() else "")


def size(folder: Path) -> int:
    """Bytes that drivers have written down."""
    return (folder / "sweep" / "trials.jsonl").stat().st_size


def alive(folder: Path) -> list[psutil.Process]:
    """What lives of a driver and of its Ray."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FAULTS") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def workers() -> list[psutil.Process]:
    """The processes of trials."""
    every = guard.marked(os.environ[guard.MARK])
    return [process for process in every if "ImplicitFunc" in " ".join(process.cmdline())]


def ended(sweep: Searched) -> dict[int, int]:
    """When the weights of each finished trial were written."""
    return {
        trial.number: (sweep.folder_of(trial.number) / WEIGHTS).stat().st_mtime_ns
        for trial in sweep.ledger.of(ARM)
        if trial.state == "finished"
    }


def clean(sweep: Searched, found: list[Trial], trials: int, *, ray: bool = True) -> bool:
    """Whether all trials ended and nothing is held or left of them."""
    left = [each.number for each in found if checkpoint.steps(sweep.folder_of(each.number))]
    if ray:
        import ray as its

        wait_until(
            lambda: its.available_resources().get("CPU") == its.cluster_resources()["CPU"],
            60,
            "CPUs are free",
        )
    return len(found) == trials and all(each.ended for each in found) and not left


def states(found: list[Trial]) -> dict[str, int]:
    """How many trials are in each state."""
    return dict(Counter(each.state for each in found))


CAMPAIGNS = {
    "crashes": crashes,
    "killed-drivers": killed_drivers,
    "told-drivers": told_drivers,
    "two-workers": together,
}

if __name__ == "__main__":
    main()
