"""Manners towards hosts: how many at once, and when not at all."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data.crawl.client import hosts
from rankclip.data.crawl.client.clock import Clock, retry_after
from rankclip.data.crawl.client.fetch_error import FetchError, late
from rankclip.data.crawl.client.hosts import Hosts
from rankclip.data.reasons import Reason
from tests.unit.data.crawl.wire import refusal

CONNECT = FetchError(Reason.CONNECT, "no connection", unheard=True)
BUSY = FetchError(Reason.HTTP_503, "HTTP 503")


def visit(manners: Hosts, host: str, failure: FetchError | None = None, wall_s: float = 1.0) -> None:
    with manners.visit(host, Clock(wall_s)):
        if failure is not None:
            raise failure


def failed(manners: Hosts, host: str, failure: FetchError, times: int = 1) -> None:
    for _ in range(times):
        assert refusal(lambda: visit(manners, host, failure)) is failure.reason


def silent() -> FetchError:
    failure = late(passing=True)
    failure.unheard = True
    return failure


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_no_more_than_so_many_are_at_a_host_and_everyone_has_a_turn(visits: list[str], places: int) -> None:
    manners = Hosts(places, 12, 0.01, own=())
    at, most, lock = Counter[str](), Counter[str](), threading.Lock()

    def go(host: str) -> None:
        with manners.visit(host, Clock(0.5)):
            with lock:
                at[host] += 1
                most[host] = max(most[host], at[host])
            time.sleep(0.001)
            with lock:
                at[host] -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(go, visits))
    assert all(n <= places for n in most.values())
    assert all(not each.busy and not each.line for each in manners._hosts.values())


def test_waiting_in_line_costs_a_url_none_of_its_time() -> None:
    manners = Hosts(1, 8, 0.01, own=())
    clock = Clock(0.2)
    inside = threading.Event()

    def hold() -> None:
        with manners.visit("a", Clock(9)):
            inside.set()
            time.sleep(0.4)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    with manners.visit("a", clock), manners.visit("b", Clock(1)):
        assert clock.left_s() > 0.1
    holder.join()


def test_a_host_that_asks_for_a_pause_is_asked_by_nobody() -> None:
    manners = Hosts(4, 8, 0.01, own=())
    failed(manners, "a", FetchError(Reason.HTTP_429, "HTTP 429", wait_s=1.0))
    since = time.monotonic()
    with pytest.raises(FetchError, match=r"\[rankclip:http_429\] HTTP 429"):
        visit(manners, "a", wall_s=0.2)
    visit(manners, "b")
    assert time.monotonic() - since < 0.9
    visit(manners, "a", wall_s=9.0)
    assert time.monotonic() - since >= 0.99


def test_a_host_of_which_no_word_is_heard_is_left_alone() -> None:
    for failure in (CONNECT, silent(), FetchError(Reason.DNS, "a: no such host", unheard=True)):
        manners = Hosts(4, 8, 0.01, own=())
        failed(manners, "a", failure, times=3)
        asked = []
        assert refusal(lambda m=manners, a=asked: a.append(visit(m, "a"))) is failure.reason
        assert not asked


def test_a_host_that_answers_is_not_given_up_for_slow_urls() -> None:
    manners = Hosts(4, 8, 0.01, own=())
    visit(manners, "a")
    failed(manners, "a", silent(), times=9)
    visit(manners, "a", wall_s=0.01)


def test_pauses_grow_while_a_host_fails_and_end_with_its_first_answer() -> None:
    manners = Hosts(4, 8, 0.02, own=())
    visit(manners, "a")
    failed(manners, "a", BUSY, times=3)
    since = time.monotonic()
    failed(manners, "a", BUSY)
    first = time.monotonic() - since
    failed(manners, "a", BUSY)
    second = time.monotonic() - since - first
    assert first > 0.015
    assert second > 0.035
    failed(manners, "a", FetchError(Reason.HTTP_404, "HTTP 404"))
    failed(manners, "a", BUSY, times=2)
    visit(manners, "a", wall_s=0.01)


def test_those_under_way_when_a_host_is_closed_do_not_close_it_further() -> None:
    manners = Hosts(8, 8, 0.05, own=())
    visit(manners, "a")
    gate = threading.Barrier(8)

    def fail() -> None:
        with suppress(FetchError), manners.visit("a", Clock(1)):
            gate.wait()
            raise BUSY

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(fail) for _ in range(8)]:
            each.result()
    visit(manners, "a", wall_s=0.2)  # one pause of 0.05 s, not six doubled ones


def test_an_answer_that_comes_late_opens_the_host_again() -> None:
    manners = Hosts(4, 8, 0.01, own=())
    with manners.visit("a", Clock(1)):
        failed(manners, "a", CONNECT, times=3)
    visit(manners, "a", wall_s=0.01)


def test_a_host_that_lets_us_wait_does_not_get_all_threads() -> None:
    manners = Hosts(8, 4, 0.01, own=())
    failed(manners, "a", FetchError(Reason.HTTP_429, "HTTP 429", wait_s=1.2))
    since = time.monotonic()

    def seconds(_: int) -> float:
        with suppress(FetchError):
            visit(manners, "a", wall_s=9)
        return time.monotonic() - since

    with ThreadPoolExecutor(4) as pool:
        waited = list(pool.map(seconds, range(4)))
    assert sum(each < 0.5 for each in waited) == 2
    assert sum(each > 1 for each in waited) == 2
    visit(manners, "a")


def test_hosts_of_our_own_need_no_manners() -> None:
    manners = Hosts(1, 8, 0.01, own={"a"})
    failed(manners, "a", CONNECT, times=9)
    with manners.visit("a", Clock(1)), manners.visit("a", Clock(1)):
        pass


def test_hosts_are_forgotten_before_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_KEPT", 100)
    manners = Hosts(1, 8, 0.01, own=())
    with manners.visit("kept", Clock(1)):
        for number in range(5000):
            visit(manners, f"{number}")
        assert len(manners._hosts) <= 100
        assert "kept" in manners._hosts
    visit(manners, "kept")


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Fri, 01 Jan 2100 00:00:30 GMT", 30.0),
        ("Fri, 01 Jan 2100 00:00:30", 30.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 0.0),
        ("Fri, 01 Jan 1999 00:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("\u0663", None),
        ("9" * 400, 1e20),
        ("Fri, 99 Jan 2100 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(text: str, wait_s: float | None) -> None:
    headers = {"Retry-After": text, "Date": "Fri, 01 Jan 2100 00:00:00 GMT"}
    found = retry_after(headers, now=0.0)
    assert found == pytest.approx(wait_s) if wait_s is not None else found is None


def test_retry_after_of_a_server_without_a_clock_is_taken_by_ours() -> None:
    assert retry_after({"Retry-After": formatdate(1060, usegmt=True)}, now=1000.0) == 60


@given(st.text(), st.text())
def test_no_retry_after_is_a_crash(text: str, date: str) -> None:
    found = retry_after({"Retry-After": text, "Date": date}, now=0.0)
    assert found is None or found >= 0
