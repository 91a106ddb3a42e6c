"""A contact sheet: pictures in a grid, each with what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from rankclip.data.reasons import printable

SIDE = 176
"""Longest side of a picture in pixels."""

GAP = 16
LINE = 17
LINES = 3
"""Lines of a caption; the rest is cut."""

WIDTH = 8
"""Pictures side by side."""

PAPER, PANEL, INK, SOFT = "#ffffff", "#f1f3f5", "#1b2027", "#6a7380"


@dataclass(frozen=True)
class Tile:
    """One picture, or several that belong together, with a caption and a note in soft ink."""

    pictures: tuple[Image.Image | None, ...]
    """None stands for an image that cannot be shown."""
    caption: str
    note: str = ""


def draw(title: str, tiles: Sequence[Tile]) -> Image.Image:
    """The sheet as RGB. Texts may hold anything; what the font lacks is drawn as a box."""
    across = max((len(tile.pictures) for tile in tiles), default=1)
    columns = max(1, min(WIDTH // across, len(tiles)))
    width = across * SIDE + (across - 1) * GAP // 2
    height = SIDE + 6 + LINES * LINE + LINE
    top = GAP + 30
    rows = -(-len(tiles) // columns)
    sheet = Image.new(
        "RGB", (max(420, GAP + columns * (width + GAP)), top + max(1, rows) * (height + GAP)), PAPER
    )
    pen = ImageDraw.Draw(sheet)
    large = ImageFont.load_default(18)
    pen.text((GAP, GAP), cut(title, sheet.width - 2 * GAP, large), INK, large)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        _draw_tile(sheet, tile, GAP + column * (width + GAP), top + row * (height + GAP), width)
    return sheet


def _draw_tile(sheet: Image.Image, tile: Tile, x: int, y: int, width: int) -> None:
    pen, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(13), ImageFont.load_default(11)
    for number, picture in enumerate(tile.pictures):
        left = x + number * (SIDE + GAP // 2)
        pen.rectangle((left, y, left + SIDE - 1, y + SIDE - 1), PANEL)
        if picture is None:
            pen.text((left + 8, y + SIDE // 2 - 8), "cannot be shown", SOFT, font)
        else:
            picture = _enlarged(picture)
            sheet.paste(picture, (left + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
    y += SIDE + 6
    lines = wrapped(tile.caption, width, LINES, font)
    for number, line in enumerate(lines):
        pen.text((x, y + number * LINE), line, INK, font)
    pen.text((x, y + len(lines) * LINE + 1), cut(tile.note, width, small), SOFT, small)


def _enlarged(picture: Image.Image) -> Image.Image:
    """A picture as many whole times larger as fit; its pixels stay what they are."""
    times = max(1, SIDE // max(picture.size))
    return picture.resize((times * picture.width, times * picture.height), Image.Resampling.NEAREST)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def wrapped(text: str, width: int, most: int, font: Font) -> list[str]:
    """`text` in at most `most` lines of at most `width` pixels, the last one cut where it does not fit."""
    words = printable(" ".join(text.split())).split()
    lines: list[str] = []
    while words and len(lines) < most:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        last = len(lines) == most - 1
        lines.append(cut(f"{line} {' '.join(words)}".strip() if last else line, width, font))
    return lines


def cut(text: str, width: int, font: Font) -> str:
    """`text` as far as it goes into `width` pixels, with an ellipsis where something is missing."""
    text = printable(text, 400)
    if font.getlength(text) <= width:
        return text
    fits = 0
    for step in (64, 16, 4, 1):
        while font.getlength(text[: fits + step] + "…") <= width:
            fits += step
    return text[:fits].rstrip() + "…"
