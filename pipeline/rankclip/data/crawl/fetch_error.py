"""The one error of a URL that gives no image, and which one a fault of the connection is."""

from __future__ import annotations

import ssl

import urllib3

from rankclip.data.reasons import Reason, tag


class FetchError(Exception):
    """A URL that gives no image; the text carries the reason, because img2dataset keeps only the text."""

    def __init__(
        self, reason: Reason, detail: str, *, passing: bool = False, wait_s: float | None = None
    ) -> None:
        super().__init__(tag(reason, detail))
        self.reason = reason
        self.passing = passing
        """Whether another attempt may succeed."""
        self.wait_s = wait_s
        """How long the server asks us to wait before it, in seconds."""


def late(*, passing: bool = False) -> FetchError:
    """A time-out; one text for all, since which of two clocks runs out first is chance."""
    return FetchError(Reason.TIMEOUT, "no complete answer in time", passing=passing)


def classified(error: Exception) -> FetchError:
    """The failure that an error of the connection stands for; its text names no address, port or time."""
    match error:
        case urllib3.exceptions.ConnectTimeoutError() | urllib3.exceptions.NewConnectionError():
            return FetchError(Reason.CONNECT, "no connection", passing=True)
        case urllib3.exceptions.SSLError() | ssl.SSLError():
            return FetchError(Reason.TLS, _tls_detail(error))
        case urllib3.exceptions.TimeoutError() | TimeoutError():
            return late(passing=True)
        case urllib3.exceptions.ProtocolError() | OSError():
            return FetchError(Reason.INTERRUPTED, "the connection broke", passing=True)
    return FetchError(Reason.OTHER, f"{type(error).__name__}: {error}")


def _tls_detail(error: Exception) -> str:
    inner = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
    return str(getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or "handshake failed")
