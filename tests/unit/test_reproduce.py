"""What `rankclip ui` starts, or where it sends a person."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from rankclip import lifecycle, reproduce


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines that were run; none really is."""
    commands: list[list[str]] = []

    def run(command: list[str], check: bool) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(reproduce.subprocess, "run", run)
    monkeypatch.setattr(lifecycle, "quiet", lambda: None)
    return commands


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
