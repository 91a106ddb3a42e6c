"""The batch scripts without Slurm: they run with its variables, and stand-ins for commands."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "docker" / "slurm"
COMMANDS = {
    "rankclip": "[[ $1 == list ]] && printf '%-20s %s\\n' clip 0 rankclip 0 clip 1",
    "scontrol": "true",
    "srun": "true",
    "ray": "true",
    "openssl": "echo secret",
}
TRAINS = """
trap 'echo saved >> log; exit 143' TERM
touch begun
[[ ! -e finishes ]] || exit 0
while :; do sleep 0.02; done
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with the scripts, and commands that note how they are called."""
    shutil.copytree(SLURM, tmp_path / "docker" / "slurm")
    for name, body in COMMANDS.items():
        program(tmp_path, name, body)
    return tmp_path


def program(folder: Path, name: str, body: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/bash\necho "{name} $*" >> log\n{body}\n')
    path.chmod(0o755)


def start(folder: Path, script: str, **variables: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_CPUS_PER_TASK": "64",
    }
    return subprocess.Popen(
        ["bash", str(folder / "docker" / "slurm" / script)],
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


ARRAY = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}


def begun(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while not (folder / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


@pytest.mark.parametrize("path", sorted(SLURM.iterdir()), ids=lambda path: path.name)
def test_a_script_is_bash_and_its_job_can_go_on_where_it_was(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    if path.suffix == ".sbatch":
        asked = {line.split()[1] for line in path.read_text().splitlines() if line.startswith("#SBATCH ")}
        assert {"--requeue", "--open-mode=append", "--signal=B:USR1@120"} <= asked
        assert path.stat().st_mode & 0o111


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGTERM])
def test_a_job_of_the_array_that_is_to_stop_saves_and_is_queued_again(
    signum: signal.Signals, folder: Path
) -> None:
    program(folder, "python", TRAINS)
    job = start(folder, "array.sbatch", **ARRAY)
    begun(folder)
    job.send_signal(signum)
    said = job.communicate(timeout=20)[0]
    assert job.returncode == 143, said
    assert "rankclip, seed 0 on" in said
    assert log(folder)[1:] == [
        "python -m torch.distributed.run --standalone --nproc-per-node 8 --max-restarts 3 "
        "-m rankclip train --arm rankclip --seed 0 --no-track",
        "saved",
        "scontrol requeue 7_1",
    ]


def test_a_job_of_the_array_that_ends_by_itself_is_not_queued_again(folder: Path) -> None:
    program(folder, "python", TRAINS)
    (folder / "finishes").touch()
    job = start(folder, "array.sbatch", **ARRAY, MLFLOW_TRACKING_URI="http://mlflow:5000")
    job.communicate(timeout=20)
    assert job.returncode == 0
    assert [line.split()[0] for line in log(folder)] == ["rankclip", "python"]
    assert log(folder)[1].endswith(" --seed 0 --track")


def test_a_run_that_fails_ends_its_job_and_is_not_queued_again(folder: Path) -> None:
    program(folder, "python", "exit 1")
    job = start(folder, "array.sbatch", **ARRAY)
    job.communicate(timeout=20)
    assert job.returncode == 1
    assert not [line for line in log(folder) if line.startswith("scontrol requeue")]


def test_the_driver_of_a_cluster_is_told_to_stop_and_its_job_is_queued_again(folder: Path) -> None:
    program(folder, "rankclip", TRAINS)
    program(folder, "scontrol", "[[ $1 != show ]] || printf 'node1\\nnode2\\n'")
    job = start(folder, "ray.sbatch")
    begun(folder)
    job.send_signal(signal.SIGUSR1)
    said = job.communicate(timeout=20)[0]
    assert job.returncode == 143, said
    called = log(folder)
    assert called[-2:] == ["saved", "scontrol requeue 12"]
    assert "rankclip pretrain --pending" in called
    steps = [line for line in called if line.startswith("srun")]
    assert len(steps) == 2
    assert any(
        "--nodelist=node1 ray start --head --port 6379 --num-cpus 64 --num-gpus 8" in step for step in steps
    )
    assert any("--exclude=node1 ray start --address node1:6379" in step for step in steps)
