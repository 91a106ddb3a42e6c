"""A bucket that is not there, does not answer, or refuses, and processes that are killed or end."""

from __future__ import annotations

import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from rankclip import storage
from rankclip.errors import DataError, InputError, RunError
from rankclip.storage import Store
from tests.unit.data.crawl.hostile.certificates import certificate

Use = Callable[[Store, Path], object]
USES: list[Use] = [
    lambda store, path: store.size("a.tar"),
    lambda store, path: store.sizes(".tar"),
    lambda store, path: store.put(path / "source", "a.tar"),
    lambda store, path: store.fetch("a.tar", path / "target"),
    lambda store, path: store.read("a.tar", 0, 1),
    lambda store, path: store.open("a.tar"),
    lambda store, path: store.delete("a.tar"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(b"some bytes")
    return tmp_path


@pytest.mark.parametrize("use", USES)
def test_a_bucket_that_is_not_there_is_named(bucket: str, folder: Path, use: Use) -> None:
    with pytest.raises(RunError, match=r"there is no bucket 'nosuchbucket'; create it") as told:
        use(storage.store("s3://nosuchbucket/prefix"), folder)
    assert "\n" not in str(told.value)
    assert not (folder / "target").exists()


@pytest.mark.parametrize("use", [USES[1], USES[2]])
def test_a_place_that_does_not_answer_is_soon_given_up(
    bucket: str, folder: Path, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.socket()) as unused:  # bound, so that nobody else listens there
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(RunError, match=r"cannot be used \(NETWORK_CONNECTION.*check AWS_ENDPOINT_URL"):
            use(storage.store(bucket), folder)
    assert time.monotonic() - started < 30


def test_a_place_that_stalls_is_given_up(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankclip.storage.clients.CONNECT_S", 0.25)
    monkeypatch.setattr("rankclip.storage.clients.ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never says a word
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(RunError, match=r"cannot be used \(NETWORK_CONNECTION.*check AWS_ENDPOINT_URL"):
            storage.store(bucket).size("a.tar")


def test_wrong_credentials_are_named(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reset = f"{s3_server}/moto-api/reset-auth"
    ask(reset, b"0")  # from now on the server checks who asks
    try:
        with pytest.raises(RunError, match=r"cannot be used \(.*AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
            storage.store(bucket).sizes(".tar")
    finally:
        ask(reset, b"inf")
    assert storage.store(bucket).sizes(".tar") == {}


def ask(url: str, body: bytes) -> None:
    headers = {"Content-Type": "text/plain"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="POST")):
        pass


@contextmanager
def answering(answers: list[int], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that gives these statuses, one after the other, for a file of seven bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(answers.pop(0))
            self.send_header("Content-Length", "7")
            self.end_headers()

        def log_message(self, *unused: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_service_that_is_busy_for_a_while_is_asked_again(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [503, 500, 200]
    with answering(answers) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert storage.store(bucket).size("a.tar") == 7
    assert not answers


def test_a_service_with_a_certificate_of_its_own_is_trusted_when_named(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, pem = certificate(tmp_path, "localhost")
    (tmp_path / "bundle.pem").write_text(pem)
    with answering([200], server) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"https://localhost:{port}/")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
        assert storage.store(bucket).size("a.tar") == 7


@pytest.mark.parametrize("url", ["localhost:9000", "ftp://host", "http://"])
def test_an_address_that_is_none_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(InputError, match=r"AWS_ENDPOINT_URL is '.*'; write it as http://HOST:PORT"):
        storage.store(bucket).sizes("")


@pytest.mark.parametrize(
    ("source", "error"), [("/proc/self/mem", DataError), ("/proc/self/status", RunError)]
)
def test_a_file_that_is_not_read_to_its_end_is_not_stored(
    bucket: str, source: str, error: type[Exception]
) -> None:
    """The first fails while it is read, the second is longer than it says."""
    store = storage.store(bucket)
    with pytest.raises(error, match=r"run the command again"):
        store.put(Path(source), "a.tar")
    assert store.sizes("") == {}


@pytest.mark.parametrize("name", ["missing", ""])
def test_a_file_that_cannot_be_opened_leaves_the_earlier_one(bucket: str, folder: Path, name: str) -> None:
    store = storage.store(bucket)
    store.put(folder / "source", "a.tar")
    with pytest.raises(DataError, match=r"cannot be read \((No such file|Is a directory)"):
        store.put(folder / name, "a.tar")
    assert store.read("a.tar", 0, 99) == b"some bytes"


PUT = """
import sys
from pathlib import Path
from rankclip import storage
storage.store(sys.argv[1]).put(Path(sys.argv[2]), "a.tar")
"""


def test_an_upload_that_is_killed_leaves_no_name(bucket: str, folder: Path, s3_server: str) -> None:
    (folder / "source").write_bytes(os.urandom(40 << 20))
    with stalling_after(16 << 20, s3_server) as (url, stalled):
        environment = {**os.environ, "AWS_ENDPOINT_URL": url}
        command = [sys.executable, "-c", PUT, bucket, str(folder / "source")]
        with subprocess.Popen(command, env=environment) as started:
            assert stalled.wait(60)
            started.kill()
    assert storage.store(bucket).sizes("") == {}


@contextmanager
def stalling_after(size: int, server: str) -> Iterator[tuple[str, threading.Event]]:
    """The address of a way to the server on which only `size` bytes pass, and what tells of it."""
    stalled, passed = threading.Event(), 0
    host, port = server.removeprefix("http://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def forward(source: socket.socket, target: socket.socket, counted: bool) -> None:
            nonlocal passed
            with suppress(OSError):  # an end that was killed or closed
                while blob := source.recv(1 << 16):
                    passed += len(blob) * counted
                    if counted and passed > size:
                        stalled.set()
                        return
                    target.sendall(blob)

        def serve() -> None:
            while True:
                try:
                    client = listener.accept()[0]
                except OSError:
                    return
                far = socket.create_connection((host, int(port)))
                sockets.extend((client, far))  # held open, so that who waits for an answer goes on waiting
                for ends in ((client, far, True), (far, client, False)):
                    threading.Thread(target=forward, args=ends, daemon=True).start()

        sockets: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", stalled
        listener.shutdown(socket.SHUT_RDWR)
        for each in sockets:
            each.close()


PROCESSES = """
import multiprocessing, sys, threading
from concurrent.futures import ProcessPoolExecutor
from rankclip import storage

def listed(place):
    return storage.store(place).sizes("")

if __name__ == "__main__":
    place, method = sys.argv[1:]
    if method == "here":
        print(listed(place), storage.store(place).open("a.tar").read())
    else:
        with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
            print(*pool.map(listed, [place] * 3))
"""


@pytest.mark.parametrize("method", ["here", "spawn", "forkserver"])
def test_processes_that_used_a_bucket_end_quietly(bucket: str, folder: Path, method: str) -> None:
    storage.store(bucket).put(folder / "source", "a.tar")
    script = folder / "script.py"
    script.write_text(PROCESSES)
    command = [sys.executable, "-W", "error", str(script), bucket, method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "{'a.tar': 10}" in done.stdout
