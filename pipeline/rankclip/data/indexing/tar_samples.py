"""The samples of one tar: members that share their name up to its first dot, read once, in their order.

Members of a sample may lie anywhere in the tar, so the captions and JSON of all its samples are in memory
until its end; of images one at a time is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rankclip.data import tar_members
from rankclip.data.captions.slots import RAW
from rankclip.data.indexing.image_header import SampleError, upright_size
from rankclip.data.reasons import Reason, printable
from rankclip.data.sources.webdataset import Part, WebdatasetSpec, part

MAX_IMAGE = 512 << 20
"""Bytes of an image above which it is not read."""

MAX_TEXT = 16 << 20
"""Bytes of a member of captions or of JSON above which it is not read."""

_NAME = re.compile(rb"(?:\./)*((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)


class Row(NamedTuple):
    """What is known of one sample; the image is that which the index points to, sizes in bytes and pixels."""

    key: str
    url: str
    offset: int
    size: int
    width: int
    height: int
    sha256: str
    captions: dict[str, list[str]]
    reason: Reason
    detail: str


@dataclass(slots=True)
class _Sample:
    key: bytes
    seen: list[bytes] = field(default_factory=list)
    texts: dict[str, bytes | SampleError] = field(default_factory=dict)
    rank: int = 1 << 30
    """Of the image below, among the extensions of images."""
    offset: int = 0
    size: int = 0
    width: int = 0
    height: int = 0
    sha256: str = ""
    refused: SampleError | None = None


class Reader:
    """How a source's samples are read.

    Args:
        spec: where in a sample its captions, URL and key are.
        tar: name of the tar, which may be part of the keys.
    """

    def __init__(self, spec: WebdatasetSpec, tar: str) -> None:
        self._slots = {slot: part(member) for slot, member in spec.captions.items()}
        self._url = part(spec.url) if spec.url else None
        self._key = None if spec.key.endswith("__key__") else part(spec.key)
        self._prefix = f"{tar}/" if spec.key.startswith("tar/") else ""
        wanted = [*self._slots.values(), *filter(None, (self._url, self._key))]
        self._texts = {where.member.encode(): where.member for where in wanted}
        self._ranks = {extension.encode(): rank for rank, extension in enumerate(spec.images)}

    def rows(self, source: tar_members.Source) -> Iterator[Row]:
        """Every sample in the order of its first member, good or not, once the tar is read to its end.

        Raises:
            tar_members.DamagedError: the tar is not whole.
        """
        latest: dict[bytes, _Sample] = {}
        samples: list[_Sample] = []
        for member in tar_members.members(source):
            named = _NAME.fullmatch(member.name)
            if named is None:  # no sample's: hidden, or without an extension
                continue
            key, extension = named[1], named[2].lower()
            sample = latest.get(key)
            if sample is None or extension in sample.seen:
                sample = latest[key] = _Sample(key)
                samples.append(sample)
            sample.seen.append(extension)
            if extension in self._texts:
                sample.texts[self._texts[extension]] = _text(source, member.size)
            elif self._ranks.get(extension, sample.rank) < sample.rank:
                sample.rank = self._ranks[extension]
                _take_image(sample, source, member)
        return map(self._row, samples)

    def _row(self, sample: _Sample) -> Row:
        parsed: dict[str, Any] = {}
        key, url, captions = self._prefix + sample.key.decode("utf-8", "backslashreplace"), "", {}
        try:
            key = self._key_of(sample, key, parsed)
            url = next(iter(_said(sample, self._url, parsed)), "") if self._url else ""
            captions = {slot: _said(sample, where, parsed) for slot, where in self._slots.items()}
            refused = sample.refused or _lacks(sample, captions, self._slots[RAW])
        except SampleError as error:
            refused = error
        reason, detail = (refused.reason, refused.detail) if refused else (Reason.OK, "")
        at = (sample.offset, sample.size, sample.width, sample.height, sample.sha256)
        return Row(key, url, *at, captions, reason, detail)

    def _key_of(self, sample: _Sample, named: str, parsed: dict[str, Any]) -> str:
        if self._key is not None:
            said = _said(sample, self._key, parsed)
            if len(said) != 1:
                raise SampleError(Reason.MALFORMED_ROW, f"{self._key.field} of {self._key.member} is no key")
            return said[0]
        if named.removeprefix(self._prefix).encode() != sample.key:
            raise SampleError(Reason.BAD_ENCODING, "its name is not UTF-8")
        return named


def _take_image(sample: _Sample, source: tar_members.Source, member: tar_members.Member) -> None:
    sample.offset, sample.size, sample.sha256 = member.offset, member.size, ""
    sample.width, sample.height, sample.refused = 0, 0, None
    if member.size > MAX_IMAGE:
        sample.refused = SampleError(Reason.TOO_LARGE, f"{member.size} bytes")
        return
    blob = source.take(member.size)
    if len(blob) < member.size:
        raise tar_members.DamagedError(f"it is cut off at byte {member.offset + len(blob)}")
    sample.sha256 = hashlib.sha256(blob).hexdigest()
    try:
        sample.width, sample.height = upright_size(blob)
    except SampleError as refused:
        sample.refused = refused
        sample.width, sample.height = refused.size


def _text(source: tar_members.Source, size: int) -> bytes | SampleError:
    if size > MAX_TEXT:
        return SampleError(Reason.MALFORMED_ROW, f"{size} bytes of text")
    return source.take(size)


def _lacks(sample: _Sample, captions: dict[str, list[str]], raw: Part) -> SampleError | None:
    if sample.sha256 and captions[RAW]:
        return None
    members = printable(b", ".join(sample.seen).decode("utf-8", "backslashreplace"))
    if not sample.sha256:
        return SampleError(Reason.MISSING, f"no image among {members}")
    there = raw.member in sample.texts
    return SampleError(Reason.EMPTY_CAPTION, "" if there else f"no {raw.member} among {members}")


def _said(sample: _Sample, where: Part, parsed: dict[str, Any]) -> list[str]:
    """The texts of a member or of a field, stripped, without empty ones; none where it is not there.

    Raises:
        SampleError: it is not UTF-8, not JSON, or holds neither texts nor numbers.
    """
    blob = sample.texts.get(where.member, b"")
    if isinstance(blob, SampleError):
        raise blob
    try:
        if not where.field:
            value: Any = blob.decode("utf-8-sig")
        else:
            if where.member not in parsed:
                parsed[where.member] = json.loads(blob.decode("utf-8-sig")) if blob.strip() else {}
            value = parsed[where.member]
    except UnicodeDecodeError as error:
        raise SampleError(
            Reason.BAD_ENCODING, f"{where.member}: {error.reason} at byte {error.start}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise SampleError(Reason.MALFORMED_ROW, printable(f"{where.member}: {error}")) from None
    if where.field:
        if not isinstance(value, dict):
            raise SampleError(Reason.MALFORMED_ROW, f"{where.member} is no JSON object")
        value = value.get(where.field)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(each, str | int) and not isinstance(each, bool) for each in values):
        raise SampleError(Reason.MALFORMED_ROW, f"{where.field} of {where.member} is no text")
    texts = [text for each in values if (text := str(each).strip())]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:  # JSON can say what UTF-8 cannot
        raise SampleError(Reason.BAD_ENCODING, f"{where.member}: half a surrogate pair") from None
    return texts
