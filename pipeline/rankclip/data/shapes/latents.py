"""The true attributes of an image, drawn from falling frequencies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rankclip.data.shapes import vocabulary as words

if TYPE_CHECKING:
    from rankclip.data.shapes.spec import ShapesSpec


@dataclass(frozen=True)
class Thing:
    """One object of an image; each field is an index into the table of `vocabulary` of that name."""

    shape: int
    hue: int
    size: int
    cell: int
    fill: int

    @property
    def family(self) -> int:
        """The hypernym of the shape."""
        return words.FAMILY_OF[self.shape]


@dataclass(frozen=True)
class Latent:
    """What is true of an image."""

    things: tuple[Thing, ...]
    background: int


def frequencies(count: int, exponent: float) -> np.ndarray:
    """Zipf: the k-th most frequent of `count` values has a probability like k ** -exponent. `[count]`"""
    weights: np.ndarray = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    shares: np.ndarray = weights / weights.sum()
    return shares


def held_out(thing: Thing) -> bool:
    """Whether this pair of shape and hue is kept for the composition benchmark."""
    return thing.shape in words.HELD_OUT_SHAPES and thing.hue in words.HELD_OUT_HUES


def draw_thing(spec: ShapesSpec, rng: np.random.Generator, cell: int) -> Thing:
    """An object as training sees them: never one of the held-out pairs."""
    while True:
        if rng.random() < spec.digits:
            shape = len(words.SHAPES) + int(rng.integers(len(words.DIGITS)))
        else:
            shape = int(rng.choice(len(words.SHAPES), p=frequencies(len(words.SHAPES), spec.zipf)))
        thing = Thing(
            shape=shape,
            hue=int(rng.choice(len(words.HUES), p=frequencies(len(words.HUES), spec.zipf))),
            size=int(rng.integers(len(words.SIZES))),
            cell=cell,
            fill=textured(spec, rng, len(words.FILLS), plain=1),
        )
        if not held_out(thing):
            return thing


def draw_latent(spec: ShapesSpec, rng: np.random.Generator, objects: int | None = None) -> Latent:
    """The attributes of one training image, with `objects` objects or as many as the shares say."""
    count = objects or 1 + int(rng.choice(3, p=np.array(spec.objects) / sum(spec.objects)))
    cells = rng.choice(len(words.CELLS), size=count, replace=False)
    things = tuple(draw_thing(spec, rng, int(cell)) for cell in cells)
    if count > 1:  # so that none hides the others
        things = tuple(replace(thing, size=min(thing.size, 3)) for thing in things)
    return Latent(things, textured(spec, rng, len(words.BACKGROUNDS), plain=3))


def textured(spec: ShapesSpec, rng: np.random.Generator, count: int, plain: int) -> int:
    """One of `count` fills or backgrounds, of which the first `plain` have no texture."""
    first, last = (plain, count) if rng.random() < spec.textures else (0, plain)
    return first + int(rng.choice(last - first, p=frequencies(last - first, spec.zipf)))
