"""The knobs of the embedded world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from rankclip import files
from rankclip.data.ingestion.form import Lines
from rankclip.data.shapes.trouble import TroubleSpec
from rankclip.spec import Spec, digest

Share = Annotated[float, Field(ge=0.0, le=1.0)]


SLOTS = ("raw", "detail", "objects", "background", "style")
"""Caption slots of an image: what the web says, and four views that a captioner would give."""


class MentionSpec(Spec):
    """How likely a caption mentions an attribute of an object that it mentions at all."""

    shape: Share
    """What it is, by its name or by that of its family."""

    hue: Share
    """Its colour."""

    size: Share
    """Its size."""

    cell: Share
    """Where it is."""

    fill: Share
    """How it is filled."""

    background: Share
    """What lies behind it; asked once a caption."""

    other_objects: Share
    """Each object after the first."""


class ShapesSpec(Spec):
    """The embedded world, as a list of URLs in CC3M's official form."""

    name: Literal["shapes"] = "shapes"

    seed: NonNegativeInt
    """Everything drawn or written follows from it."""

    images: Annotated[int, Field(ge=10, le=1_000_000)]
    """Images offered for training, before any trouble."""

    side: Annotated[int, Field(ge=16, le=512)]
    """Width and height of a drawn image, pixels."""

    zipf: Annotated[float, Field(ge=0.0, le=3.0)]
    """Exponent of the falling frequencies of shapes, hues, fills and backgrounds; 0 is uniform."""

    digits: Share
    """Share of objects that are printed digits."""

    textures: Share
    """Share of objects that are not solid, and of backgrounds that are patterned."""

    objects: tuple[Share, Share, Share]
    """Shares of images with one, two and three objects; they add up to 1."""

    ambiguity: Share
    """Share of captions that are vague: a hypernym at best."""

    noise: Share
    """Share of captions that describe another image."""

    boilerplate: Share
    """Share of captions with words that belong to no image."""

    mentions: MentionSpec
    """Mention rates of captions that are not vague."""

    pixel_noise: Share
    """Standard deviation of the noise on each pixel, as a share of full brightness."""

    duplicate_urls: Share
    """Share of rows repeated under the same URL."""

    bad_rows: Share
    """Share of extra rows that are not `caption<TAB>http URL`."""

    trouble: TroubleSpec
    """What the world's own web server does wrong."""

    @model_validator(mode="after")
    def _shares_of_objects_are_a_whole(self) -> Self:
        if abs(sum(self.objects) - 1.0) > 1e-6:
            raise ValueError(f"objects {list(self.objects)} add up to {sum(self.objects):g}, not to 1")
        return self

    def write(self, folder: Path) -> Path:
        """Writes `captions.tsv` (the list, returned), `latents.parquet`, `captions.parquet` into `folder`."""
        from rankclip.data.shapes.source import write_source

        return write_source(self, folder)

    @property
    def form(self) -> Lines:
        """CC3M's: captions first."""
        return Lines(first="caption")

    @property
    def has_latents(self) -> bool:
        """How alike two images are is known, because they are drawn."""
        return True

    @property
    def slots(self) -> tuple[str, ...]:
        """Each image has a caption in all of them."""
        return SLOTS

    @property
    def is_indexed(self) -> Literal[False]:
        """Its images are crawled, from its own server."""
        return False

    @property
    def subset(self) -> None:
        """The list is studied whole."""

    @property
    def expected(self) -> None:
        """Nobody else crawled it."""

    @property
    def licence(self) -> str:
        """On what terms the images may be used."""
        return "drawn here: free for any use"

    @property
    def images_digest(self) -> str:
        """Digest of all that the images follow from, the drawing code included."""
        return digest([self.dump(), files.code_digest(("data/shapes",))])

    @contextmanager
    def serve(self) -> Iterator[dict[str, tuple[str, int]]]:
        """Runs the world's web server; yields the hosts it answers for: `{host: (address, port)}`."""
        from rankclip.data.shapes.server import serving

        server: AbstractContextManager[int] = serving(self)
        with server as port:
            yield {HOST: ("127.0.0.1", port)}


HOST = "shapes.invalid"
"""Reserved never to resolve (RFC 2606), so that a crawl cannot leave this machine."""
