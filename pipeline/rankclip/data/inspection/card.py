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
    *("name", "source", "licence", "subset", "input", "ok", "survival", "expected", "verdict"),
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


def facts(card: Mapping[str, Any]) -> dict[str, str]:
    """What the card says in a line each, by its name; parts of it are from outside and unescaped."""
    told = {
        "source": card["source"],
        "licence": card["licence"] or "not stated",
    }
    if subset := card["subset"]:
        told["subset"] = ", ".join(f"{name} {value}" for name, value in subset.items() if value is not None)
    told["input rows"] = f"{card['input']:,}"
    told["pairs"] = f"{card['ok']:,} ({percent(card['ok'], card['input'])})"
    if expected := card["expected"]:
        low, high = (f"{100 * share:.1f} %" for share in expected["survival"])
        told["others got"] = f"{low} to {high} of {expected['rows']:,} rows ({expected['origin']})"
    told["tars"] = f"{card['shards']:,}, {size(card['bytes'])}"
    told |= {f"captions {slot}": _captions(of) for slot, of in card["slots"].items()}
    return told | {f"digest of {name}": digest for name, digest in card["digests"].items() if digest}


def lines(card: Mapping[str, Any]) -> list[str]:
    """The card as text for a terminal."""
    flags = {
        f"flagged {check}": f"{rows:,} ({percent(rows, card['input'])})"
        for check, rows in card["flags"].items()
    }
    named = {"study": card["name"], **facts(card), **flags, "verdict": card["verdict"]}
    width = max(map(len, named))
    told = [f"{name.ljust(width)}  {outside(value, 1000)}" for name, value in named.items()]
    return [*told, "", *aligned(*quantiles(card), card[QUANTILES[0]])]


def quantiles(card: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of `QUANTILES`."""
    rows = [[name.replace("_", " "), *(f"{n:,}" for n in card[name].values())] for name in QUANTILES]
    return ["", *card[QUANTILES[0]]], rows


def _captions(slot: Mapping[str, Any]) -> str:
    """How many captions a slot has, and where they are from if not from the source."""
    told = f"{slot['captions']:,} of {slot['samples']:,} images"
    if "file" in slot:
        told += f", from {slot['file']}: {slot['used']:,} of its {slot['rows']:,} rows"
    return told
