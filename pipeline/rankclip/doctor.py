"""`rankclip doctor`: one line for each thing a study needs from this machine, ok or the remedy."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
import typer

from rankclip import launch, lifecycle, tracking
from rankclip.files import one_line

PACKAGES = ("torch", "torchvision", "open_clip_torch", "ray", "mlflow", "dvc", "img2dataset", "pyarrow")
DISK_GB = 5.0
MEMORY_GB = 2.0
GB = 1e9


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    """What was found, one line."""
    remedy: str = ""
    """What to do when it is not ok."""


class LackingError(Exception):
    """A probe found something that will not do."""


def run(root: Path) -> int:
    """Prints a line for each check as it is made; 1 if any failed, else 0."""
    failed = 0
    for check in checks(root):
        failed += not check.ok
        remedy = "" if check.ok else f"\n{'':9}{check.remedy}"
        typer.echo(f"{'ok' if check.ok else 'FAILED':7}{check.name}: {check.detail}{remedy}")
    return int(failed > 0)


def checks(root: Path) -> Iterator[Check]:
    """Makes the checks one after the other; a check that raises has failed.

    Args:
        root: the repository's folder.
    """
    lifecycle.quiet()
    install = "run `make repro`, or `uv pip install -r requirements.lock` in the environment in use"
    probes: list[tuple[str, Callable[[], str], str]] = [
        ("python", _python, "install Python 3.11 or newer and delete .venv; `make repro` makes it anew"),
        ("packages", lambda: _packages(root / "requirements.lock"), install),
        (
            "git",
            lambda: _command("git", "-C", str(root), "rev-parse", "--short", "HEAD"),
            "work in a clone with at least one commit",
        ),
        ("dvc", lambda: _command(sys.executable, "-m", "dvc", "--version"), install),
        ("img2dataset", lambda: _imports("img2dataset"), install),
        ("open_clip", lambda: _imports("open_clip"), install),
        ("devices", _devices, "install torch as requirements.lock says; for a GPU, a driver that it knows"),
        ("memory", _memory, f"close other programs: {MEMORY_GB:g} GB must be free"),
        ("disk", lambda: _disk(root), f"free {DISK_GB:g} GB, or keep the repository on a larger disk"),
        ("write access", lambda: _writable(root), "use a folder that you own"),
        ("mlflow", lambda: _mlflow(root), "start that server, or unset MLFLOW_TRACKING_URI"),
        ("ray", _ray, "set RAY_ADDRESS and RAY_AUTH_TOKEN to a running cluster's, or unset RAY_ADDRESS"),
    ]
    for name, probe, remedy in probes:
        try:
            yield Check(name, True, probe())
        except Exception as error:  # whatever is broken, the other checks go on
            yield Check(name, False, one_line(error), remedy)


def _python() -> str:
    return f"{platform.python_version()} at {sys.executable}"


def _packages(lock: Path) -> str:
    pattern = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)")
    lines = lock.read_text().splitlines() if lock.exists() else []
    pins: dict[str, set[str]] = {}
    for match in filter(None, map(pattern.match, lines)):
        pins.setdefault(match[1].lower().replace("_", "-"), set()).add(match[2])
    found = {name: metadata.version(name) for name in PACKAGES}
    other = [
        f"{name} {version} (locked: {' or '.join(sorted(locked))})"
        for name, version in found.items()
        if (locked := pins.get(name.replace("_", "-"))) and version.partition("+")[0] not in locked
    ]
    if other:
        raise LackingError(f"other versions than requirements.lock: {', '.join(other)}")
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _command(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise LackingError(f"`{' '.join(command)}` says: {lines[-1]}")
    return done.stdout.strip()


def _imports(package: str) -> str:
    _command(sys.executable, "-c", f"import {package}")
    return "can be imported"


def _devices() -> str:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{cores} CPU cores, {', '.join(gpus) or 'no GPU'}"


def _memory() -> str:
    memory = psutil.virtual_memory()
    found = f"{memory.available / GB:.1f} of {memory.total / GB:.1f} GB free"
    if memory.available < MEMORY_GB * GB:
        raise LackingError(found)
    return found


def _disk(root: Path) -> str:
    usage = shutil.disk_usage(root)
    found = f"{usage.free / GB:.1f} of {usage.total / GB:.1f} GB free"
    if usage.free < DISK_GB * GB:
        raise LackingError(found)
    return found


def _writable(root: Path) -> str:
    for folder in (root, Path(tempfile.gettempdir())):
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    return str(root.resolve())


def _mlflow(root: Path) -> str:
    tracking.ping(root)
    return tracking.uri(root)


def _ray() -> str:
    with launch.session(dashboard=True):
        nodes = launch.count_nodes()
        return f"{nodes} node{'s' * (nodes != 1)}, and its State API answers"
