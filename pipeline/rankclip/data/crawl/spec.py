"""How pairs are fetched; light to import, because every command reads it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rankclip.data.reasons import MAX_PIXELS
from rankclip.spec import Spec

Contact = Annotated[
    str, Field(pattern=r"^(https?://[!-'*-~]+|[!-'*-;=?A-~]+@[!-'*-;=?A-~]+)$", max_length=200)
]
"""A URL or an e-mail address in printable ASCII without brackets, since it becomes part of a header."""


class DownloadSpec(Spec):
    """Limits and manners of the crawl. The number of processes is the machine's: RANKCLIP_PROCESSES."""

    timeout_s: PositiveFloat = 10.0
    """Longest wait for a name, for a connection, and between two pieces of an answer, in seconds."""

    wall_time_s: PositiveFloat = 30.0
    """Longest time spent on one URL in seconds: redirects, retries and waits between them included, but not
    the wait in line behind other URLs of its host. A body may take up to three times as long again for as
    long as it arrives at 16 KiB a second, since a slow line is shared by all requests."""

    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Further attempts after a passing fault: a busy resolver, no connection, a broken one, 408, 429 and most
    5xx; one after a time-out; none after TLS faults and what else will not pass."""

    backoff_s: Annotated[float, Field(ge=0, le=60)] = 0.25
    """Wait before the first retry in seconds; doubled with each one. A Retry-After takes its place."""

    per_host: Annotated[int, Field(ge=1, le=512)] = 16
    """Requests at once to one host, over all processes, each of which has an equal share but at least one. A
    host that asks for a pause (Retry-After), or fails three times in a row with 429, 503 or no connection,
    is left alone for a while; URLs of it whose time does not hold that wait fail at once."""

    private_hosts: tuple[str, ...] = ()
    """Names or addresses of hosts that may be at addresses that are not public, such as a mirror in your own
    network; addresses at which clouds keep metadata stay refused."""

    max_bytes: PositiveInt = 20 * 2**20
    """Largest body kept, in bytes, as sent and as decoded."""

    max_redirects: NonNegativeInt = 5
    """Redirects followed for one URL; the address of each is checked."""

    threads: Annotated[int, Field(ge=1, le=512)] = 64
    """Requests in flight in each process."""

    rows_per_shard: Annotated[int, Field(ge=20, le=10_000)] = 10_000
    """Most rows of one work shard, from which a tar is made; it has 0.5 % of the list at most, but at least
    20 rows."""

    resize: Literal["none", "keep_ratio", "keep_ratio_largest", "center_crop", "border"] = "none"
    """`none` keeps the bytes as served; else img2dataset's mode, which decodes and stores JPEG."""

    image_size: PositiveInt = 256
    """Side in pixels that `resize` aims at; larger images only are resized."""

    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS)] = 2**26
    """Largest image that `resize` decodes, in pixels; without `resize` nothing is decoded here."""

    crawler_name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "rankclip"
    """Name by which an X-Robots-Tag can address this crawler; also the name in the User-Agent."""

    contact: Contact | None = None
    """A URL or e-mail address for the owners of hosts, which the User-Agent shows."""

    robots_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    """X-Robots-Tag directives that are honoured, by refusing the row; empty to honour none."""

    preflight: Literal["stop", "warn"] = "stop"
    """What a look at resolver and disk before the first request may do about a crawl that cannot succeed: not
    start it, or only say so."""

    stop_rows: NonNegativeInt = 500
    """A crawl is stopped when nearly all of the last so many rows fail for one reason, and not before so many
    are fetched; 0 never stops it. 403, 404 and 410 stop it only when three hosts or more answer so."""

    stop_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of the last `stop_rows` rows that must fail for one reason for the crawl to stop."""

    @model_validator(mode="after")
    def _wall_time_holds_one_attempt(self) -> Self:
        if self.wall_time_s < self.timeout_s:
            raise ValueError(
                f"wall_time_s {self.wall_time_s} is less than timeout_s {self.timeout_s}; "
                "the time for a URL must hold at least one attempt"
            )
        return self

    def outcome(self) -> dict[str, Any]:
        """The fields that decide what becomes of a row, other than by chance.

        Manners and patience are not among them: a crawl goes on where it was when they change.
        """
        return self.model_dump(mode="json", include=_OUTCOME)


_OUTCOME = {
    *("max_bytes", "max_redirects", "rows_per_shard", "resize", "image_size", "max_pixels"),
    *("crawler_name", "robots_directives", "private_hosts"),
}
