"""Pictures of a sweep in MLflow's pages, as a browser shows them: the runs, the charts, one run.

    python -m bench.sweep_pictures ROOT EXPERIMENT OUT

ROOT is the folder with mlflow.db, EXPERIMENT as `rankclip/shapes-smoke/rank-weights`; OUT gets
sweep-runs.png, sweep-charts.png and sweep-run.png. Needs Chromium, by name or as CHROMIUM says.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from mlflow import MlflowClient

from rankclip import tracking

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
PATIENCE_S = 60
"""Seconds for a server to answer, and for a page to be drawn."""
STILL_S = 3
"""Seconds after which a page that looks as before is taken for drawn: what still loads turns."""
WIDTH = 1600
"""Of the browser's window, in pixels."""
MODE = "?workflowType=machine_learning"
"""Has MLflow show a run as one of training."""
WITHOUT_OFFERS = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
"""Has MLflow's assistant, which would take a third of the first page, wait until it is called."""


def main(root: Path, experiment: str, out: Path) -> None:
    """Takes the three pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with served(root) as address:
        pages = {
            "sweep-runs": (tracking.page(root, experiment, charts=False), 1000),
            "sweep-charts": (tracking.page(root, experiment), 1900),
            "sweep-run": (f"/#/experiments/{'/runs/'.join(best(root, experiment))}{MODE}", 1300),
        }
        asyncio.run(taken(address, pages, out))


def best(root: Path, experiment: str) -> tuple[str, str]:
    """The experiment's id, and that of the trial that its primary metric has first."""
    client = MlflowClient(tracking_uri=tracking.uri(root))
    found = client.get_experiment_by_name(experiment)
    greater = found.tags["mlflow.experiment.primaryMetric.greaterIsBetter"] == "True"
    order = f"metrics.`{found.tags['mlflow.experiment.primaryMetric.name']}` {'DESC' if greater else 'ASC'}"
    [run] = client.search_runs(
        [found.experiment_id], "tags.`rankclip.kind` = 'trial'", order_by=[order], max_results=1
    )
    return found.experiment_id, run.info.run_id


@contextmanager
def served(root: Path) -> Iterator[str]:
    """MLflow's pages on loopback while the block runs; gives their address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking.ready(root)),
        *("--default-artifact-root", str(tracking.artifacts(root)), "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    server = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/health")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def wait_for(address: str) -> None:
    """Returns when an address answers."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


async def taken(address: str, pages: Mapping[str, tuple[str, int]], out: Path) -> None:
    """Takes pictures of the pages below an address: of each its place there and its height."""
    with tempfile.TemporaryDirectory(prefix="rankclip-chromium-") as profile:
        browser = subprocess.Popen(
            [chromium(), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = await_port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    page = next(one for one in await answer.json() if one["type"] == "page")
                async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    await tab.ask("Page.enable")
                    await tab.ask("Page.addScriptToEvaluateOnNewDocument", source=WITHOUT_OFFERS)
                    for name, (place, height) in pages.items():
                        await tab.show(address + place, height)
                        (out / f"{name}.png").write_bytes(await tab.picture())
                        print(out / f"{name}.png")
        finally:
            browser.terminate()
            browser.wait()


class Tab:
    """A page of a browser, driven by the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._asked = socket, 0

    async def ask(self, method: str, **params: Any) -> Any:
        """What the browser answers to a command."""
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": params})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._asked:
                return answer["result"]

    async def show(self, address: str, height: int) -> None:
        """Opens an address in a window of this height."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=WIDTH,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        await self.ask("Page.navigate", url="about:blank")  # else only the part after # would change
        await self.ask("Page.navigate", url=address)
        await asyncio.sleep(STILL_S)

    async def picture(self) -> bytes:
        """What it shows once that stands still, as PNG."""
        until = time.monotonic() + PATIENCE_S
        before, now = "", await self.seen()
        while now != before and time.monotonic() < until:
            await asyncio.sleep(STILL_S)
            before, now = now, await self.seen()
        return base64.b64decode(now)

    async def seen(self) -> str:
        """What it shows now, as PNG in base64."""
        return str((await self.ask("Page.captureScreenshot", format="png"))["data"])


def await_port(file: Path) -> int:
    """The port on which a browser listens, once it has written it down."""
    until = time.monotonic() + PATIENCE_S
    while not (file.exists() and file.read_text().strip()):
        if time.monotonic() > until:
            sys.exit("chromium does not start")
        time.sleep(0.2)
    return int(file.read_text().split()[0])


def chromium() -> str:
    """The browser's program."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    return found or sys.exit("no chromium here; install it, or name it in CHROMIUM")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2], Path(sys.argv[3]))
