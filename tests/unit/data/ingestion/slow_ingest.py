"""The rules of ingest for a list of lines, read one line at a time: slow, and easy to check."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from rankclip.data.ingestion.spec import IngestSpec

Outcome = tuple[str, str, str]
"""reason, URL, caption; the latter two are empty for a row that is refused."""


def outcomes(content: bytes, first: Literal["caption", "url"], spec: IngestSpec) -> list[Outcome]:
    """What becomes of each line."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    seen: set[str] = set()
    return [outcome(line, first, spec, seen) for line in (lines[:-1] if lines[-1] == b"" else lines)]


def outcome(line: bytes, first: str, spec: IngestSpec, seen: set[str]) -> Outcome:
    """What becomes of a line without its line feed."""
    if len(line) >= 4 * (spec.max_caption_chars + spec.max_url_chars) + 1024:
        return refused("caption_too_long")
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        return refused("bad_encoding")
    columns = [column.strip() for column in text.split("\t")]
    if "\0" in text or "\r" in text or len(columns) != 2:
        return refused("malformed_row")
    url, caption = columns if first == "url" else reversed(columns)
    if not caption:
        return refused("empty_caption")
    if len(caption) > spec.max_caption_chars:
        return refused("caption_too_long")
    reason = reason_of_url(url, spec)
    if reason == "ok" and url in seen:
        return refused("duplicate_url")
    seen.add(url)
    return (reason, url, caption) if reason == "ok" else refused(reason)


def reason_of_url(url: str, spec: IngestSpec) -> str:
    """Whether a URL can be asked for."""
    if not url:
        return "no_url"
    if len(url) > spec.max_url_chars or any(
        ord(character) < 32 or ord(character) == 127 for character in url
    ):
        return "malformed_row"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "malformed_row"
    if parts.scheme not in ("http", "https"):
        return "bad_scheme"
    return "ok" if host else "no_url"


def refused(reason: str) -> Outcome:
    """A row that is refused."""
    return reason, "", ""
