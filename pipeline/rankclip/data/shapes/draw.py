"""Drawing: a latent and a random generator in, an image out."""

from __future__ import annotations

import colorsys
import functools
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rankclip.data.shapes import vocabulary as words
from rankclip.data.shapes.latents import Latent, Thing

OVERSAMPLING = 4
"""Drawn this much larger, then reduced: edges come out smooth."""

FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "STIXGeneral.ttf")
"""Fonts that matplotlib bundles, so that digits look the same everywhere."""

Point = tuple[float, float]


def draw(latent: Latent, rng: np.random.Generator, side: int, pixel_noise: float) -> Image.Image:
    """The image `[side, side]`, RGB, of `latent`; jitter of place, turn, shade and font comes from `rng`."""
    large = side * OVERSAMPLING
    canvas = background(latent.background, rng, large)
    for thing in sorted(latent.things, key=lambda thing: -thing.size):
        mask = silhouette(thing, rng, large)
        canvas.paste(shade(thing.hue, rng), (0, 0), mask)
    small = canvas.resize((side, side), Image.Resampling.BOX)
    if pixel_noise == 0.0:
        return small
    pixels = np.asarray(small, dtype=np.float32)
    pixels = pixels + rng.normal(0.0, 255.0 * pixel_noise, pixels.shape).astype(np.float32)
    return Image.fromarray(pixels.clip(0.0, 255.0).round().astype(np.uint8))


def line_drawing(shape: int, rng: np.random.Generator, side: int) -> Image.Image:
    """A thin black outline on white: the shift set, drawn in a manner that training never shows."""
    large = side * OVERSAMPLING
    thing = Thing(shape=shape, hue=0, size=int(rng.integers(2, 5)), cell=4, fill=3)
    mask = silhouette(thing, rng, large, line=0.018)
    canvas = Image.new("RGB", (large, large), (255, 255, 255))
    canvas.paste((20, 20, 20), (0, 0), mask)
    return canvas.resize((side, side), Image.Resampling.BOX)


