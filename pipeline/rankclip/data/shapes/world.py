"""The world: every image, caption and trouble as a function of (seed, index)."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image

from rankclip.data.shapes import captions, draw, trouble
from rankclip.data.shapes.captions import Caption
from rankclip.data.shapes.latents import Latent, draw_latent
from rankclip.data.shapes.spec import HOST, ShapesSpec

STREAMS = {"latent": 0, "image": 1, "raw": 2, "slots": 3, "rows": 4, "benchmark": 5}
"""Each question has its own random stream, so that a change of one knob leaves the answers to the others."""


def generator(seed: int, stream: str, *index: int) -> np.random.Generator:
    """Random numbers that depend on the seed, the question and the index alone."""
    return np.random.default_rng([seed, STREAMS[stream], *index])


class World:
    """The embedded world of a spec."""

    def __init__(self, spec: ShapesSpec) -> None:
        self.spec = spec

    def latent(self, index: int) -> Latent:
        """The true attributes of image `index`."""
        return draw_latent(self.spec, generator(self.spec.seed, "latent", index))

    def image(self, index: int) -> Image.Image:
        """Image `index`: RGB, `spec.side` pixels square."""
        rng = generator(self.spec.seed, "image", index)
        return draw.draw(self.latent(index), rng, self.spec.side, self.spec.pixel_noise)

    def raw(self, index: int) -> tuple[Caption, bool]:
        """The web's caption of image `index`, and whether it tells of this image."""
        return captions.raw(self.spec, self.latent(index), generator(self.spec.seed, "raw", index))

    def slots(self, index: int) -> dict[str, Caption]:
        """The other caption slots of image `index`."""
        return captions.slots(self.spec, self.latent(index), generator(self.spec.seed, "slots", index))

    @functools.cached_property
    def troubles(self) -> list[str]:
        """What the server does with each image."""
        return trouble.assign(self.spec.trouble, self.spec.seed, self.spec.images)

    def trouble(self, index: int) -> str:
        """What the server does with image `index`."""
        return self.troubles[index]

    def url(self, index: int) -> str:
        """The address of image `index`."""
        return f"http://{HOST}/images/{index:07d}.jpg"
