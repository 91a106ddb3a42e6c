"""How long a URL may take, and how long a server wants us to wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_SLOWEST = 2**14
"""Bytes per second at which a body may still arrive when the URL's time is over ..."""

_PATIENCE = 3.0
"""... for so many times that time."""


class Clock:
    """The time left for one URL; waiting in a line for its host stops it."""

    def __init__(self, wall_time_s: float) -> None:
        self.deadline = time.monotonic() + wall_time_s
        """As time.monotonic() tells it."""
        self._longest_s = _PATIENCE * wall_time_s

    def left_s(self) -> float:
        """Seconds left; negative when late."""
        return self.deadline - time.monotonic()

    def stretched(self, received: int) -> float:
        """The deadline of a body of which `received` bytes have come: on a slow line all take their time."""
        return self.deadline + min(received / _SLOWEST, self._longest_s)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait before another request, by Retry-After: a number of seconds or a date.

    None where it says neither. A date is compared to the server's own clock, its Date, and to `now`, a
    time.time(), only where it names none: clocks differ.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:20])
    until = _date(text)
    if until is None:
        return None
    since = _date(headers.get("Date", ""))
    return max(0.0, until - (now if since is None else since))


def _date(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
