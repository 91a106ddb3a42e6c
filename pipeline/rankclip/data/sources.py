"""Where a study's list of captions and URLs comes from: one file a source, one line of `SourceSpec`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rankclip.data.shapes.spec import ShapesSpec
from rankclip.data.tsv import TsvSpec

SourceSpec = Annotated[ShapesSpec | TsvSpec, Field(discriminator="name")]
"""Every source there is: the registry, the schema and the error text."""
