"""Whether a crawled image can be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from rankclip.data import images
from rankclip.data.curation.crawl_tar import CrawlTar
from rankclip.data.curation.spec import CurateSpec
from rankclip.data.reasons import Reason, printable

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Verdict(NamedTuple):
    """What became of one image; width and height in pixels, 0 where unknown."""

    reason: str
    detail: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class TarWork:
    """The work of one process at a time: a tar of the crawl and the images it should hold."""

    spec: CurateSpec
    path: Path
    digests: Mapping[str, str]
    """Key -> sha256 of the stored bytes."""


def judge_tar(work: TarWork) -> dict[str, Verdict]:
    """Key -> verdict for every image of `work`; `missing` for those that the tar does not hold.

    Raises:
        DataError: the tar is missing, damaged or cut off, or an image has another digest.
    """
    verdicts = {key: Verdict(Reason.MISSING, f"not in {work.path.name}") for key in work.digests}
    with CrawlTar(work.path) as tar:
        for key, blob in tar.images(work.digests):
            verdicts[key] = judge(work.spec, blob)
    return verdicts


def judge(spec: CurateSpec, blob: bytes) -> Verdict:
    """Judge an encoded image: its size by the header, then all its pixels decoded, then its shape."""
    try:
        with images.opened(blob) as image:
            width, height = image.size
            if width * height > spec.max_pixels or max(width, height) > images.MAX_SIDE:
                return Verdict(Reason.TOO_LARGE_PIXELS, f"{width} x {height}", width, height)
            image.load()
            if not images.is_plain_jpeg(image):
                images.upright_rgb(image)  # what `shard` will do must not fail there
            width, height = images.upright_size(image)
    except Image.DecompressionBombError as error:
        return Verdict(Reason.TOO_LARGE_PIXELS, _told(error))
    except Exception as error:  # decoders fail on damaged bytes with errors of every class
        return Verdict(Reason.DECODE, _told(error))
    if min(width, height) < spec.min_side:
        return Verdict(Reason.TOO_SMALL, f"{width} x {height}", width, height)
    if max(width, height) > spec.max_aspect * min(width, height):
        return Verdict(Reason.ASPECT, f"{width} x {height}", width, height)
    return Verdict(Reason.OK, "", width, height)


def _told(error: Exception) -> str:
    # Pillow names the buffer by its memory address, which would make equal runs differ
    return printable(_ADDRESS.sub("", f"{type(error).__name__}: {error}"))
