"""Which pairs of a list can be asked for, and why the others cannot."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip.data.ingestion.spec import IngestSpec
from rankclip.data.reasons import Reason

PLAIN_URL = r"^(?i:https?)://[A-Za-z0-9._-]+(?::[0-9]{1,4})?(?:[/?#][^\x00-\x1f\x7f]*)?$"
"""URLs that need no closer look; nearly all do not."""


class Refusal(NamedTuple):
    """Why a row is not accepted."""

    reason: Reason
    detail: str


def trimmed(column: pa.ChunkedArray) -> pa.Array:
    """A column of texts without white space around them; empty where it was null."""
    return pc.utf8_trim_whitespace(pc.fill_null(column, "")).combine_chunks()


def refusals(urls: pa.Array, captions: pa.Array, spec: IngestSpec) -> dict[int, Refusal]:
    """The pairs that cannot be asked for, by their place."""
    length = pc.utf8_length(captions)
    plain = pc.match_substring_regex(urls, PLAIN_URL)
    for condition in (
        pc.less_equal(pc.utf8_length(urls), spec.max_url_chars),
        pc.less_equal(length, spec.max_caption_chars),
        pc.greater(length, 0),
        pc.invert(pc.match_substring(captions, "\0")),
    ):
        plain = pc.and_(plain, condition)
    odd = np.flatnonzero(~np.asarray(plain)).tolist()
    judged = {at: judge(urls[at].as_py(), captions[at].as_py(), spec) for at in odd}
    return {at: found for at, found in judged.items() if found is not None}


def judge(url: str, caption: str, spec: IngestSpec) -> Refusal | None:
    """Why a pair without white space around its texts cannot be asked for, or None."""
    if "\0" in caption:
        return Refusal(Reason.MALFORMED_ROW, f"NUL inside the caption: {caption}")
    if not caption:
        return Refusal(Reason.EMPTY_CAPTION, url)
    if len(caption) > spec.max_caption_chars:
        return Refusal(Reason.CAPTION_TOO_LONG, f"{len(caption)} characters: {caption[:80]}")
    return judge_url(url, spec)


def judge_url(url: str, spec: IngestSpec) -> Refusal | None:
    """Why `url` cannot be asked for, or None."""
    if not url:
        return Refusal(Reason.NO_URL, "the URL is empty")
    if len(url) > spec.max_url_chars:
        return Refusal(Reason.MALFORMED_ROW, f"URL of {len(url)} characters: {url}")
    if any(character < " " or character == "\x7f" for character in url):
        return Refusal(Reason.MALFORMED_ROW, f"control character in the URL: {url}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return Refusal(Reason.MALFORMED_ROW, f"{error}: {url}")
    if parts.scheme not in ("http", "https"):
        return Refusal(Reason.BAD_SCHEME, url)
    return None if host else Refusal(Reason.NO_URL, f"no host: {url}")
