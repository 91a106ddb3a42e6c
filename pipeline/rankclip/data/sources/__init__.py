"""Where a study's pairs come from: one file a source, one line of `SourceSpec`.

Every source says `has_latents`, `is_indexed` (its images are at hand: there is no crawl), `expected` and
`licence`. One that is crawled also has `write(folder)`, `form`, `subset`, `images_digest` and `serve()`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rankclip.data.shapes.spec import ShapesSpec
from rankclip.data.sources.cc3m import Cc3mSpec
from rankclip.data.sources.cc12m import Cc12mSpec
from rankclip.data.sources.table import TableSpec
from rankclip.data.sources.webdataset import WebdatasetSpec
from rankclip.errors import InputError

Crawled = ShapesSpec | Cc3mSpec | Cc12mSpec | TableSpec
"""Sources whose images must be fetched."""

SourceSpec = Annotated[Crawled | WebdatasetSpec, Field(discriminator="name")]
"""Every source there is: the registry, the schema and the error text."""

INDEXED = frozenset({"webdataset"})
"""Names of those that are `is_indexed`, for what is not yet a source."""


def crawled(source: Crawled | WebdatasetSpec) -> Crawled:
    """The source, if its images must be fetched.

    Raises:
        InputError: they are at hand.
    """
    if source.is_indexed:
        raise InputError(f"the tars at {source.place} are there already; run `dvc repro index`")
    return source
