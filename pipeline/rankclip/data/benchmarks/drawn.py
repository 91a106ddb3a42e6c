"""Benchmarks drawn from the embedded world, with other random numbers than the images of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rankclip.data.benchmarks.content import SPLITS, TRAIN, Content, SplitName, key
from rankclip.errors import InputError
from rankclip.spec import Spec

if TYPE_CHECKING:
    from rankclip.data.shapes.benchmarks import Drawn
    from rankclip.data.shapes.spec import ShapesSpec


class DrawnBenchmark(Spec):
    """Zero-shot classification of one attribute of the world."""

    name: Literal["shape", "colour", "size", "position", "background", "composition", "outline"]
    """The attribute asked; `lines` says what each asks."""

    lines: ClassVar[Mapping[str, str]] = {
        "shape": "What the object is.",
        "colour": "Which colour it has.",
        "size": "How large it is.",
        "position": "Where it is in the image.",
        "background": "What lies behind it.",
        "composition": "Shape and colour together, in pairs that no training image has.",
        "outline": "What is drawn in outline, a style that no training image has.",
    }
    """What each benchmark asks, for lists of them."""

    splits: ClassVar[tuple[SplitName, ...]] = (*SPLITS, TRAIN)
    """In the order of writing."""

    images: Annotated[int, Field(ge=10, le=100_000)]
    """Images in each split, classes in turn; `train` has at least two of each class."""

    def content(self, source: Spec, split: SplitName) -> Content:
        """Draws one split.

        Raises:
            InputError: the study's source is not the world.
        """
        from rankclip.data.shapes import benchmarks

        fewest = 2 * len(benchmarks.recipe(self.name).classnames) if split == TRAIN else 0
        images = max(self.images, fewest)
        return _content(benchmarks.draw_classes(_world(self.name, source), self.name, split, images))


class DrawnRetrieval(Spec):
    """Five captions an image, with the graded relevance of every caption to every image."""

    name: Literal["retrieval"] = "retrieval"

    task: ClassVar[Literal["retrieval"]] = "retrieval"
    """No classes; a benchmark that does not say is a classification."""

    splits: ClassVar[tuple[SplitName, ...]] = SPLITS
    """In the order of writing."""

    images: Annotated[int, Field(ge=10, le=5_000)]
    """Images in each split; the table of gains has five times their square."""

    def content(self, source: Spec, split: SplitName) -> Content:
        """Draws one split.

        Raises:
            InputError: the study's source is not the world.
        """
        from rankclip.data.shapes import benchmarks

        return _content(benchmarks.draw_retrieval(_world(self.name, source), split, self.images))


def _world(name: str, source: Spec) -> ShapesSpec:
    from rankclip.data.shapes.spec import ShapesSpec

    if isinstance(source, ShapesSpec):
        return source
    chosen = getattr(source, "name", type(source).__name__)
    raise InputError(
        f"benchmark {name} is drawn by source shapes, but the study's source is {chosen}; "
        "take it out of evaluation.benchmarks"
    )


def _content(drawn: Drawn) -> Content:
    from rankclip.data.benchmarks.benchmark import Sample

    labels: Sequence[int | None] = drawn.labels or [None] * len(drawn.images)
    captions: Sequence[tuple[str, ...]] = drawn.captions or [()] * len(drawn.images)
    samples = [
        Sample(key(number), image, "png", label, said)
        for number, (image, label, said) in enumerate(zip(drawn.images, labels, captions, strict=True))
    ]
    return Content(samples, drawn.classnames, drawn.templates, drawn.gains, drawn.latents)
