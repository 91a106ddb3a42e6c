"""The guarded opener against servers on loopback; for forbidden addresses the socket layer is intercepted."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import rankclip
from rankclip.data.crawl import guard
from rankclip.data.crawl.addresses import Addresses, is_public
from rankclip.data.crawl.fetch_error import FetchError
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason
from tests.unit.data.loopback import JPEG, Reply, dripping, web

SPEC = DownloadSpec(
    timeout_s=0.5, wall_time_s=1.5, retries=2, backoff_s=0.01, max_bytes=1000, max_redirects=3
)
FOUND: Reply = (200, {"Content-Type": "image/jpeg"}, JPEG)


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


def refusal(call: Callable[[], object]) -> Reason:
    with pytest.raises(FetchError) as caught:
        call()
    assert str(caught.value).startswith(f"[rankclip:{caught.value.reason}] ")
    return caught.value.reason


class Wire:
    """Replaces the resolver and the connection; counts what is tried and lets nothing through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hosts: dict[str, list[str]]) -> None:
        self.connected: list[str] = []
        self.asked: list[str] = []
        self.hosts = hosts
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)
        monkeypatch.setattr(socket.socket, "connect", self.connect)

    def resolve(self, host: str, port: object, *args: object, **named: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        answers = self.hosts.get(host, [host] if host[0].isdigit() or ":" in host else [])
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in answers]

    def connect(self, endpoint: tuple[str, int], *_: object) -> None:
        self.connected.append(endpoint[0])
        raise ConnectionRefusedError


FORBIDDEN = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.100.100.200", "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.192",
    "192.88.99.1", "198.18.0.1", "168.63.129.16", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "2002:7f00:1::", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_address_that_is_not_public_is_known_as_such(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_a_public_address_is_known_as_such(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", FORBIDDEN[:-1])
def test_a_host_at_a_forbidden_address_is_never_connected_to(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    wire = Wire(monkeypatch, {"evil.example": ["93.184.216.34", address]})
    opener = guard.opener(SPEC, {})
    assert refusal(lambda: opener.open("http://evil.example/1.jpg")) is Reason.BLOCKED_ADDRESS
    assert refusal(lambda: opener.open("https://evil.example/1.jpg")) is Reason.BLOCKED_ADDRESS
    assert not wire.connected


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "user:pass@127.0.0.1:22", "169.254.169.254", "LOCALHOST", "localhost."]
)
def test_a_forbidden_address_written_in_the_url_is_never_connected_to(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    wire = Wire(monkeypatch, {"localhost": ["127.0.0.1"]})
    opener = guard.opener(SPEC, {"web.invalid": ("127.0.0.1", 9)})
    assert refusal(lambda: opener.open(f"http://{host}/1.jpg")) is Reason.BLOCKED_ADDRESS
    assert not wire.connected


def test_numbers_that_the_resolver_takes_for_loopback_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch, {"2130706433": ["127.0.0.1"], "0x7f.1": ["127.0.0.1"]})
    opener = guard.opener(SPEC, {})
    for host in ("2130706433", "0x7f.1"):
        assert refusal(lambda host=host: opener.open(f"http://{host}/")) is Reason.BLOCKED_ADDRESS
    assert not wire.connected


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch, {"rebinds.example": ["93.184.216.34"]})
    opener = guard.opener(SPEC.model_copy(update={"retries": 1}), {})
    lookup = wire.resolve

    def rebind(host: str, *args: object, **named: object) -> list[tuple[object, ...]]:
        found = lookup(host, *args, **named)
        wire.hosts["rebinds.example"] = ["127.0.0.1"]
        return found

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    assert refusal(lambda: opener.open("http://rebinds.example/1.jpg")) is Reason.CONNECT
    assert set(wire.connected) == {"93.184.216.34"}
    assert wire.asked.count("rebinds.example") == 1


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
    assert headers["User-Agent"] == f"rankclip/{rankclip.__version__} (+research crawler)"
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
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 900\r\n\r\n", b""),
    ],
)
def test_no_way_of_dripping_holds_a_thread_beyond_the_wall_time(head: bytes, drop: bytes) -> None:
    with dripping(head, drop, 0.02) as port:
        start = time.monotonic()
        assert refusal(lambda: fetch(port)) in (Reason.TIMEOUT, Reason.HTTP_404)
        assert time.monotonic() - start < SPEC.wall_time_s + 0.5


def test_a_broken_answer_is_interrupted() -> None:
    with web(lambda *_: (200, {"Content-Length": "900", "Connection": "close"}, JPEG)) as server:
        assert refusal(lambda: fetch(server.port)) is Reason.INTERRUPTED
        assert len(server.asked) == 3


def test_a_closed_port_is_a_connection_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refusal(lambda: fetch(port)) is Reason.CONNECT


def test_an_unknown_host_is_asked_for_once_and_a_busy_resolver_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch, {})
    opener = guard.opener(SPEC, {})
    assert refusal(lambda: opener.open("http://gone.example/1")) is Reason.DNS
    assert refusal(lambda: opener.open("http://gone.example/2")) is Reason.DNS
    assert wire.asked == ["gone.example"]

    def busy(host: str, *_: object, **__: object) -> None:
        wire.asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", busy)
    assert refusal(lambda: opener.open("http://busy.example/1")) is Reason.DNS
    assert wire.asked.count("busy.example") == 3


def test_a_resolver_that_hangs_does_not_hold_the_crawl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    start = time.monotonic()
    with pytest.raises(FetchError, match="no answer from the resolver"):
        Addresses({}).endpoints("slow.example", 80, 0.2)
    assert time.monotonic() - start < 1


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for `name`, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_a_certificate_is_checked_against_the_name_in_the_url(tmp_path: Path) -> None:
    theirs, trusting = certificate(tmp_path, "secure.invalid")
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
