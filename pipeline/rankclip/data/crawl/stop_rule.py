"""The rule that stops a crawl in which nearly everything fails for one cause, and what it says then."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rankclip.data.crawl.statuses import News
from rankclip.data.reasons import Reason

PASSING = frozenset({Reason.DNS, Reason.CONNECT, Reason.TIMEOUT})
"""Failures that say more of this machine and its network than of the URL."""

DOUBTFUL = PASSING | {
    *(Reason.TLS, Reason.INTERRUPTED, Reason.NOT_AN_IMAGE, Reason.BLOCKED_ADDRESS),
    Reason.TOO_MANY_REDIRECTS,
}
"""Those, and others for which a wrong clock, a proxy or a captive portal may be to blame as well."""

_OF_URLS = frozenset({Reason.HTTP_403, Reason.HTTP_404, Reason.HTTP_410})
"""Failures for which one dead host is to blame as often as a refused crawler."""

_HOSTS = 3
"""Hosts that must have failed so before it is taken for more than theirs."""

_SAMPLES = 3
_DETAIL_CHARS = 80

_FIREWALL = "a firewall or a proxy may stand between: the crawl uses no proxy, and needs ports 80 and 443"
_REFUSED = "the servers refuse this crawler or its rate: wait, or lower download.threads"
_INTERCEPTED = "something may answer in the servers' place: a captive portal, a proxy, a filtering resolver"
_TROUBLE = "the servers, or a proxy before them, are in trouble: wait"
_LIST = "look whether the URLs of the list are whole and not too old"
_REMEDIES = {
    Reason.DNS: "the resolver does not answer or is overrun: look at /etc/resolv.conf, use another one, or "
    "lower download.threads",
    Reason.CONNECT: _FIREWALL,
    Reason.TIMEOUT: f"{_FIREWALL}; on a slow line raise download.timeout_s or lower download.threads",
    Reason.INTERRUPTED: _FIREWALL,
    Reason.TLS: "look at this machine's clock and its certificates, to which a company's proxy may have to "
    "be added",
    Reason.BLOCKED_ADDRESS: f"{_INTERCEPTED}; hosts at private addresses are not contacted",
    Reason.NOT_AN_IMAGE: _INTERCEPTED,
    Reason.TOO_MANY_REDIRECTS: _INTERCEPTED,
    Reason.ROBOTS: "the servers ask not to be used; download.robots_directives names what is honoured",
    Reason.TOO_LARGE: "look at download.max_bytes",
    Reason.HTTP_404: _LIST,
    Reason.HTTP_410: _LIST,
    Reason.HTTP_400: _LIST,
}


@dataclass(frozen=True)
class Stop:
    """Why a crawl should go no further."""

    reason: Reason
    message: str
    tasks: frozenset[str]
    """The work shards of which the rows are that led to it."""


class Window:
    """The last `rows` rows that this run has fetched."""

    def __init__(self, rows: int, share: float, stops: Collection[Reason] = frozenset(Reason)) -> None:
        """
        Args:
            stops: the reasons for which a crawl may be stopped.
        """
        self._rows = rows
        self._share = share
        self._stops = stops
        self._held: deque[tuple[str, News]] = deque()
        self._reasons: Counter[Reason] = Counter()
        self._seen = 0

    def add(self, task: str, news: News) -> Stop | None:
        """Take in news of a work shard; the verdict where there is a reason to stop."""
        news = News({noted: n for noted, n in news.items() if not noted.known})
        if not self._rows or not news:
            return None
        self._held.append((task, news))
        self._seen += news.total()
        self._reasons.update(_by_reason(news))
        while self._reasons.total() - self._held[0][1].total() >= self._rows:
            self._reasons.subtract(_by_reason(self._held.popleft()[1]))
        total = self._reasons.total()
        reason, n = self._reasons.most_common(1)[0]
        if total < self._rows or reason is Reason.OK or n <= self._share * total:
            return None
        if reason not in self._stops or (reason in _OF_URLS and len(self._hosts(reason)) < _HOSTS):
            return None
        return Stop(reason, self._message(reason, n, total), frozenset(task for task, _ in self._held))

    def _hosts(self, reason: Reason) -> set[str]:
        return {noted.host for _, news in self._held for noted in news if noted.reason is reason}

    def _message(self, reason: Reason, n: int, total: int) -> str:
        failed = [(noted, k) for _, news in self._held for noted, k in news.items() if noted.reason is reason]
        details = _most((noted.detail[:_DETAIL_CHARS], k) for noted, k in failed)
        hosts = _most((noted.host, k) for noted, k in failed)
        which = "first" if self._seen == total else "last"
        return (
            f"{n} of the {which} {total} rows failed with `{reason}`, most often {details}, hosts {hosts}; "
            f"{remedy(reason)}; what is finished is kept, run the command again to go on, with "
            "download.stop_rows=0 to go on regardless"
        )


def remedy(reason: Reason) -> str:
    """What to look at when nearly everything fails for `reason`."""
    if reason in _REMEDIES:
        return _REMEDIES[reason]
    return {"4": _REFUSED, "5": _TROUBLE}.get(
        reason.removeprefix("http_")[0], "look at the network, the resolver and the URLs"
    )


def _by_reason(news: News) -> Counter[Reason]:
    found: Counter[Reason] = Counter()
    for noted, n in news.items():
        found[noted.reason] += n
    return found


def _most(counted: Iterable[tuple[str, int]]) -> str:
    total: Counter[str] = Counter()
    for text, n in counted:
        total[text or "(nothing said)"] += n
    return ", ".join(f"{text!r} ({n})" for text, n in total.most_common(_SAMPLES))
