"""kill -9 of whoever trains, at random moments of a small run, each followed by the same command.

Run it with `make bench-faults`; `--kills 1` for a look. It writes `results/train_faults.json` beside this
file: what was killed when, how many steps were made twice, and whether the final weights are, bit for bit,
those of a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.machine import commit
from rankclip.training import checkpoint
from rankclip.training.request import METRICS
from rankclip.training.run import WEIGHTS
from tests.e2e import project
from tests.e2e.project import STUDY, VIT, Project, digests

RESULTS = Path(__file__).parent / "results" / "train_faults.json"
KILLS = 8
"""Of each mode."""
ATTEMPTS = 5
"""Commands after which a run that was killed once must have finished."""
STEPS = 100
CLOCK = {"RANKCLIP_CHECKPOINT_MINUTES": "0.01", "OMP_NUM_THREADS": "1"}
"""Saves also between the steps at which the recipe saves."""
REQUEST = """
import json
from pathlib import Path
from rankclip import config, pretrain
study = config.load()
data, work = Path("data", study.study.name), Path("faults")
asked = pretrain.requests("clip", study.arms["clip"], study.model, study.train, [0], data=data, work=work)
Path("request.json").write_text(json.dumps(asked[0].dump()))
print(asked[0].folder)
"""
WORKER = ("-m", "rankclip.training.worker", "request.json")
STAGE = ("-m", "stages.pretrain", "--arm", "clip", "--data", f"data/{STUDY}", "--work", "faults",
         "--out", "faults/clip")  # fmt: skip


def training(process: psutil.Process) -> bool:
    """Whether a process is Ray's for a run."""
    return process.cmdline()[:1] != [] and process.cmdline()[0].startswith("ray::train_run")


def raylet(process: psutil.Process) -> bool:
    """Whether a process is the one of Ray that starts the others of a node."""
    return process.name() == "raylet"


def below_torchrun(process: psutil.Process) -> bool:
    """Whether a process is a worker that torchrun started."""
    return "torch.distributed.run" not in process.cmdline() and WORKER[1] in process.cmdline()


@dataclass(frozen=True)
class Mode:
    """A way to train, and who can be killed."""

    command: tuple[str, ...]
    victims: dict[str, Callable[[psutil.Process], bool] | None]
    """None is the command itself."""


MODES = {
    "in-process": Mode((sys.executable, *WORKER), {"driver": None}),
    "torchrun": Mode(
        (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *WORKER),
        {"driver": None, "worker": below_torchrun},
    ),
    "ray": Mode((sys.executable, *STAGE), {"driver": None, "worker": training, "ray": raylet}),
}


@dataclass(frozen=True)
class Row:
    """What became of one kill."""

    mode: str
    victim: str
    undisturbed_s: float
    killed_after_s: float
    step: int
    """The last one in the curve when it was killed."""
    steps_again: int
    """Of these, those after the last checkpoint."""
    outlived_s: float
    """How long other processes lived on after the command had ended."""
    commands: int
    """How often the command was given in all; 1 where it went on by itself."""
    equal: bool
    """Whether the final weights are, bit for bit, those of the undisturbed run."""


def main() -> None:
    """Runs the campaign and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="Of each mode.")
    parser.add_argument("--mode", choices=[*MODES], action="append", help="Which; by default all.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        study = prepared(Path(folder))
        rows = [row for mode in options.mode or MODES for row in campaign(study, mode, options.kills)]
    found = {
        "machine": {"cpus": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9)},
        "python": platform.python_version(),
        "commit": commit(),
        "steps": STEPS,
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    bad = [row for row in rows if not row.equal]
    print(f"{len(rows)} kills, {len(bad)} of them left other weights: {RESULTS}")
    sys.exit(bool(bad))


def prepared(folder: Path) -> Project:
    """The data of a small study with one arm and one seed, which two workers can train too."""
    study = project.new(folder / "study")
    with study.params() as values:
        values["study"]["seeds"] = [0]
        values["train"] |= {"steps": STEPS, "checkpoint_every": 10, "validate_every": STEPS}
        values["arms"]["clip"]["overrides"] = VIT
    study.dvc("repro", "shard", "benchmarks")
    return study


def campaign(study: Project, mode: str, kills: int) -> list[Row]:
    """Kills a run at random moments, its victims in turn."""
    run = Path(study.run(sys.executable, "-c", REQUEST).split()[-1])
    forget(study)
    since = time.monotonic()
    study.run(*MODES[mode].command, **CLOCK)
    undisturbed_s = time.monotonic() - since
    wanted = digests(run, WEIGHTS)
    chance, victims = random.Random(mode), list(MODES[mode].victims)
    rows: list[Row] = []
    while len(rows) < kills:
        victim = victims[len(rows) % len(victims)]
        kill = killed(study, run, mode, victim, chance)
        if kill is None:
            continue  # it had ended before, or the victim was not there yet
        commands, equal = kill.commands, digests(run, WEIGHTS) == wanted
        times = [round(each, 2) for each in (undisturbed_s, kill.after_s)]
        again = max(0, kill.step - kill.saved)
        rows.append(Row(mode, victim, *times, kill.step, again, round(kill.outlived_s, 2), commands, equal))
        print(rows[-1], flush=True)
    return rows


class Kill(NamedTuple):
    """When somebody was killed, and what it took to finish."""

    after_s: float
    step: int
    """The last one in the curve."""
    saved: int
    """That of the last checkpoint."""
    outlived_s: float
    commands: int


def killed(study: Project, run: Path, mode: str, victim: str, chance: random.Random) -> Kill | None:
    """Kills once and gives the command until the run is finished; None where nobody could be killed."""
    forget(study)
    command, since = MODES[mode].command, time.monotonic()
    driver = study.start(*command, **CLOCK)
    target = chance.randint(1 - STEPS // 5, STEPS - 1)  # a fifth while it starts
    while driver.poll() is None and last_step(run) < max(0, target):
        time.sleep(0.02)
    time.sleep(chance.uniform(0.0, 0.2 if target > 0 else 5.0))
    candidates = found(study, mode, victim, driver)
    if not candidates:
        driver.wait()
        return None
    doomed = chance.choice(candidates)
    after_s, step, saved = time.monotonic() - since, last_step(run), max([0, *checkpoint.steps(run)])
    doomed.kill()
    finished = driver.wait() == 0
    outlived_s = project.wait_until(lambda: not study.processes(), 60, "the processes of the command end")
    commands = 1
    while not finished and commands < ATTEMPTS:
        commands += 1
        finished = study.start(*command, **CLOCK).wait() == 0
    return Kill(after_s, step, saved, outlived_s, commands)


def found(study: Project, mode: str, victim: str, driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Who may be killed, of those that live."""
    wanted = MODES[mode].victims[victim]
    if driver.poll() is not None:
        return []
    if wanted is None:
        return [psutil.Process(driver.pid)]
    living = []
    for process in study.processes():
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if wanted(process):
                living.append(process)
    return living


def last_step(run: Path) -> int:
    """The last step in the curve."""
    path = run / METRICS
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    steps = [json.loads(line)["step"] for line in lines if line.endswith(b"\n")]
    return int(max([0, *steps]))


def forget(study: Project) -> None:
    """Removes the runs."""
    shutil.rmtree(study.folder / "faults", ignore_errors=True)


if __name__ == "__main__":
    main()
