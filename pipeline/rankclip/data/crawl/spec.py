"""How pairs are fetched; light to import, because every command reads it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rankclip.spec import Spec


class DownloadSpec(Spec):
    """Limits and manners of the crawl. The number of processes is the machine's: RANKCLIP_PROCESSES."""

    timeout_s: PositiveFloat = 10.0
    """Longest wait for a connection, and between two pieces of an answer, in seconds."""

    wall_time_s: PositiveFloat = 30.0
    """Longest time spent on one URL in seconds: redirects, retries and waits between them included."""

    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Further attempts after a passing fault: resolver, connection, time-out, 408, 429 and 5xx."""

    backoff_s: Annotated[float, Field(ge=0, le=60)] = 0.25
    """Wait before the first retry in seconds; doubled with each one. A Retry-After takes its place."""

    max_bytes: PositiveInt = 20 * 2**20
    """Largest body kept, in bytes."""

    max_redirects: NonNegativeInt = 5
    """Redirects followed for one URL; the address of each is checked."""

    threads: Annotated[int, Field(ge=1, le=512)] = 32
    """Requests in flight in each process."""

    rows_per_shard: Annotated[int, Field(ge=10, le=1_000_000)] = 10_000
    """Rows of one work shard, the unit that is kept when a crawl is interrupted."""

    resize: Literal["none", "keep_ratio", "keep_ratio_largest", "center_crop", "border"] = "none"
    """`none` keeps the bytes as served; else img2dataset's mode, which decodes and stores JPEG."""

    image_size: PositiveInt = 256
    """Side in pixels that `resize` aims at; larger images only are resized."""

    max_pixels: PositiveInt = 2**26
    """Largest image that `resize` decodes, in pixels; without `resize` nothing is decoded here."""

    crawler_name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "rankclip"
    """Name by which an X-Robots-Tag can address this crawler; also the name in the User-Agent."""

    robots_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    """X-Robots-Tag directives that are honoured, by refusing the row; empty to honour none."""

    stop_rows: NonNegativeInt = 500
    """Rows after which a crawl that fails for one reason is stopped; 0 never stops it."""

    stop_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of the first `stop_rows` rows that must fail for one reason for the crawl to stop."""

    @model_validator(mode="after")
    def _wall_time_holds_one_attempt(self) -> Self:
        if self.wall_time_s < self.timeout_s:
            raise ValueError(
                f"wall_time_s {self.wall_time_s} is less than timeout_s {self.timeout_s}; "
                "the time for a URL must hold at least one attempt"
            )
        return self
