"""Whether a crawl is what others got, in a sentence."""

from __future__ import annotations

import pytest

from rankclip.data.sources.expected import Expected, verdict

CC3M = Expected(rows=1000, survival=(0.6, 0.8), pairs=700, origin="an issue")


@pytest.mark.parametrize(
    ("rows", "ok", "told"),
    [
        (
            1000,
            600,
            "normal: 600 of 1,000 rows (60.0%) is within the 60.0% to 80.0% that others got (an issue)",
        ),
        (1000, 800, "normal: 800 of 1,000 rows (80.0%)"),
        (1000, 599, "low: 599 of 1,000 rows (59.9%) is below the 60.0% to 80.0%"),
        (1000, 801, "high: 801 of 1,000 rows (80.1%) is above"),
        (999, 700, "another list: 700 of 999 rows (70.1%), but the list that is known has 1,000 rows"),
        (0, 0, "another list: 0 of 0 rows (0.0%)"),
    ],
)
def test_a_verdict_says_how_much_was_got_and_what_others_got(rows: int, ok: int, told: str) -> None:
    assert verdict(CC3M, rows, ok, indexed=False).startswith(told)


def test_the_range_is_not_rounded_to_what_others_did_not_get() -> None:
    known = Expected(rows=1000, survival=(0.624, 0.686), pairs=650, origin="an issue")
    assert "(62.4%) is within the 62.4% to 68.6%" in verdict(known, 1000, 624, indexed=False)


def test_too_little_comes_with_what_to_do() -> None:
    assert verdict(CC3M, 1000, 100, indexed=False).endswith(
        "see the reasons, `rankclip data retry --reason dns,timeout`"
    )


def test_what_was_not_downloaded_is_not_to_be_downloaded_again() -> None:
    said = verdict(CC3M, 1000, 100, indexed=True)
    assert said.endswith("; `rankclip data ledger` has the reasons")
    assert "retry" not in said


def test_a_list_of_which_nothing_is_known_gets_no_verdict() -> None:
    assert verdict(None, 10, 5, indexed=False).startswith("unknown: 5 of 10 rows (50.0%)")
