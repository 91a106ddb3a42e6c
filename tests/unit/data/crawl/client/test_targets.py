"""URLs taken apart: what no network is needed for to refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankclip.data.crawl.client import targets
from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.reasons import Reason
from tests.unit.data.crawl.wire import refusal


def test_the_host_is_one_name_however_it_is_written() -> None:
    target = targets.parse("HTTPS://user:word@WWW.Example.:8443/a b?c#d")
    assert target == ("https", "www.example", 8443, "www.example.:8443", "/a%20b?c")
    assert targets.parse("http://[::1]/").host == "::1"
    assert targets.parse("http://www.example").port == 80


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://public.example@127.0.0.1/", "127.0.0.1"),
        ("http://127.0.0.1\\@public.example/", "127.0.0.1"),
        ("http://127.0.0.1#@public.example/", "127.0.0.1"),
        ("http://127.0.0.1?@public.example/", "127.0.0.1"),
        ("http://a@b@127.0.0.1/", "127.0.0.1"),
    ],
)
def test_a_user_name_is_no_host(url: str, host: str) -> None:
    assert targets.parse(url).host == host


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 6667])
def test_ports_that_are_not_for_the_web_are_refused(port: int) -> None:
    assert refusal(lambda: targets.parse(f"http://www.example:{port}/")) is Reason.BLOCKED_ADDRESS


@pytest.mark.parametrize("url", ["http://", "http:///x", "http://a:99999/", "http://a:b/", "http://[::1/"])
def test_what_names_no_host_is_no_url(url: str) -> None:
    assert refusal(lambda: targets.parse(url)) is Reason.OTHER


@given(st.text(), st.sampled_from(["", "http://", "https://", "http://a.example/", "//", "file:"]))
def test_whatever_a_url_says_it_has_a_target_or_a_reason(text: str, before: str) -> None:
    try:
        target = targets.parse(before + text)
    except FetchError:
        return
    assert target.host
    assert not set(target.host) & set("@/\\?# \r\n")
    assert not set(target.authority + target.path) & set(" \r\n")
    assert target.scheme in ("http", "https")


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_wherever_a_redirect_leads_there_is_a_target_or_a_reason(location: str) -> None:
    try:
        targets.parse(targets.moved("http://a.example/b", location))
    except FetchError:
        return


def test_a_redirect_in_bytes_keeps_its_bytes() -> None:
    location = "/f\u00fc r%20x".encode().decode("latin-1")
    assert targets.parse(targets.moved("http://a.example/b", location)).path == "/f%C3%BC%20r%20x"
