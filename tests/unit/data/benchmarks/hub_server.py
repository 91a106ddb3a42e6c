"""A hub on loopback: data repositories out of folders, as far as a pull asks for them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

from huggingface_hub import constants

from tests.unit.data.loopback import running

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Hub:
    """What the hub has, how it fails, and what it was asked."""

    address: str
    folders: dict[str, Path]
    """Of each repository."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of each request for a file's bytes, in order."""
    listed: list[str | None] = field(default_factory=list)
    """Commit of each request for a list of files; None for the newest."""
    refuses: tuple[int, str] | None = None
    """Status and X-Error-Code of every answer."""
    dies: dict[str, int] = field(default_factory=dict)
    """How many more times a file's connection is cut in the middle."""
    replaced: dict[str, bytes] = field(default_factory=dict)
    """Bytes that are sent in place of a file's."""
    ignores_ranges: bool = False


def listing(folder: Path) -> dict[str, object]:
    """A repository's answer with `blobs=True`: tars and archives are stored apart, by sha256."""
    siblings: list[dict[str, object]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        blob = path.read_bytes()
        about: dict[str, object] = {"rfilename": path.relative_to(folder).as_posix(), "size": len(blob)}
        about["blobId"] = hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()
        if path.suffix in (".tar", ".gz"):
            about["lfs"] = {
                "sha256": hashlib.sha256(blob).hexdigest(),
                "size": len(blob),
                "pointerSize": 130,
            }
        siblings.append(about)
    return {"id": folder.name, "sha": COMMIT, "siblings": siblings}


@contextmanager
def hub(folders: dict[str, Path]) -> Iterator[Hub]:
    """Serves repositories, large files by way of another path, as the hub does of its store."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if state.refuses:
                status, code = state.refuses
                return self.reply(status, b"", {"X-Error-Code": code})
            if found := re.fullmatch(r"/api/datasets/([\w-]+/[\w-]+)(?:/revision/(\w+))?", path):
                state.listed.append(found[2])
                if found[1] not in state.folders:
                    return self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})
                return self.reply(200, json.dumps(listing(state.folders[found[1]])).encode())
            found = re.fullmatch(r"/(datasets|store)/([\w-]+/[\w-]+)/resolve/(\w+)/(.+)", path)
            if found is None:
                return self.reply(404, b"")
            file = state.folders[found[2]] / found[4]
            if found[1] == "datasets" and file.suffix in (".tar", ".gz"):
                return self.reply(302, b"", {"Location": path.replace("/datasets/", "/store/")})
            return self.send(file, found[4])

        def send(self, file: Path, name: str) -> None:
            asked = self.headers.get("Range")
            state.asked.append((name, asked))
            blob = state.replaced.get(name, file.read_bytes())
            if asked and not state.ignores_ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                headers = {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}"}
                return self.reply(206, blob[start:], headers, name)
            return self.reply(200, blob, {}, name)

        def reply(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, name: str = ""
        ) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if state.dies.get(name, 0):
                state.dies[name] -= 1
                body, self.close_connection = body[: len(body) // 2], True
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Hub(f"http://127.0.0.1:{server.server_port}", folders)
    serving = running(lambda: server.serve_forever(poll_interval=0.02), server.shutdown)
    # with it the client asks huggingface.co itself for news
    with serving, mock.patch.object(constants, "HF_HUB_DISABLE_TELEMETRY", True):
        yield state
    server.server_close()
