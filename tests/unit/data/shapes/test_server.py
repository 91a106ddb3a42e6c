"""The answers of the loopback server, and the server itself."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import psutil
import pytest
import urllib3
from PIL import Image, ImageOps

from rankclip.data import images
from rankclip.data.shapes import answers
from rankclip.data.shapes.answers import Target, answer, encode, original, target
from rankclip.data.shapes.server import Desk, serving_site
from rankclip.data.shapes.trouble import KINDS, PLAIN


class Site:
    """One image of every kind of trouble, and its plain neighbours."""

    kinds = (PLAIN, PLAIN, *KINDS)

    def image(self, index: int) -> Image.Image:
        ramp = np.arange(48 * 32 * 3).reshape(48, 32, 3) // 18 + index
        return Image.fromarray((ramp % 256).astype(np.uint8))

    def trouble(self, index: int) -> str:
        return self.kinds[index]


def reply(kind: str, hop: int = 0, attempt: int = 0, index: int = 0) -> answers.Answer:
    return answer(kind, Target(index, hop), lambda: Site().image(0), attempt=attempt, slow_s=9.0)


def decoded(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


def test_only_image_paths_are_targets() -> None:
    assert target("/images/0000012.jpg") == Target(12, 0)
    assert target("/images/12.jpg?hop=2") == Target(12, 2)
    for path in ("/", "/images/x.jpg", "/images/-1.jpg", "/images/1.jpg/..", "/images/" + "9" * 30 + ".jpg"):
        assert target(path) is None


@pytest.mark.parametrize(("kind", "status"), [("http_404", 404), ("http_403", 403), ("http_500", 500)])
def test_errors_stay_errors(kind: str, status: int) -> None:
    assert [reply(kind, attempt=attempt).status for attempt in range(3)] == [status] * 3


def test_a_flaky_url_fails_once() -> None:
    assert [reply("flaky", attempt=attempt).status for attempt in range(3)] == [500, 200, 200]


@pytest.mark.parametrize(("index", "hops"), [(0, 1), (1, 2)])
def test_a_redirect_ends_at_the_image_after_one_or_two_hops(index: int, hops: int) -> None:
    path, seen = f"/images/{index}.jpg", 0
    while (asked := target(path)) and (
        found := reply("redirect", asked.hop, index=asked.image)
    ).status == 302:
        path, seen = found.headers["Location"], seen + 1
    assert found.status == 200
    assert seen == hops


def test_private_redirects_point_to_addresses_that_no_crawler_may_contact() -> None:
    for index in range(10):
        found = reply("redirect_private", index=index)
        host = urllib3.util.parse_url(found.headers["Location"]).host or ""
        assert found.status == 302
        assert host.startswith(("10.", "127.", "169.254.", "192.168.", "[::1]"))


def test_only_slow_answers_are_delayed() -> None:
    assert {kind for kind in (PLAIN, *KINDS) if reply(kind).delay_s} == {"slow"}


@pytest.mark.parametrize(
    ("kind", "form", "mode"),
    [
        (PLAIN, "JPEG", "RGB"),
        ("png", "PNG", "RGB"),
        ("webp", "WEBP", "RGB"),
        ("gif", "GIF", "P"),
        ("gray", "JPEG", "L"),
        ("cmyk", "JPEG", "CMYK"),
    ],
)
def test_formats_are_what_they_say_and_show_the_image(kind: str, form: str, mode: str) -> None:
    image = Site().image(0)
    body, _ = encode(kind, image)
    shown = decoded(body)
    assert (shown.format, shown.mode, shown.size) == (form, mode, image.size)
    want = image.convert("L") if kind == "gray" else image
    difference = np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(want.convert("RGB"), float))
    assert difference.mean() < 8


def test_a_rotated_image_lies_on_its_side_until_its_exif_is_followed() -> None:
    image = Site().image(0)
    shown = decoded(encode("exif_rotated", image)[0])
    assert shown.size == image.size[::-1]
    upright = ImageOps.exif_transpose(shown)
    assert np.abs(np.asarray(upright, float) - np.asarray(image, float)).mean() < 8


def test_a_truncated_image_has_a_readable_head_and_does_not_decode() -> None:
    body, _ = encode("truncated", Site().image(0))
    with images.opened(body) as image:
        assert image.size == Site().image(0).size
        with pytest.raises(OSError, match="truncated"):
            image.load()


def test_a_duplicate_is_the_nearest_plain_image_before_it() -> None:
    kinds = [PLAIN, PLAIN, "png", "duplicate_image", "duplicate_image"]
    assert [original(kinds.__getitem__, index) for index in range(5)] == [0, 1, 2, 1, 1]


def test_a_page_under_an_image_name_says_that_it_is_an_image() -> None:
    found = reply("html")
    assert (found.status, found.headers["Content-Type"]) == (200, "image/jpeg")
    assert found.body.startswith(b"<!DOCTYPE html>")


def test_answers_are_the_same_however_requests_interleave() -> None:
    paths = [f"/images/{index}.jpg" for index in range(len(Site.kinds)) if Site.kinds[index] != "flaky"] * 3
    one = Desk(Site(), 0.0)
    expected = [one.answer(path) for path in paths]
    other = Desk(Site(), 0.0)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(other.answer, reversed(paths))) == expected[::-1]


def test_an_image_that_does_not_exist_is_not_found() -> None:
    assert [Desk(Site(), 0.0).answer(path).status for path in ("/images/999.jpg", "/robots.txt")] == [
        404,
        404,
    ]


def test_the_server_keeps_connections_and_ends_with_its_block() -> None:
    before = set(psutil.Process().children())
    with serving_site(partial(Site), slow_s=0.0) as port:
        started = [
            child
            for child in set(psutil.Process().children()) - before
            if "spawn_main" in str(child.cmdline())
        ]
        with urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=1) as pool:
            for index in (0, 1, Site.kinds.index("html")):
                assert pool.request("GET", f"/images/{index}.jpg", retries=False).status == 200
            assert pool.num_connections == 1
    assert started
    assert not any(child.is_running() for child in started)


def test_the_server_dies_with_a_parent_that_is_killed() -> None:
    program = (
        "from functools import partial; import time, sys\n"
        "from rankclip.data.shapes.server import serving_site\n"
        "from tests.unit.data.shapes.test_server import Site\n"
        "if __name__ == '__main__':\n"
        "    with serving_site(partial(Site), 0.0):\n"
        "        sys.stdout.write('up\\n'); sys.stdout.flush(); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"up\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert children
    deadline = time.monotonic() + 5
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.05)