def shade(hue: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """A colour near `hue`, its hue, saturation and brightness jittered."""
    degrees = words.HUE_DEGREES[hue] + rng.uniform(-7.0, 7.0)
    red, green, blue = colorsys.hsv_to_rgb(
        (degrees % 360.0) / 360.0, rng.uniform(0.75, 1.0), rng.uniform(0.75, 1.0)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def background(kind: int, rng: np.random.Generator, side: int) -> Image.Image:
    """The canvas `[side, side]` of a background of `vocabulary.BACKGROUNDS`."""
    name = words.BACKGROUNDS[kind][0]
    base = {"white": 245, "gray": 140, "black": 18, "checkered": 225, "lined": 225, "gradient": 0}[name]
    level = int(np.clip(base + rng.integers(-10, 11), 0, 255))
    if name == "gradient":
        low, high = sorted(rng.integers(30, 226, size=2))
        ramp = np.linspace(low, max(high, low + 90), side).clip(0, 255).astype(np.uint8)
        return Image.fromarray(np.repeat(np.tile(ramp, (side, 1))[:, :, None], 3, axis=2))
    canvas = Image.new("RGB", (side, side), (level, level, level))
    pen = ImageDraw.Draw(canvas)
    dark = (level - 75,) * 3
    step = side // 8
    if name == "checkered":
        for row in range(8):
            for column in range(row % 2, 8, 2):
                pen.rectangle((column * step, row * step, (column + 1) * step, (row + 1) * step), fill=dark)
    elif name == "lined":
        for row in range(8):
            pen.rectangle((0, row * step, side, row * step + step // 4), fill=dark)
    return canvas


def silhouette(thing: Thing, rng: np.random.Generator, side: int, line: float = 0.035) -> Image.Image:
    """The mask `[side, side]`, one byte a pixel, of an object: its place, turn and fill.

    `line` is the width of an outline as a share of the side.
    """
    row, column = divmod(thing.cell, 3)
    radius = words.SIZE_RADII[thing.size] * side * rng.uniform(0.93, 1.07)
    margin = radius + 0.01 * side
    centre = [
        float(np.clip(side * (0.2 + 0.3 * place) + rng.uniform(-0.04, 0.04) * side, margin, side - margin))
        for place in (column, row)
    ]
    mask = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(mask)
    turn = rng.uniform(-0.22, 0.22)
    if thing.shape >= len(words.SHAPES):
        digit(pen, thing, rng, (centre[0], centre[1]), radius)
        return (
            mask
            if thing.fill in (0, 3)
            else Image.composite(mask, Image.new("L", mask.size), texture(thing.fill, side))
        )
    rings = contours(words.SHAPES[thing.shape][0], turn, radius, (centre[0], centre[1]))
    if words.FILLS[thing.fill][0] == "outlined":
        width = max(2, round(line * side))
        for ring in rings:
            pen.line([*ring, ring[0], ring[1]], fill=255, width=width, joint="curve")
        return mask
    pen.polygon(rings[0], fill=255)
    for hole in rings[1:]:
        pen.polygon(hole, fill=0)
    if thing.fill == 0:
        return mask
    return Image.composite(mask, Image.new("L", mask.size), texture(thing.fill, side))


@functools.lru_cache(maxsize=16)
def texture(fill: int, side: int) -> Image.Image:
    """Where a striped or dotted object shows its colour: a mask `[side, side]`."""
    rows, columns = np.mgrid[0:side, 0:side]
    period = side // 10
    if words.FILLS[fill][0] == "striped":
        shown = ((rows + columns) // (period // 2)) % 2 == 0
    else:
        shown = ((rows % period) - period / 2) ** 2 + ((columns % period) - period / 2) ** 2 > (
            0.33 * period
        ) ** 2
    return Image.fromarray((shown * 255).astype(np.uint8))


def contours(name: str, turn: float, radius: float, centre: Point) -> list[list[Point]]:
    """Closed outlines of a shape in pixels, the outer one first, then its holes."""

    def place(points: list[Point]) -> list[Point]:
        cosine, sine = math.cos(turn), math.sin(turn)
        return [
            (centre[0] + radius * (x * cosine - y * sine), centre[1] + radius * (x * sine + y * cosine))
            for x, y in points
        ]

    if name == "ring":
        return [place(regular(48)), place([(0.55 * x, 0.55 * y) for x, y in regular(48)])]
    return [place(OUTLINES[name])]


def regular(corners: int, phase: float = 0.0) -> list[Point]:
    """The corners of a regular polygon in the unit circle, the first at the top."""
    angles = [2 * math.pi * k / corners - math.pi / 2 + phase for k in range(corners)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def star() -> list[Point]:
    """Five points."""
    tips = regular(5)
    dents = [(0.42 * x, 0.42 * y) for x, y in regular(5, math.pi / 5)]
    return [point for pair in zip(tips, dents, strict=True) for point in pair]


def crescent() -> list[Point]:
    """A disc less a shifted disc."""
    outer = [(math.cos(a), math.sin(a)) for a in np.linspace(0.25 * math.pi, 1.75 * math.pi, 32)]
    tip = outer[0]
    bend = [(tip[0] - 0.75 * math.sin(math.pi * s), tip[1] * (1 - 2 * s)) for s in np.linspace(0.0, 1.0, 24)]
    return [*outer, *reversed(bend)]


OUTLINES: dict[str, list[Point]] = {
    "circle": regular(48),
    "oval": [(x, 0.55 * y) for x, y in regular(48)],
    "square": regular(4, math.pi / 4),
    "triangle": regular(3),
    "pentagon": regular(5),
    "hexagon": regular(6),
    "star": star(),
    "crescent": crescent(),
    "cross": [
        (-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3),
        (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3),
    ],
    "arrow": [(1, 0), (0.2, -0.8), (0.2, -0.3), (-1, -0.3), (-1, 0.3), (0.2, 0.3), (0.2, 0.8)],
    "bolt": [(0.25, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.3, 1), (0.6, -0.25), (0.05, -0.25)],
}  # fmt: skip
"""Unit outlines, x to the right and y down."""


@functools.lru_cache(maxsize=256)
def font(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    """One of the bundled fonts at a height in pixels."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), pixels)


def digit(
    pen: ImageDraw.ImageDraw, thing: Thing, rng: np.random.Generator, centre: Point, radius: float
) -> None:
    """Prints a digit into a circle; an outlined one is hollow."""
    face = font(FONTS[int(rng.integers(len(FONTS)))], max(8, round(2.1 * radius)))
    text = str(thing.shape - len(words.SHAPES))
    if words.FILLS[thing.fill][0] == "outlined":
        stroke = max(2, round(0.12 * radius))
        pen.text(centre, text, fill=255, font=face, anchor="mm", stroke_width=stroke)
        pen.text(centre, text, fill=0, font=face, anchor="mm")
    else:
        pen.text(centre, text, fill=255, font=face, anchor="mm")
