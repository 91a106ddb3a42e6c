"""The vocabulary of reasons."""

from __future__ import annotations

import pytest

from rankclip.data.reasons import Reason, documented, of_status, printable, tag, untag


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


@pytest.mark.parametrize("text", ["", "plain", "é", "a" * 200, "a" * 201, "tab\t" * 60])
def test_what_fits_is_left_as_it_is(text: str) -> None:
    shown = printable(text)
    assert (shown == text) == (len(text) <= 200 and text.isprintable())
    assert len(shown) <= 200


def test_every_reason_says_who_gives_it_and_what_it_means() -> None:
    table = documented()
    assert [line.reason for line in table] == [str(reason) for reason in Reason]
    assert all(line.meaning and not line.meaning.endswith(".") for line in table)
    stages = {stage for line in table for stage in line.stage.split(", ")}
    assert stages == {"", "ingest", "download", "curate", "index"}
    assert [line.reason for line in table if not line.stage] == ["ok"]


def test_a_reason_is_found_by_its_name() -> None:
    assert Reason("dns") is Reason.DNS
    assert (f"{Reason.DNS}", Reason.DNS.stage) == ("dns", "download")
    with pytest.raises(ValueError, match="bad luck"):
        Reason("bad luck")
