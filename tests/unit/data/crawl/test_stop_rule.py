"""The rule that stops a crawl in which nearly everything fails for one cause."""

from __future__ import annotations

from collections import Counter

import pytest

from rankclip.data.crawl.statuses import News, Noted
from rankclip.data.crawl.stop_rule import Window, remedy
from rankclip.data.reasons import Reason


def news(reason: Reason, rows: int, detail: str = "", host: str = "") -> News:
    return Counter({Noted(reason, detail, host): rows})


OK, DNS, GONE = Reason.OK, Reason.DNS, Reason.HTTP_404


def verdicts(rows: int, *told: News) -> list[bool]:
    window = Window(rows, 0.95)
    return [window.add(f"{number:05d}", each) is not None for number, each in enumerate(told)]


def test_the_first_rows_decide_as_soon_as_there_are_enough() -> None:
    assert verdicts(100, news(DNS, 50), news(DNS, 49), news(DNS, 1)) == [False, False, True]
    assert verdicts(100, news(DNS, 250)) == [True]


def test_an_outage_in_the_middle_is_noticed_within_two_windows() -> None:
    told = [news(OK, 1)] * 10_000 + [news(DNS, 1)] * 200
    found = verdicts(100, *told)
    assert not any(found[:10_000])
    assert found[10_000:].index(True) < 100


@pytest.mark.parametrize(
    "told",
    [
        [news(DNS, 95), news(OK, 5)] * 3,
        [news(DNS, 50), news(GONE, 50)] * 3,
        [news(OK, 1000)],
        [News()],
        [news(DNS, 99)],
    ],
)
def test_a_crawl_goes_on_where_something_works_or_causes_differ(told: list[News]) -> None:
    assert not any(verdicts(100, *told))


def test_what_an_earlier_run_found_does_not_count() -> None:
    known = Counter({Noted(DNS, known=True): 500})
    assert verdicts(100, known, news(OK, 10), known, news(DNS, 89)) == [False] * 4
    assert verdicts(100, known, news(DNS, 99), news(DNS, 1)) == [False, False, True]


@pytest.mark.parametrize("reason", [Reason.HTTP_403, Reason.HTTP_404, Reason.HTTP_410])
def test_what_one_host_answers_of_its_urls_is_no_cause_of_ours(reason: Reason) -> None:
    assert not any(verdicts(100, news(reason, 300, host="a"), news(reason, 300, host="b")))
    assert verdicts(100, *(news(reason, 40, host=host) for host in "abc")) == [False, False, True]
    assert verdicts(100, news(Reason.HTTP_500, 300, host="a")) == [True]


def test_only_the_reasons_that_are_given_stop_a_crawl() -> None:
    window = Window(100, 0.95, {Reason.CONNECT})
    assert window.add("00000", news(DNS, 300)) is None
    assert window.add("00001", news(Reason.CONNECT, 300)) is not None


def test_no_rows_switch_the_rule_off() -> None:
    assert verdicts(0, news(DNS, 1000)) == [False]


def test_the_message_names_cause_count_samples_and_remedy() -> None:
    window = Window(100, 0.95)
    window.add("00000", news(OK, 300))
    window.add("00001", news(DNS, 30, "b: no such host", "b"))
    window.add("00002", news(DNS, 40, "a: no such host", "a"))
    for host in "cdef":
        window.add("00003", news(DNS, 2, "x" * 500, host))
    stop = window.add("00004", news(DNS, 40, "b: no such host", "b"))
    assert stop is not None
    assert (stop.reason, stop.tasks) == (DNS, {"00001", "00002", "00003", "00004"})
    assert stop.message.startswith(
        "118 of the last 118 rows failed with `dns`, most often 'b: no such host' (70), "
        f"'a: no such host' (40), '{'x' * 80}' (8), hosts 'b' (70), 'a' (40), 'c' (2); the resolver does "
    )
    assert stop.message.endswith(
        "; what is finished is kept, run the command again to go on, with download.stop_rows=0 to go on "
        "regardless"
    )
    assert "\n" not in stop.message


def test_every_reason_of_the_download_has_a_remedy() -> None:
    told = {reason: remedy(reason) for reason in Reason if "download" in reason.stage}
    assert all(told.values())
    assert told[Reason.HTTP_403] == told[Reason.HTTP_429] != told[Reason.HTTP_503]
