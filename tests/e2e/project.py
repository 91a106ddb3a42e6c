"""A copy of this repository in which a tiny study runs with every real part, and what can be seen of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY = "tiny"
SETTINGS = (
    f"study.name={STUDY}",
    "study.seeds=[0,1]",
    "source.images=300",
    "source.trouble.slow=0.0",
    "source.trouble.flaky=0.05",
    "source.bad_rows=0.02",
    "download.rows_per_shard=100",
    "shard.samples_per_shard=100",
    "train.steps=24",
    "train.batch_size=32",
    "train.warmup_steps=2",
    "train.log_every=2",
    "train.validation=[shape]",
    "train.validate_every=12",
    "train.checkpoint_every=4",
    "evaluation.benchmarks=[{name: shape, images: 48}, {name: retrieval, images: 12}]",
    "report.contact_images=12",
)
"""Makes the smoke study a matter of seconds. Flaky answers are retried: they slow a crawl of one thread."""
VIT = {"model.name": "shapes-vit", "train.lr": 3e-4}
FOREIGN = ("DVC_", "RAY_", "MLFLOW_", "RANKCLIP_", "GIT_", "PYTEST_", "OMP_", "PYTHON")


@dataclass(frozen=True)
class Project:
    """A folder with the repository's files and its own git history, cache, data and database."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of every command: the copy's code, and nothing that belongs to another project."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", "")))
        return kept | {"PATH": path, "PYTHONPATH": f"{self.folder / 'pipeline'}{os.pathsep}{self.folder}"}

    def run(self, *command: str, code: int = 0, **environment: str) -> str:
        """Runs a command to its end; what it said on both streams."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == code, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def dvc(self, *arguments: str, **environment: str) -> str:
        """DVC, as a user calls it."""
        return self.run("dvc", *arguments, **environment)

    def stage(self, name: str, *arguments: str, code: int = 0, **environment: str) -> str:
        """A stage without DVC."""
        return self.run(sys.executable, "-m", f"stages.{name}", *arguments, code=code, **environment)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a command and does not wait; what it says goes to a log beside the folder."""
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.environment | environment, stdout=log, stderr=log
            )

    def processes(self) -> list[psutil.Process]:
        """What lives and was started from here: all of it inherits the copy's PYTHONPATH."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = str(self.folder) in process.environ().get("PYTHONPATH", "")
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def running(self, word: str) -> list[psutil.Process]:
        """Those of `processes` with this word in their command line."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                if word in process.cmdline():
                    found.append(process)
        return found

    @property
    def data(self) -> Path:
        """The study's data."""
        return self.folder / "data" / STUDY

    @property
    def work(self) -> Path:
        """The study's work in progress."""
        return self.folder / "work" / STUDY

    def trained(self) -> dict[str, Path]:
        """Work folder of each finished run by `<arm>/<seed>`."""
        records = {path.parent: json.loads(path.read_text()) for path in self.work.glob("runs/*/record.json")}
        return {f"{record['arm']}/{record['seed']}": folder for folder, record in records.items()}

    @contextlib.contextmanager
    def params(self) -> Iterator[dict[str, Any]]:
        """params.yaml as values, written back at the end of the block."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        yield values
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def twin(self, folder: Path) -> Project:
        """Another project with everything that this one has: data, runs, cache."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    def clone(self, folder: Path) -> Project:
        """A fresh clone of this project: its code and study, none of its data."""
        self.run("git", "clone", "--quiet", str(self.folder), str(folder))
        return Project(folder)


def new(folder: Path) -> Project:
    """The repository as a fresh clone has it, with the tiny study active."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (source := REPOSITORY / name).is_file() and name != "dvc.lock":
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    project = Project(folder)
    project.run(sys.executable, "-m", "rankclip", "use", "shapes-smoke", *SETTINGS)
    with project.params() as values:
        del values["arms"]["rankclip_shuffled"]
        values["report"]["control"] = None
        values["arms"]["rankclip"]["overrides"] = VIT
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.invalid", "-c", "gc.auto=0")
    project.run(*git, "init", "--quiet")
    project.run(*git, "add", ".")
    project.run(*git, "commit", "--quiet", "--message", "A study")
    return project


def digests(folder: Path, *patterns: str) -> dict[str, str]:
    """sha256 of the files below `folder` by name."""
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    assert paths, f"{folder} has nothing like {patterns}"
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def identity(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of the files below `folder`: equal only if none was written again."""
    found = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        path.relative_to(folder).as_posix(): (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()
    }


def wait_until(claim: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Waits for a claim to become true; how long it took, seconds."""
    started = time.monotonic()
    while not claim():
        assert time.monotonic() - started < timeout_s, f"{what}: not within {timeout_s} s"
        time.sleep(0.005)
    return time.monotonic() - started


def kill(
    project: Project,
    driver: subprocess.Popen[bytes],
    within_s: float = 3.0,
    then: Callable[[], None] = lambda: None,
) -> float:
    """kill -9 of a driver: soon nothing that was started from the project lives, or writes there.

    Args:
        project: where it was started.
        driver: what is killed.
        within_s: how long the others may live on, seconds.
        then: called when it is dead.

    Returns:
        How long the last process outlived the driver, seconds.
    """
    started = {process.pid for process in project.processes()}
    driver.kill()
    driver.wait()
    then()

    took = wait_until(lambda: not project.processes(), within_s, "the processes of a killed command end")
    before = identity(project.folder)
    time.sleep(0.5)
    assert identity(project.folder) == before, "something still writes"
    # DVC takes a dead process that nobody has waited for yet for the holder of its lock
    wait_until(lambda: not started & set(psutil.pids()), 60, "the dead are buried")
    return took
