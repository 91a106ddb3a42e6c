"""What `ingest` accepts; light to import, because every command reads it."""

from __future__ import annotations

from pydantic import PositiveInt

from rankclip.spec import Spec


class IngestSpec(Spec):
    """Limits on the rows of a caption file."""

    max_caption_chars: PositiveInt = 4096
    """Longest caption kept, in characters; a longer one is refused as `caption_too_long`."""

    max_url_chars: PositiveInt = 8192
    """Longest URL kept, in characters; a longer one is refused as `malformed_row`."""
