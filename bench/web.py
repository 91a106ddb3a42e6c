"""A loopback web server in a process of its own that hands out photographs and counts who asks for what."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import multiprocessing
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from rankclip import lifecycle

DIFFERENT = 64
"""Pictures that are drawn; image i is picture i % DIFFERENT with the number i after its end."""


def photograph(seed: int, width: int, height: int, quality: int = 90) -> bytes:
    """A JPEG that compresses like a photograph: smooth light with grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    grain = rng.normal(0.0, 9.0, (height, width, 1))
    image = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
    target = io.BytesIO()
    image.save(target, "JPEG", quality=quality)
    return target.getvalue()


@contextlib.contextmanager
def serving(width: int = 400, height: int = 300) -> Iterator[int]:
    """The port at which /I.jpg is image I while the block runs."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_main, args=(theirs, width, height), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def write_list(path: Path, port: int, rows: int) -> None:
    """A list in CC3M's form of that many different URLs of the server."""
    with path.open("w") as file:
        file.writelines(
            f"a photograph of thing number {row}\thttp://127.0.0.1:{port}/{row}.jpg\n" for row in range(rows)
        )


def asked(port: int) -> Counter[str]:
    """How often each path was asked for so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/asked", timeout=30) as answer:
        return Counter(json.loads(answer.read()))


def _main(channel: object, width: int, height: int) -> None:
    lifecycle.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(channel, width, height))


async def _serve(channel: object, width: int, height: int) -> None:
    pictures = [photograph(seed, width, height) for seed in range(DIFFERENT)]
    counts: Counter[str] = Counter()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                if path == "/asked":
                    body, kind = json.dumps(counts).encode(), "application/json"
                else:
                    counts[path] += 1
                    number = int(path.removeprefix("/").removesuffix(".jpg"))
                    body, kind = pictures[number % DIFFERENT] + str(number).encode(), "image/jpeg"
                line = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(line.encode() + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
    channel.send(server.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
    await server.serve_forever()
