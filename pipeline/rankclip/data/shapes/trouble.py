"""The trouble that a crawl of the real web meets, in stated shares, and which URL has which."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, model_validator

from rankclip.spec import Spec

PLAIN = "plain"
"""A URL without trouble: a JPEG at once."""

Share = Annotated[float, Field(ge=0, le=1)]


class TroubleSpec(Spec):
    """Share of the URLs that have each kind of trouble; the rest are plain JPEGs."""

    http_404: Share = 0.03
    """Not found."""
    http_403: Share = 0.015
    """Forbidden."""
    http_500: Share = 0.005
    """An internal error, at every attempt."""
    flaky: Share = 0.01
    """An internal error at the first attempt, then the image."""
    redirect: Share = 0.02
    """The image after one or two redirects."""
    redirect_private: Share = 0.004
    """A redirect to an address inside a private network or a cloud's metadata service."""
    truncated: Share = 0.01
    """A JPEG of which the end is missing."""
    html: Share = 0.01
    """A page under an image's name, with status 200."""
    slow: Share = 0.002
    """No answer for `slow_s`."""
    duplicate_image: Share = 0.02
    """The bytes of the nearest earlier plain image."""
    png: Share = 0.03
    """PNG."""
    webp: Share = 0.02
    """WebP."""
    gif: Share = 0.01
    """GIF, 256 colours."""
    gray: Share = 0.01
    """A JPEG of one channel."""
    cmyk: Share = 0.01
    """A JPEG in printing colours."""
    exif_rotated: Share = 0.02
    """A JPEG stored on its side with an EXIF orientation that turns it upright."""

    slow_s: PositiveFloat = 9.0
    """Delay of a slow answer in seconds; more than four of the crawl's time-outs to be certain."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        total = sum(shares(self).values())
        if total > 1 + 1e-9:
            raise ValueError(f"the shares of trouble add up to {total:g}; they must leave room within 1")
        return self


KINDS = tuple(name for name in TroubleSpec.model_fields if name != "slow_s")
"""The names of all kinds of trouble, `plain` not among them."""


def shares(spec: TroubleSpec) -> dict[str, float]:
    """The share of each kind of trouble."""
    return {kind: getattr(spec, kind) for kind in KINDS}


def assign(spec: TroubleSpec, seed: int, n: int) -> list[str]:
    """The kind of trouble, or `plain`, of each of `n` URLs.

    Each kind has exactly round(share x n) URLs, spread by the order of their digests, which is the same on
    every machine. The first URL is always plain, so that every duplicate has an original before it.
    """
    kinds = [PLAIN] * n
    order = sorted(range(1, n), key=lambda index: blake2b(f"{seed}/{index}".encode(), digest_size=8).digest())
    start = 0
    for kind, share in shares(spec).items():
        count = round(share * n)
        for index in order[start : start + count]:
            kinds[index] = kind
        start += count
    return kinds
