"""Manners towards a host: few requests at once, and none while it asks for a pause or does not answer.

One `Hosts` serves all threads of a process; every process has its share of `download.per_host`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rankclip.data.crawl.client.clock import Clock
from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.reasons import Reason

_IN_A_ROW = 3
"""Failures without an answer in between after which a host is left alone for a while."""

_DEAD_S = 60.0
"""How long a host is left alone of which not a word has ever been heard, in seconds."""

_MOMENT_S = 1.0

_LONGEST_S = 86_400.0

_KEPT = 50_000
"""Hosts that are remembered; at 400 bytes each, 20 MB."""

_BUSY = frozenset({Reason.HTTP_429, Reason.HTTP_503})


@dataclass(slots=True)
class _Host:
    busy: int = 0
    line: list[threading.Event] = field(default_factory=list)
    """Those who wait for a place; a place that becomes free is handed to the first."""
    heard: bool = False
    failures: int = 0
    closed_at: float = 0.0
    opens_at: float = 0.0
    why: tuple[Reason, str] = (Reason.CONNECT, "")


class Hosts:
    """Who may contact a host now.

    A place is held for one request, never while waiting for another place, so nobody waits for ever: a line
    has at most `threads` in it and moves by all places at least every four times `wall_time_s`, the longest
    that a body may take.
    """

    def __init__(self, places: int, threads: int, backoff_s: float, own: Container[str]) -> None:
        """
        Args:
            places: requests at once to one host.
            threads: those of the process that fetch.
            backoff_s: the first pause after repeated failures; doubled with each further one.
            own: hosts of our own, to which none of this applies.
        """
        self._places = places
        self._beds = threading.Semaphore(max(1, threads // 2))
        self._backoff_s = backoff_s
        self._own = own
        self._lock = threading.Lock()
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    @contextmanager
    def visit(self, host: str, clock: Clock) -> Iterator[None]:
        """Hold a place at `host` within the block; the block's outcome decides about its next visitors.

        Waiting for a place stops `clock`; waiting until the host may be asked again does not.

        Raises:
            FetchError: the host may not be asked again before the clock has run out, or too many wait for
                that; for the reason of those whose failures closed it.
        """
        if host in self._own:
            yield
            return
        state = self._enter(host, clock)
        since = time.monotonic()
        try:
            yield
        except FetchError as failure:
            self._leave(state, since, failure)
            raise
        except BaseException:
            self._leave(state, since, None)
            raise
        self._leave(state, since, None)

    def rest(self, seconds: float) -> bool:
        """Wait, but for more than a moment only while fewer than half of the threads do.

        Else a large host that lets us wait would in time have all threads waiting for it.

        Returns:
            Whether that was possible; if not, there was no wait.
        """
        if seconds <= _MOMENT_S:
            time.sleep(seconds)
            return True
        if not self._beds.acquire(blocking=False):
            return False
        try:
            time.sleep(seconds)
        finally:
            self._beds.release()
        return True

    def _enter(self, host: str, clock: Clock) -> _Host:
        while True:
            with self._lock:
                state = self._state(host)
                turn = None
                if state.busy < self._places:
                    state.busy += 1
                else:
                    turn = threading.Event()
                    state.line.append(turn)
            if turn is not None:
                since = time.monotonic()
                turn.wait()
                clock.deadline += time.monotonic() - since
            with self._lock:
                closed_s = state.opens_at - time.monotonic()
                if closed_s <= 0:
                    return state
                self._free(state)
                reason, detail = state.why
            if closed_s >= clock.left_s() or not self.rest(closed_s):
                raise FetchError(reason, detail)

    def _leave(self, state: _Host, since: float, failure: FetchError | None) -> None:
        with self._lock:
            if failure is None or not (failure.unheard or failure.reason in _BUSY):
                state.heard, state.failures = True, 0
                if state.why[0] not in _BUSY:
                    state.opens_at = 0.0
            elif since >= state.closed_at:  # whoever came before it was closed knows nothing new
                self._judge(state, failure)
            self._free(state)

    def _judge(self, state: _Host, failure: FetchError) -> None:
        if failure.unheard and state.heard and failure.reason is not Reason.CONNECT:
            return  # a slow URL of a host that does answer
        state.heard |= not failure.unheard
        state.failures += 1
        pause_s = failure.wait_s or 0.0
        if state.failures >= _IN_A_ROW:
            growing_s = self._backoff_s * 2.0 ** min(state.failures - _IN_A_ROW, 64)
            pause_s = max(pause_s, growing_s if state.heard else _DEAD_S)
        if pause_s > 0:
            state.closed_at = time.monotonic()
            state.opens_at = state.closed_at + min(pause_s, _LONGEST_S)
            state.why = (failure.reason, failure.detail)

    def _free(self, state: _Host) -> None:
        if state.line:
            state.line.pop(0).set()
        else:
            state.busy -= 1

    def _state(self, host: str) -> _Host:
        state = self._hosts.get(host)
        if state is None:
            state = self._hosts[host] = _Host()
            while len(self._hosts) > _KEPT:
                idle = next((name for name, each in self._hosts.items() if not each.busy), None)
                if idle is None or idle == host:
                    break
                del self._hosts[idle]
        else:
            self._hosts.move_to_end(host)
        return state
