"""What `rankclip ui` starts, or where it sends a person; what `rankclip repro` heals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from rankclip import config, files, lifecycle, reproduce
from rankclip.errors import InputError


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines that were started; none really is."""
    commands: list[list[str]] = []

    def start(command: list[str], start_new_session: bool) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(wait=lambda: 3, pid=4)

    monkeypatch.setattr(reproduce, "subprocess", SimpleNamespace(Popen=start))
    monkeypatch.setattr(reproduce.os, "killpg", lambda pid, number: None)
    monkeypatch.setattr(lifecycle, "quiet", lambda: None)
    monkeypatch.setattr(config, "load", lambda path: None)
    return commands


def test_pages_are_not_shown_of_a_folder_that_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml is missing"):
        reproduce.ui(tmp_path, 5000)
    assert not list(tmp_path.iterdir())


CHILD = """
import signal, sys, time
from pathlib import Path

def save(*unused):
    Path(sys.argv[1], "saved").touch()
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
Path(sys.argv[1], "begun").touch()
time.sleep(60)
"""


def test_a_study_that_is_told_to_end_lets_its_runs_save(tmp_path: Path) -> None:
    def tell() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=tell).start()
    command = [sys.executable, "-S", "-c", CHILD, str(tmp_path)]
    assert reproduce.patiently(command, tmp_path, dict(os.environ)) == 143
    assert (tmp_path / "saved").exists()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A study's data of which everything is there."""
    shards, benchmarks = tmp_path / "shards", tmp_path / "benchmarks"
    files.write_text(shards / "00000.tar", "tar")
    files.write_text(shards / "index.parquet", "index")
    listed = {"00000.tar": {"bytes": 3}}
    digest = files.sha256(shards / "index.parquet")
    files.write_json(shards / "manifest.json", {"shards": listed, "index_sha256": digest})
    for split in ("val", "test"):
        files.write_text(benchmarks / "wds_shape" / split / "0.tar", "tar")
    files.write_json(benchmarks / "manifest.json", {"benchmarks": {"shape": {}}})
    return tmp_path


def test_lists_of_what_is_there_are_kept(made: Path) -> None:
    reproduce.forget_incomplete(made)
    assert (made / "shards" / "manifest.json").exists()
    assert (made / "benchmarks" / "manifest.json").exists()


def test_tars_are_there_whatever_their_names_end_in(made: Path) -> None:
    (made / "shards" / "00000.tar").rename(made / "shards" / "00000.TAR")
    listed = files.read_json(made / "shards" / "manifest.json")
    files.write_json(made / "shards" / "manifest.json", listed | {"shards": {"00000.TAR": {"bytes": 3}}})
    reproduce.forget_incomplete(made)
    assert (made / "shards" / "manifest.json").exists()


@pytest.mark.parametrize(
    "part", ["shards/00000.tar", "shards/index.parquet", "benchmarks/wds_shape/val/0.tar"]
)
@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_text("")])
def test_the_list_of_what_lost_a_part_is_forgotten_so_that_it_is_made_again(
    made: Path, part: str, harm: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    harm(made / part)
    reproduce.forget_incomplete(made)
    folder = part.split("/")[0]
    lost = not (made / folder / "manifest.json").exists()
    # of a benchmark only the presence is looked at here; its digest is compared when it is read
    assert lost == (folder == "shards" or not (made / part).exists())
    assert ("has lost a part" in capsys.readouterr().err) == lost


@pytest.mark.parametrize("address", ["http://mlflow:5000", "https://mlflow.example.org/team"])
def test_the_pages_of_a_server_are_the_servers(
    address: str,
    started: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert reproduce.ui(tmp_path, 5000) == 0
    assert capsys.readouterr().out.split()[0] == address
    assert started == []


@pytest.mark.parametrize("address", ["", "postgresql://db/mlflow"])
def test_the_pages_of_a_database_are_served_here(
    address: str, started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert reproduce.ui(tmp_path, 5001) == 3
    [command] = started
    store = command[command.index("--backend-store-uri") + 1]
    assert store == (address or f"sqlite:///{tmp_path}/mlflow.db")
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "5001"]
