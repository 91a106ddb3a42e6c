"""The data card, `shards/card.json`: which pairs a number came from, in a few facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankclip import files
from rankclip.data.inspection.lines import aligned, outside, percent, size
from rankclip.errors import DataError

REMEDY = "run `rankclip repro`, which makes it with the shards"

QUANTILES = ("width", "height", "image_bytes", "caption_words")
"""What the card has quantiles of: pixels, pixels, bytes of an image, words of a caption."""

KEYS = (
    *("name", "source", "licence", "input", "ok", "survival", "expected", "verdict"),
    *("samples", "shards", "bytes", "slots", "reasons", "flags", "digests", *QUANTILES),
)


def read(shards: Path) -> dict[str, Any]:
    """The card of a folder of shards.

    Raises:
        DataError: it is missing, damaged or lacks something.
    """
    path = shards / "card.json"
    card = files.read_json(path, REMEDY)
    lacking = [key for key in KEYS if not isinstance(card, dict) or key not in card]
    if lacking:
        raise DataError(f"{path} lacks {', '.join(lacking)}; {REMEDY}")
    found: dict[str, Any] = card
    return found


def lines(card: dict[str, Any]) -> list[str]:
    """The card as text for a terminal."""
    facts = {
        "study": card["name"],
        "source": card["source"],
        "licence": card["licence"] or "not stated",
        "input rows": f"{card['input']:,}",
        "pairs": f"{card['ok']:,} ({percent(card['ok'], card['input'])})",
        "verdict": card["verdict"],
        "tars": f"{card['shards']:,}, {size(card['bytes'])}",
    }
    for check, rows in card["flags"].items():
        facts[f"flagged {check}"] = f"{rows:,} ({percent(rows, card['input'])})"
    for slot, of in card["slots"].items():
        facts[f"captions {slot}"] = captions(of)
    facts |= {f"digest of {name}": digest or "-" for name, digest in card["digests"].items()}
    width = max(map(len, facts))
    told = [f"{name.ljust(width)}  {outside(value, 1000)}" for name, value in facts.items()]
    names = list(card[QUANTILES[0]])
    rows = [[name.replace("_", " "), *card[name].values()] for name in QUANTILES]
    return [*told, "", *aligned(["", *names], rows, names)]


def captions(slot: Mapping[str, Any]) -> str:
    """How many captions a slot has, and where they are from if not from the source."""
    told = f"{slot['captions']:,} of {slot['samples']:,} images"
    if "file" in slot:
        told += f", from {slot['file']}: {slot['used']:,} of its {slot['rows']:,} rows"
    return told
