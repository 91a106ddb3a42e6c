"""The rules for captions: how long they may be, and what must not be in them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip.data.curation.spec import CurateSpec


def wrong_length(spec: CurateSpec, captions: pa.ChunkedArray) -> np.ndarray:
    """Bool `[n]`: captions with fewer or more characters than `spec` asks for."""
    chars = pc.utf8_length(captions).to_numpy()
    longest = np.inf if spec.max_caption_chars is None else spec.max_caption_chars
    wrong: np.ndarray = (chars < spec.min_caption_chars) | (chars > longest)
    return wrong


def blocked(spec: CurateSpec, captions: pa.ChunkedArray) -> np.ndarray:
    """Bool `[n]`: captions in which a pattern of the blocklist is found."""
    if not spec.blocklist:
        return np.zeros(len(captions), bool)
    found: np.ndarray = pc.match_substring_regex(captions, spec.blocked, ignore_case=True).to_numpy()
    return found


def first_pattern(spec: CurateSpec, caption: str) -> str:
    """The first pattern of the blocklist that is found in a blocked caption."""
    told = pa.array([caption])
    return next(
        pattern
        for pattern in spec.blocklist
        if pc.match_substring_regex(told, pattern, ignore_case=True)[0].as_py()
    )
