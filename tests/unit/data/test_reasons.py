"""The vocabulary of reasons."""

from __future__ import annotations

import pytest

from rankclip.data.reasons import Reason, of_status, printable, tag, untag


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_survives_a_channel_that_keeps_only_text(reason: Reason) -> None:
    assert untag(tag(reason, "what happened")) == (reason, "what happened")


def test_text_of_others_is_kept_under_other() -> None:
    assert untag("<urlopen error>") == (Reason.OTHER, "<urlopen error>")
    assert untag("[rankclip:no_such_reason] x")[0] is Reason.OTHER


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, Reason.HTTP_404),
        (418, Reason.HTTP_4XX),
        (503, Reason.HTTP_503),
        (599, Reason.HTTP_5XX),
        (304, Reason.HTTP_OTHER),
        (999, Reason.HTTP_OTHER),
    ],
)
def test_every_status_has_a_reason(status: int, reason: Reason) -> None:
    assert of_status(status) is reason


def test_details_are_printable_and_short() -> None:
    assert printable("a\0b\r\n") == "a\\x00b\\r\\n"
    shown = printable("\x01" * 500)
    assert len(shown) <= 200
    assert shown.isprintable()
