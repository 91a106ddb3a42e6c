"""A real S3 server as a process of its own on loopback, and buckets on it for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = """
from rankclip import lifecycle
lifecycle.die_with_parent()
from moto.server import main
main(["-H", "127.0.0.1", "-p", "0"])
"""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret"}
STARTS_S = 120.0


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the server; it ends with the session, even if that is killed."""
    log = tmp_path_factory.mktemp("s3") / "server.log"
    with log.open("wb") as file:
        started = subprocess.Popen([sys.executable, "-c", SERVER], stdout=file, stderr=file)
    try:
        yield address(started, log)
    finally:
        started.kill()
        started.wait()


def address(started: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + STARTS_S
    while time.monotonic() < deadline and started.poll() is None:
        found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start: {log.read_text(errors='replace')}")


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://NAME of a new, empty bucket; this process and those it starts reach it by their environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {**CREDENTIALS, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in {**settings, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    with urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{name}", method="PUT")):
        return f"s3://{name}"
