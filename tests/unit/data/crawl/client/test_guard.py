"""The guarded opener against servers on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.request import Request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import rankclip
from rankclip.data.crawl.client import guard
from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason
from tests.unit.data.crawl.hostile.certificates import certificate
from tests.unit.data.crawl.wire import refusal
from tests.unit.data.loopback import JPEG, Reply, dripping, saying, web

SPEC = DownloadSpec(
    timeout_s=0.5, wall_time_s=1.5, retries=2, backoff_s=0.01, max_bytes=1000, max_redirects=3
)
FOUND: Reply = (200, {"Content-Type": "image/jpeg"}, JPEG)
FOUND_SO_FAR = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\xff\xd8\xff\xe0\xff\r\n"


def fetch(
    port: int,
    path: str = "/1.jpg",
    spec: DownloadSpec = SPEC,
    host: str = "web.invalid",
    scheme: str = "http",
) -> bytes:
    opener = guard.opener(spec, {host: ("127.0.0.1", port)})
    with opener.open(Request(f"{scheme}://{host}{path}"), timeout=9) as response:
        content: bytes = response.read()
    return content


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "//127.0.0.1:22/", "http://[::1]/"],
)
def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    connect = socket.socket.connect
    connected = []

    def watched(connection: socket.socket, endpoint: tuple[str, int]) -> None:
        connected.append(endpoint)
        connect(connection, endpoint)

    monkeypatch.setattr(socket.socket, "connect", watched)
    with web(lambda *_: (302, {"Location": location}, b"")) as server:
        assert refusal(lambda: fetch(server.port)) is Reason.BLOCKED_ADDRESS
        assert connected == [("127.0.0.1", server.port)]


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://a.example/x", "gopher://a.example/"])
def test_a_redirect_to_another_scheme_is_refused(location: str) -> None:
    with web(lambda *_: (302, {"Location": location}, b"")) as server:
        assert refusal(lambda: fetch(server.port)) is Reason.BAD_SCHEME


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://a.example/x", "data:image/png,x", "xyz://a/"])
def test_only_http_is_opened(url: str) -> None:
    assert refusal(lambda: guard.opener(SPEC, {}).open(url)) is Reason.BAD_SCHEME


def test_a_redirect_to_nowhere_is_no_crash() -> None:
    with web(lambda *_: (302, {"Location": "http://[half"}, b"")) as server:
        assert refusal(lambda: fetch(server.port)) is Reason.OTHER


def test_redirects_are_followed_up_to_the_limit() -> None:
    def hop(path: str, _: int) -> Reply:
        left = int(path[1:])
        return FOUND if left == 0 else (301, {"Location": f"/{left - 1}"}, b"moved")

    with web(hop) as server:
        assert fetch(server.port, "/3") == JPEG
        assert len(server.connections) == 1
        assert refusal(lambda: fetch(server.port, "/4")) is Reason.TOO_MANY_REDIRECTS


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with web(lambda *_: FOUND) as server:
        assert fetch(server.port) == JPEG


def test_the_crawler_says_who_it_is_and_keeps_the_host_name() -> None:
    with web(lambda *_: FOUND) as server:
        opener = guard.opener(SPEC, {"web.invalid": ("127.0.0.1", server.port)})
        request = Request("http://web.invalid/ü x.jpg?a=1#part", headers={"User-Agent": "Mozilla/5.0"})
        opener.open(request).close()
        path, headers = server.asked[0]
    assert path == "/%C3%BC%20x.jpg?a=1"
    assert headers["User-Agent"] == f"rankclip/{rankclip.__version__} (research crawler)"
    assert headers["Host"] == "web.invalid"


def test_a_connection_is_used_again() -> None:
    with web(lambda path, _: FOUND if path != "/3" else (404, {}, b"gone")) as server:
        opener = guard.opener(SPEC, {"web.invalid": ("127.0.0.1", server.port)})
        for number in (1, 2, 4):
            opener.open(f"http://web.invalid/{number}").close()
        assert refusal(lambda: opener.open("http://web.invalid/3")) is Reason.HTTP_404
        opener.open("http://web.invalid/5").close()
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((404, {}, b"gone"), Reason.HTTP_404),
        ((403, {}, b""), Reason.HTTP_403),
        ((200, {"Content-Type": "image/jpeg"}, b"<html></html>"), Reason.NOT_AN_IMAGE),
        ((200, {}, b""), Reason.NOT_AN_IMAGE),
        ((200, {}, JPEG * 100), Reason.TOO_LARGE),
        ((302, {}, b"nowhere"), Reason.HTTP_OTHER),
    ],
)
def test_what_will_not_pass_is_asked_for_once(reply: Reply, reason: Reason) -> None:
    with web(lambda *_: reply) as server:
        assert refusal(lambda: fetch(server.port)) is reason
        assert len(server.asked) == 1


def test_a_body_that_hides_its_size_is_cut_off() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG
    with dripping(head, b"x" * 500, 0.01) as port:
        assert refusal(lambda: fetch(port)) is Reason.TOO_LARGE


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_passing_faults_are_tried_again(status: int) -> None:
    with web(lambda _, before: (status, {}, b"") if before < 2 else FOUND) as server:
        assert fetch(server.port) == JPEG
        assert len(server.asked) == 3


def test_retries_are_bounded_and_the_last_reason_stands() -> None:
    with web(lambda *_: (502, {}, b"")) as server:
        assert refusal(lambda: fetch(server.port)) is Reason.HTTP_502
        assert len(server.asked) == 3


def test_retry_after_is_waited_for_within_the_wall_time_and_not_beyond() -> None:
    with web(lambda _, before: (429, {"Retry-After": "1"}, b"") if before == 0 else FOUND) as server:
        start = time.monotonic()
        assert fetch(server.port) == JPEG
        assert time.monotonic() - start >= 1
    with web(lambda *_: (429, {"Retry-After": "3600"}, b"")) as server:
        assert refusal(lambda: fetch(server.port)) is Reason.HTTP_429
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + JPEG, b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 900\r\n\r\n", b""),
    ],
)
def test_no_way_of_dripping_holds_a_thread_beyond_the_wall_time(head: bytes, drop: bytes) -> None:
    with dripping(head, drop, 0.02) as port:
        start = time.monotonic()
        assert refusal(lambda: fetch(port)) in (Reason.TIMEOUT, Reason.HTTP_404)
        assert time.monotonic() - start < 4 * SPEC.wall_time_s


def test_a_body_that_keeps_arriving_has_longer_than_one_that_drips() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 60004\r\n\r\n\xff\xd8\xff\xe0"
    spec = SPEC.model_copy(update={"wall_time_s": 0.6, "max_bytes": 10**6})
    for drop, arrives in ((bytes(2000), True), (bytes(200), False)):
        with dripping(head, drop, 0.04) as port:
            since = time.monotonic()
            if arrives:
                assert len(fetch(port, spec=spec)) == 60_004
                assert time.monotonic() - since > 0.9
            else:
                assert refusal(lambda p=port: fetch(p, spec=spec)) is Reason.TIMEOUT
                assert time.monotonic() - since < 6


def test_a_broken_answer_is_interrupted() -> None:
    with web(lambda *_: (200, {"Content-Length": "900", "Connection": "close"}, JPEG)) as server:
        assert refusal(lambda: fetch(server.port)) is Reason.INTERRUPTED
        assert len(server.asked) == 3


def test_a_closed_port_is_a_connection_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refusal(lambda: fetch(port)) is Reason.CONNECT


def test_a_certificate_is_checked_against_the_name_in_the_url(tmp_path: Path) -> None:
    theirs, pem = certificate(tmp_path, "secure.invalid")
    trusting = ssl.create_default_context(cadata=pem)
    names: list[str | None] = []
    theirs.sni_callback = lambda _, name, __: names.append(name)
    with web(lambda *_: FOUND, tls=theirs) as server:
        here = ("127.0.0.1", server.port)
        opener = guard.opener(SPEC, {"secure.invalid": here, "other.invalid": here}, trusting)
        with opener.open("https://secure.invalid/1.jpg") as response:
            assert response.read() == JPEG
        assert refusal(lambda: opener.open("https://other.invalid/1.jpg")) is Reason.TLS
        assert names == ["secure.invalid", "other.invalid"]
        untrusting = guard.opener(SPEC, {"secure.invalid": here})
        assert refusal(lambda: untrusting.open("https://secure.invalid/1.jpg")) is Reason.TLS


def local(server_port: int, **changes: object) -> tuple[DownloadSpec, str]:
    """Limits under which a server on loopback is a host like any other, with manners; and its address."""
    spec = SPEC.model_copy(update={"private_hosts": ("127.0.0.1",), **changes})
    return spec, f"http://127.0.0.1:{server_port}"


def test_a_host_gets_no_more_requests_at_once_than_the_share_of_a_process() -> None:
    at, most = [0], [0]
    lock = threading.Lock()

    def slowly(_: str, __: int) -> Reply:
        with lock:
            at[0] += 1
            most[0] = max(most[0], at[0])
        time.sleep(0.02)
        with lock:
            at[0] -= 1
        return FOUND

    with web(slowly) as server:
        spec, address = local(server.port, per_host=7)
        opener = guard.opener(spec, {}, processes=3)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda n: opener.open(f"{address}/{n}").close(), range(40)))
        assert most == [2]
        assert len(server.connections) == 2


def test_urls_of_one_host_do_not_hold_up_those_of_others() -> None:
    with web(lambda *_: FOUND) as fast, dripping(b"HTTP/1.1 200 OK\r\n", b"X", 0.05) as slow:
        spec, address = local(fast.port, per_host=1, wall_time_s=4.0)
        opener = guard.opener(spec, {"slow.invalid": ("127.0.0.1", slow)})
        with ThreadPoolExecutor(8) as pool:
            stuck = [pool.submit(opener.open, f"http://slow.invalid/{n}") for n in range(3)]
            since = time.monotonic()
            for number in range(20):
                opener.open(f"{address}/{number}").close()
            assert time.monotonic() - since < 3.5
            assert all(isinstance(each.exception(), FetchError) for each in stuck)


def test_a_busy_host_is_not_hammered_by_other_urls_of_it() -> None:
    with web(lambda *_: (429, {"Retry-After": "60"}, b"")) as server:
        spec, address = local(server.port)
        opener = guard.opener(spec, {})
        for number in range(50):
            assert refusal(lambda n=number: opener.open(f"{address}/{n}")) is Reason.HTTP_429
        assert len(server.asked) == 1


def test_a_host_that_moved_is_treated_by_its_new_name() -> None:
    def reply(path: str, _: int) -> Reply:
        return (302, {"Location": f"http://127.0.0.1:{there.port}/"}, b"") if path == "/" else FOUND

    with web(lambda *_: (503, {"Retry-After": "60"}, b"")) as there, web(reply) as here:
        spec = local(0)[0]
        opener = guard.opener(spec, {"here.invalid": ("127.0.0.1", here.port)})
        for _ in range(3):
            assert refusal(lambda: opener.open("http://here.invalid/")) is Reason.HTTP_503
        assert len(there.asked) == 1
        assert len(here.asked) == 3


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (5, 2)])
def test_a_time_out_is_tried_again_once_at_most(retries: int, attempts: int) -> None:
    asked = []

    def reply(path: str, _: int) -> Reply:
        asked.append(path)
        time.sleep(0.4)
        return FOUND

    with web(reply) as server:
        spec = SPEC.model_copy(update={"timeout_s": 0.1, "retries": retries})
        assert refusal(lambda: fetch(server.port, spec=spec)) is Reason.TIMEOUT
    assert len(asked) == attempts


@pytest.mark.parametrize("contact", ["https://lab.example/crawl?a=1", "me@lab.example"])
def test_the_crawler_says_whom_to_write_to(contact: str) -> None:
    spec = DownloadSpec(contact=contact)
    with web(lambda *_: FOUND) as server:
        fetch(server.port, spec=spec)
        assert server.asked[0][1]["User-Agent"] == f"rankclip/{rankclip.__version__} (+{contact})"


@pytest.mark.parametrize("contact", ["me", "ftp://a/", "a@b\r\nX: y", "http://a/(b)", "http://a b/", ""])
def test_a_contact_that_would_break_the_header_is_refused(contact: str) -> None:
    with pytest.raises(ValidationError):
        DownloadSpec(contact=contact)


def test_whatever_bytes_a_server_says_the_url_has_an_image_or_a_reason() -> None:
    words = [b""]

    @given(st.binary(max_size=400), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", FOUND_SO_FAR]))
    @settings(max_examples=60, deadline=None)
    def fetched(said: bytes, before: bytes) -> None:
        words[0] = before + said
        with suppress(FetchError):
            opener.open("http://web.invalid/1")

    with saying(lambda: words[0]) as port:
        opener = guard.opener(SPEC.model_copy(update={"retries": 0}), {"web.invalid": ("127.0.0.1", port)})
        fetched()


def test_the_outcome_of_a_crawl_does_not_depend_on_its_manners() -> None:
    patient = SPEC.model_copy(
        update={"threads": 3, "timeout_s": 9.0, "contact": "a@b.example", "per_host": 1}
    )
    assert patient.outcome() == SPEC.outcome()
    for name, value in {"resize": "border", "max_bytes": 7, "robots_directives": ()}.items():
        assert SPEC.model_copy(update={name: value}).outcome() != SPEC.outcome()
