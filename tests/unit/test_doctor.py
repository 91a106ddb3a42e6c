"""What `rankclip doctor` says of a machine, found well or lacking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from rankclip import doctor, launch, tracking
from rankclip.errors import RunError


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what takes seconds: starting Ray and MLflow is tested where they are used."""
    monkeypatch.setattr(doctor, "_ray", lambda: "1 node")
    monkeypatch.setattr(doctor, "_imports", lambda package: "can be imported")
    monkeypatch.setattr(doctor, "_devices", lambda: "2 CPU cores")
    monkeypatch.setattr(tracking, "ping", lambda root: None)


@pytest.mark.usefixtures("quick")
def test_each_check_is_one_line_and_a_failed_one_brings_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(root: Path) -> None:
        raise ConnectionError("nobody\nat home")

    monkeypatch.setattr(doctor, "_command", lambda *command: "1.0")
    assert doctor.run(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:7] for line in lines] == ["ok     "] * 12
    monkeypatch.setattr(tracking, "ping", unreachable)
    assert doctor.run(tmp_path) == 1
    text = capsys.readouterr().out
    assert "FAILED mlflow: nobody at home\n         start that server, or unset MLFLOW_TRACKING_URI\n" in text
    assert text.count("FAILED") == 1


def failed(root: Path) -> dict[str, str]:
    return {check.name: check.detail for check in doctor.checks(root) if not check.ok}


@pytest.mark.usefixtures("quick")
def test_a_machine_that_lacks_something_is_told_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.lock").write_text("ray==1.0 ; python_version < '4'\nopen-clip-torch==0.1\n")
    monkeypatch.setattr(doctor, "DISK_GB", 1e9)
    monkeypatch.setattr(doctor, "MEMORY_GB", 1e9)
    found = failed(tmp_path)
    assert set(found) == {"packages", "git", "memory", "disk"}
    assert "ray 2." in found["packages"]
    assert "(locked: 1.0)" in found["packages"]
    assert "open_clip_torch" in found["packages"]
    assert "not a git repository" in found["git"]
    assert f"of {psutil.virtual_memory().total / 1e9:.1f} GB free" in found["memory"]


@pytest.mark.usefixtures("quick")
def test_a_folder_that_is_not_there_fails_the_checks_that_need_it(tmp_path: Path) -> None:
    assert {"git", "disk", "write access"} <= set(failed(tmp_path / "missing"))


def test_a_package_that_does_not_import_is_shown_with_its_error() -> None:
    with pytest.raises(doctor.LackingError, match="ModuleNotFoundError: No module named 'absent_package'"):
        doctor._imports("absent_package")
    assert doctor._imports("json") == "can be imported"


def test_ray_counts_only_when_its_state_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.util.state

    @contextlib.contextmanager
    def session(dashboard: bool) -> Iterator[None]:
        assert dashboard
        yield

    def answers(reply: Callable[[], list[object]]) -> None:
        monkeypatch.setattr(
            ray.util.state, "list_nodes", lambda address, timeout: asked.append(address) or reply()
        )

    def silent() -> list[object]:
        raise TimeoutError("the State API may be temporarily unavailable")

    asked: list[str] = []
    monkeypatch.setattr(launch, "session", session)
    # the real one would start a Ray of its own here, where the session is none
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:1"))
    answers(lambda: [object(), object()])
    assert doctor._ray() == "2 nodes, and its State API answers"
    assert asked == ["127.0.0.1:1"]  # and not whatever other Ray runs on the machine
    answers(silent)
    with pytest.raises(RunError, match=r"^Ray's State API does not answer: the State API may be"):
        doctor._ray()
