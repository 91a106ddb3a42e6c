"""One kind of trouble: a URL, what is said there, and what becomes of the row."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from rankclip.data.reasons import Reason
from tests.unit.data.crawl.hostile.network import Answer
from tests.unit.data.crawl.hostile.server import Script, Talk


def _jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 50).convert("RGB").save(file, "JPEG")
    return file.getvalue()


IMAGE = _jpeg()


def found(talk: Talk) -> None:
    """The image, as it should be."""
    talk.reply(200, IMAGE, Content_Type="image/jpeg")


@dataclass(frozen=True)
class Kind:
    """A kind has a host of its own, at an address of its own, so that kinds do not disturb each other."""

    name: str
    reason: Reason
    script: Script = found
    url: str = "http://{host}/{name}/{n}.jpg"
    names: tuple[Answer, ...] = ()
    """What the resolver says of the host; empty: its address."""
    door: str = "plain"
    """The door behind ports 80 and 443 of its address; `silent` and `closed` have none."""

    @property
    def host(self) -> str:
        """Its host, where the URL names no other."""
        return f"{self.name}.example"

    def address(self, n: int) -> str:
        """The URL of the n-th row of this kind."""
        return self.url.format(host=self.host, name=self.name, n=n)


def answer(status: str | int, body: bytes = b"", **headers: str) -> Script:
    """A script that always gives the same well-formed answer."""
    return lambda talk: talk.reply(status, body, **headers)


def raw(*parts: bytes | str) -> Script:
    """A script that says `parts` and hangs up."""

    def script(talk: Talk) -> None:
        talk.over = True
        talk.say(*parts)

    return script


def after(first: Callable[[Talk], None], then: Script = found, times: int = 1) -> Script:
    """A script that does `first` for the host's first requests and `then` for the others."""
    return lambda talk: (first if talk.visits < times else then)(talk)
