"""What can be said of the images without a container engine."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
INSTRUCTIONS = [
    line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith("#")
]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def stages() -> dict[str, list[list[str]]]:
    """Instructions of each build stage, by name."""
    found: dict[str, list[list[str]]] = {}
    for instruction, rest in INSTRUCTIONS:
        if instruction == "FROM":
            found[rest.split(" AS ")[1]] = []
        list(found.values())[-1].append([instruction, rest])
    return found


def the(name: str, instruction: str) -> list[str]:
    return [rest for found, rest in stages()[name] if found == instruction]


def test_both_targets_do_the_same_on_their_own_system() -> None:
    cpu, gpu = stages()["cpu"], stages()["gpu"]
    assert [cpu[0], gpu[0]] == [["FROM", "cpu-system AS cpu"], ["FROM", "gpu-system AS gpu"]]
    assert cpu[1:] == gpu[1:]


def test_everything_copied_exists_and_is_let_into_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for copied in the("cpu", "COPY"):
        for source in copied.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, source


def test_packages_come_from_the_lock_with_the_makefiles_uv() -> None:
    script = ROOT / "docker" / "install.sh"
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o111
    assert "-r requirements.lock" in script.read_text()
    [version] = set(re.findall(r"uv==\S+", script.read_text()))
    assert version in (ROOT / "Makefile").read_text()


def test_the_library_is_built_by_the_setuptools_of_the_lock() -> None:
    for path in (ROOT / "Makefile", ROOT / "docker" / "install.sh"):
        [install] = [line for line in path.read_text().splitlines() if "--editable" in line]
        assert "--no-build-isolation" in install, path
    # on every Python: without a marker
    assert re.search(r"^setuptools==[\d.]+$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_an_image_starts_rankclip_as_a_user_without_rights(name: str) -> None:
    assert the(name, "USER")[-1].partition(":")[0] not in ("root", "0")
    assert json.loads(the(name, "ENTRYPOINT")[-1]) == ["rankclip"]
    assert the(name, "HEALTHCHECK")


def test_base_images_have_a_version() -> None:
    for name, instructions in stages().items():
        image = instructions[0][1].split()[0]
        if image not in stages():
            assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", image), f"{name}: {image}"
    assert "latest" not in DOCKERFILE


def test_services_are_built_from_targets_and_run_without_rights() -> None:
    assert set(SERVICES) == {"mlflow", "ray", "driver"}
    for service in SERVICES.values():
        target = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", service["build"]["target"])
        assert target in stages()
        assert (ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        assert service["user"].startswith("${UID:-1000}")
        assert service["cap_drop"] == ["ALL"]
        assert "latest" not in service["image"]
    assert set(SERVICES["driver"]["depends_on"]) <= set(SERVICES)


def test_ports_are_published_on_loopback_alone() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port


def test_ray_asks_for_a_token_that_has_no_default() -> None:
    for name in ("ray", "driver"):
        environment = SERVICES[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
    address, tracker = (
        SERVICES["driver"]["environment"][name] for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    )
    assert address == "ray:6379"
    assert "--port=6379" in SERVICES["ray"]["command"]
    assert tracker == "http://mlflow:5000"
    assert "mlflow:5000" in next(x for x in SERVICES["mlflow"]["command"] if x.startswith("--allowed-hosts"))
