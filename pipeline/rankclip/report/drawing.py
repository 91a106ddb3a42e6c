"""How a plot becomes SVG to be placed inside an HTML page: the only module that makes figures of matplotlib.

Text stays text and takes the page's font; ink and grid take the page's colours, so that one drawing serves
light and dark. Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GRID, PAPER = "#010203", "#040506", "#070809"  # stand-ins, replaced by the page's own colours
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of arms may hold dollar signs
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def style(name: str) -> Any:
    """The context in which the drawing of that name is made."""
    from matplotlib import style

    return style.context({**STYLE, "svg.hashsalt": name})


def figure(width: float, height: float) -> Figure:
    """An empty figure; inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, name: str) -> str:
    """The figure as an element of a page, on which no other drawing has the name."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawing = buffer.getvalue()
    start, end = drawing.index("<svg "), drawing.index(">", drawing.index("<svg "))
    opening = re.sub(r' (width|height|xmlns|xmlns:xlink)="[^"]*"', "", drawing[start:end])
    drawing = opening + drawing[end:]
    drawing = re.sub(r"<(metadata|style)\b.*?</\1>", "", drawing, flags=re.DOTALL)
    # several drawings share a page, so each keeps its identifiers to itself
    drawing = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{name}-", drawing)
    for ours, its in ((INK, "--ink"), (GRID, "--grid"), (PAPER, "--paper")):
        drawing = drawing.replace(ours, f"var({its})")
    return drawing
