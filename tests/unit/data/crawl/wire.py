"""A resolver and a connection that count what is tried and let nothing through."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.reasons import Reason


class Wire:
    """Replaces both for the time of a test."""

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


def refusal(call: Callable[[], object]) -> Reason:
    """The reason of the FetchError that `call` raises."""
    with pytest.raises(FetchError) as caught:
        call()
    assert str(caught.value).startswith(f"[rankclip:{caught.value.reason}] ")
    return caught.value.reason
