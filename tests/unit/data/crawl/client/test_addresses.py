"""Which addresses are forbidden, and that none is ever connected to; the socket layer is intercepted."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from rankclip.data.crawl.client import addresses, guard
from rankclip.data.crawl.client.addresses import Addresses, is_metadata, is_public
from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason
from tests.unit.data.crawl.wire import Wire, refusal

SPEC = DownloadSpec(timeout_s=0.5, wall_time_s=1.5, backoff_s=0.01, max_redirects=3)

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
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(20))
    start = time.monotonic()
    with pytest.raises(FetchError, match="no answer from the resolver"):
        Addresses({}).endpoints("slow.example", 80, 0.2)
    assert time.monotonic() - start < 10


def test_an_answer_is_asked_for_and_checked_again_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch, {"rebinds.example": ["93.184.216.34"]})
    monkeypatch.setattr(addresses, "_KEPT_S", 0.0)
    resolver = Addresses({})
    assert resolver.endpoints("rebinds.example", 80, 1) == [("93.184.216.34", 80)]
    wire.hosts["rebinds.example"] = ["169.254.169.254"]
    assert refusal(lambda: resolver.endpoints("rebinds.example", 80, 1)) is Reason.BLOCKED_ADDRESS


@pytest.mark.parametrize("private", ["mirror.example", "10.0.0.5"])
def test_a_host_that_the_study_names_may_be_at_a_private_address(
    monkeypatch: pytest.MonkeyPatch, private: str
) -> None:
    Wire(monkeypatch, {"mirror.example": ["10.0.0.5"], "other.example": ["10.0.0.5"]})
    resolver = Addresses({}, ["mirror.example", "10.0.0.5"])
    assert resolver.endpoints(private, 8000, 1) == [("10.0.0.5", 8000)]
    assert refusal(lambda: resolver.endpoints("other.example", 8000, 1)) is Reason.BLOCKED_ADDRESS


@pytest.mark.parametrize(
    "secret",
    [
        *("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"),
        *("fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42"),
    ],
)
def test_no_host_may_be_where_clouds_keep_their_secrets(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    Wire(monkeypatch, {"mirror.example": ["10.0.0.5", secret]})
    resolver = Addresses({}, ["mirror.example", secret])
    for host in ("mirror.example", secret):
        assert refusal(lambda host=host: resolver.endpoints(host, 80, 1)) is Reason.BLOCKED_ADDRESS
    assert is_metadata(secret)
    assert not is_metadata("10.0.0.5")


def test_names_are_forgotten_before_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch, {f"{n}.example": ["93.184.216.34"] for n in range(300)})
    monkeypatch.setattr(addresses, "_KEPT_HOSTS", 50)
    resolver = Addresses({})
    for n in range(300):
        resolver.endpoints(f"{n}.example", 80, 1)
    resolver.endpoints("299.example", 80, 1)
    assert len(wire.asked) == 300
    assert len(resolver._found) <= 50


def test_look_ups_that_nobody_waits_for_are_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    end = threading.Event()

    def hang(host: str, *_: object, **__: object) -> list[object]:
        begun.append(host)
        end.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(addresses, "_AT_ONCE", 2)
    resolver = Addresses({})
    for n in range(6):
        assert refusal(lambda n=n: resolver.endpoints(f"{n}.example", 80, 0.05)) is Reason.DNS
    end.set()
    time.sleep(0.1)
    assert len(begun) == 2
