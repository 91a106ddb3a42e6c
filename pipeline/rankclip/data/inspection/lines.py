"""Tables as lines of text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rankclip.data.reasons import printable

WIDEST = 72
"""Characters of a cell that come from outside; a terminal may be narrow."""


def aligned(header: Sequence[str], rows: Sequence[Sequence[object]], numbers: Collection[str]) -> list[str]:
    """A header and a line a row, columns aligned, those in `numbers` at their right."""
    texts = [
        list(header),
        *([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        ).rstrip()
        for line in texts
    ]


def percent(part: int, whole: int) -> str:
    """A share with two decimals; a dash of nothing."""
    return f"{100 * part / whole:.2f} %" if whole else "-"


def outside(text: object, most: int = WIDEST) -> str:
    """Text from strangers on one line, nothing in it that a terminal would obey, cut where it is long."""
    return printable(" ".join(str(text or "").split()), most)


def size(count: float) -> str:
    """A number of bytes for the eye: `1.5 GB`, by powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
