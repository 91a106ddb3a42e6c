"""Benchmarks drawn from the world: one attribute asked, the others as they come."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from rankclip.data.shapes import draw, latents
from rankclip.data.shapes import vocabulary as words
from rankclip.data.shapes.captions import Caption, truthful
from rankclip.data.shapes.latents import Latent, Thing
from rankclip.data.shapes.similarity import features, gains
from rankclip.data.shapes.spec import ShapesSpec
from rankclip.data.shapes.world import generator
from rankclip.errors import InputError

MOST_TRIES = 1000

SPLITS = {"val": 0, "test": 1, "train": 2}
"""Numbers of the splits in the random streams."""

Change = Callable[[Latent, int], Latent]


@dataclass(frozen=True)
class Task:
    """A classification task: class names, prompts, and how a class is put into a latent."""

    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    change: Change


def with_thing(latent: Latent, **values: int) -> Latent:
    """The latent with these attributes of its first object."""
    return Latent((replace(latent.things[0], **values),), latent.background)


def names(attribute: str, count: int | None = None) -> tuple[str, ...]:
    """Canonical words of an attribute."""
    return tuple(options[0] for options in words.ATTRIBUTES[attribute][:count])


PAIRS = tuple((shape, hue) for shape in words.HELD_OUT_SHAPES for hue in words.HELD_OUT_HUES)

TASKS: dict[str, Task] = {
    "shape": Task(
        names("shape", len(words.SHAPES)),
        ("a {c}", "{c}", "a drawing of a {c}"),
        lambda latent, c: with_thing(latent, shape=c),
    ),
    "colour": Task(
        names("hue"), ("a {c} shape", "{c}", "shape in {c}"), lambda latent, c: with_thing(latent, hue=c)
    ),
    "size": Task(
        names("size"), ("a {c} shape", "{c}", "shape, {c}"), lambda latent, c: with_thing(latent, size=c)
    ),
    "position": Task(
        names("cell"),
        ("a shape at the {c}", "a shape in the {c}", "{c}: a shape"),
        lambda latent, c: with_thing(latent, cell=c),
    ),
    "background": Task(
        names("background"),
        ("a shape on a {c} background",),
        lambda latent, c: Latent(latent.things[:1], c),
    ),
    "composition": Task(
        tuple(f"{words.HUES[hue][0]} {words.SHAPES[shape][0]}" for shape, hue in PAIRS),
        ("a {c}", "{c}", "a drawing of a {c}"),
        lambda latent, c: with_thing(latent, shape=PAIRS[c][0], hue=PAIRS[c][1]),
    ),
}

LINE_DRAWINGS = Task(TASKS["shape"].classnames, ("a {c}", "{c}", "an outlined {c}"), TASKS["shape"].change)


@dataclass(frozen=True)
class Drawn:
    """A drawn split: `labels` for classification, five `captions` an image and `gains` for retrieval."""

    images: list[bytes]
    classnames: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    labels: list[int] | None = None
    captions: list[tuple[str, ...]] | None = None
    gains: np.ndarray | None = None
    """`[images, captions]`, float32."""
    latents: np.ndarray | None = None
    """`[images, 54]`, float32, of unit length."""


def png(image: Image.Image) -> bytes:
    """The image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def recipe(task: str) -> Task:
    """The task of a name: one of `TASKS`, or `outline`."""
    return LINE_DRAWINGS if task == "outline" else TASKS[task]


def draw_classes(spec: ShapesSpec, task: str, split: str, images: int) -> Drawn:
    """A balanced classification split of one task of `TASKS`, or `outline`: line drawings of the shapes."""
    made: list[bytes] = []
    labels: list[int] = []
    asked = recipe(task)
    number = [*TASKS, "outline"].index(task)
    for index in range(images):
        rng = generator(spec.seed, "benchmark", number, SPLITS[split], index)
        label = index % len(asked.classnames)
        if task == "outline":
            image = draw.line_drawing(label, rng, spec.side)
        else:
            latent = asked.change(single(spec, rng), label)
            while task != "composition" and latents.held_out(latent.things[0]):
                latent = asked.change(single(spec, rng), label)
            image = draw.draw(latent, rng, spec.side, spec.pixel_noise)
        made.append(png(image))
        labels.append(label)
    return Drawn(made, asked.classnames, asked.templates, labels)


def single(spec: ShapesSpec, rng: np.random.Generator) -> Latent:
    """One object that is no digit, on any background; tiny ones are left to the size task."""
    latent = latents.draw_latent(spec, rng, objects=1)
    thing: Thing = latent.things[0]
    if thing.shape >= len(words.SHAPES):
        thing = replace(thing, shape=int(rng.integers(len(words.SHAPES))))
    return Latent((replace(thing, size=max(thing.size, 1)),), latent.background)


def telling(spec: ShapesSpec, truth: Latent, rng: np.random.Generator) -> list[Caption]:
    """Five captions true of `truth` that say at least two things.

    Raises:
        InputError: captions of this world say too little.
    """
    tries = (truthful(spec, truth, rng, ambiguity=0.0) for _ in range(MOST_TRIES))
    said = list(itertools.islice((caption for caption in tries if len(caption.claims) >= 2), 5))
    if len(said) < 5:
        raise InputError(
            f"source.mentions are so rare that {MOST_TRIES} captions of an image hold {len(said)} with two "
            "claims, of the 5 that retrieval asks for; raise them"
        )
    return said


def draw_retrieval(spec: ShapesSpec, split: str, images: int) -> Drawn:
    """Images with five captions each that say at least two things, the gain of every pair, and latents."""
    made: list[bytes] = []
    truths: list[Latent] = []
    said: list[list[Caption]] = []
    for index in range(images):
        rng = generator(spec.seed, "benchmark", 99, SPLITS[split], index)
        truth = latents.draw_latent(spec, rng)
        truths.append(truth)
        made.append(png(draw.draw(truth, rng, spec.side, spec.pixel_noise)))
        said.append(telling(spec, truth, rng))
    every = [caption for five in said for caption in five]
    return Drawn(
        made,
        captions=[tuple(caption.text for caption in five) for five in said],
        gains=gains(truths, every),
        latents=features(truths),
    )
