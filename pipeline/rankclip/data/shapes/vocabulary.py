"""What the embedded world is made of, and the words for it.

Each attribute has a structure that a graded similarity can use: shapes form a hierarchy, hues a wheel, sizes
an order, cells a metric grid. The first word of a tuple is the canonical one, used in class names; the rest
are synonyms of captions.
"""

from __future__ import annotations

SHAPES: tuple[tuple[str, ...], ...] = (
    ("circle", "disc", "dot"),
    ("square", "box"),
    ("star", "starlet"),
    ("triangle", "three-sided shape"),
    ("ring", "hoop"),
    ("cross", "plus sign"),
    ("hexagon", "six-sided shape"),
    ("crescent", "half moon"),
    ("arrow", "pointer"),
    ("oval", "ellipse"),
    ("pentagon", "five-sided shape"),
    ("bolt", "lightning"),
)
"""In order of falling frequency (Zipf)."""

DIGITS: tuple[tuple[str, ...], ...] = tuple(
    (f"digit {word}", f"number {word}", f"{word}", f"{value}")
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    )
)

KINDS: tuple[tuple[str, ...], ...] = SHAPES + DIGITS
"""Everything that can be drawn; a `shape` of a latent indexes this table."""

FAMILIES: tuple[tuple[str, ...], ...] = (
    ("polygon", "angular shape", "shape with corners"),
    ("round shape", "something round", "rounded thing"),
    ("pointed shape", "something pointed", "spiky thing"),
    ("digit", "number", "numeral"),
)
"""Hypernyms."""

FAMILY_OF: tuple[int, ...] = (1, 0, 2, 0, 1, 2, 0, 1, 2, 1, 0, 2) + (3,) * len(DIGITS)
"""Family of each kind."""

HUES: tuple[tuple[str, ...], ...] = (
    ("red", "crimson"),
    ("orange", "amber"),
    ("yellow", "golden"),
    ("green", "emerald"),
    ("cyan", "turquoise"),
    ("blue", "azure"),
    ("purple", "violet"),
    ("pink", "magenta"),
)
"""Around the wheel: neighbours look alike, and the last is a neighbour of the first."""

HUE_DEGREES: tuple[float, ...] = (0.0, 28.0, 54.0, 120.0, 178.0, 222.0, 272.0, 320.0)

SIZES: tuple[tuple[str, ...], ...] = (
    ("tiny", "minute"),
    ("small", "little"),
    ("medium-sized", "mid-size"),
    ("large", "big"),
    ("huge", "giant"),
)
"""In order."""

SIZE_RADII: tuple[float, ...] = (0.15, 0.19, 0.235, 0.285, 0.34)
"""Radius as a share of the image side."""

CELLS: tuple[tuple[str, ...], ...] = (
    ("top left", "upper left"),
    ("top", "upper middle"),
    ("top right", "upper right"),
    ("left", "left side"),
    ("center", "middle"),
    ("right", "right side"),
    ("bottom left", "lower left"),
    ("bottom", "lower middle"),
    ("bottom right", "lower right"),
)
"""A 3 x 3 grid, row by row."""

FILLS: tuple[tuple[str, ...], ...] = (
    ("solid", "filled", "plain"),
    ("striped", "stripy"),
    ("dotted", "spotted"),
    ("outlined", "hollow"),
)

BACKGROUNDS: tuple[tuple[str, ...], ...] = (
    ("white", "blank"),
    ("gray", "grey"),
    ("black", "dark"),
    ("checkered", "chessboard"),
    ("lined", "ruled"),
    ("gradient", "shaded"),
)

ATTRIBUTES: dict[str, tuple[tuple[str, ...], ...]] = {
    "shape": KINDS,
    "family": FAMILIES,
    "hue": HUES,
    "size": SIZES,
    "cell": CELLS,
    "fill": FILLS,
    "background": BACKGROUNDS,
}
"""Attribute name -> its words, in the order of its values."""

HELD_OUT_SHAPES: tuple[int, ...] = (0, 1, 2, 5)
HELD_OUT_HUES: tuple[int, ...] = (0, 2, 5, 6)
"""A shape of the first with a hue of the second is never drawn for training: the composition benchmark."""

BOILERPLATE: tuple[str, ...] = (
    "stock photo",
    "clip art",
    "free vector illustration",
    "image for download",
    "royalty free picture",
    "icon on a website",
    "pic of the day",
    "buy now",
    "hd wallpaper",
    "design element",
)

VAGUE: tuple[str, ...] = (
    "a picture of something",
    "an abstract drawing",
    "untitled image",
    "some shapes",
    "a colourful composition",
    "what is this",
)
"""Captions that say nothing about the image."""
