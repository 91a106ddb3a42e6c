"""The one error of a URL that gives no image, and which one a fault of the connection is."""

from __future__ import annotations

import http.client
import ssl

import urllib3

from rankclip.data.reasons import Reason, tag


class FetchError(Exception):
    """A URL that gives no image; the text carries the reason, because img2dataset keeps only the text."""

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        passing: bool = False,
        slow: bool = False,
        unheard: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(tag(reason, detail))
        self.reason = reason
        self.detail = detail
        self.passing = passing
        """Whether another attempt may succeed."""
        self.slow = slow
        """Whether this one has cost so much time that one more is enough."""
        self.unheard = unheard
        """Whether the host has not said a word."""
        self.wait_s = wait_s
        """How long the server asks us to wait before it, in seconds."""


class MalformedError(http.client.HTTPException):
    """An answer that is not HTTP, or whose header has no end."""


def late(*, passing: bool = False) -> FetchError:
    """A time-out; one text for all, since which of two clocks runs out first is chance."""
    return FetchError(Reason.TIMEOUT, "no complete answer in time", passing=passing, slow=True)


def classified(error: Exception) -> FetchError:
    """The failure that an error of the connection stands for; its text names no address, port or time."""
    match error:
        case urllib3.exceptions.ConnectTimeoutError():
            slow = not isinstance(error, urllib3.exceptions.NewConnectionError)
            return FetchError(Reason.CONNECT, "no connection", passing=True, slow=slow, unheard=True)
        case urllib3.exceptions.SSLError() | ssl.SSLError():
            return FetchError(Reason.TLS, _tls_detail(error))
        case urllib3.exceptions.TimeoutError() | TimeoutError():
            return late(passing=True)
        case urllib3.exceptions.InvalidHeader():
            return FetchError(Reason.MALFORMED_ANSWER, "contradictory header")
        case urllib3.exceptions.ProtocolError() | OSError():
            cause = next((each for each in error.args if isinstance(each, http.client.HTTPException)), None)
            if _is_malformed(cause):
                return FetchError(Reason.MALFORMED_ANSWER, type(cause).__name__)
            return FetchError(Reason.INTERRUPTED, "the connection broke", passing=True)
    return FetchError(Reason.OTHER, f"{type(error).__name__}: {error}")


def _is_malformed(cause: Exception | None) -> bool:
    """Whether the other side does not speak HTTP; one that hangs up, or stops in the middle, may yet."""
    broken = (http.client.RemoteDisconnected, http.client.IncompleteRead)
    return cause is not None and not isinstance(cause, broken)


def _tls_detail(error: Exception) -> str:
    inner = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
    return str(getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or "handshake failed")
