"""Conceptual Captions, 3.3 million rows (Sharma et al., ACL 2018), and any list in its form."""

from __future__ import annotations

from typing import Literal

from rankclip.data.ingestion.form import Lines
from rankclip.data.sources.listed import ListSpec


class Cc3mSpec(ListSpec):
    """`caption<TAB>url` a line, no header, UTF-8: the form of `Train_GCC-training.tsv`."""

    name: Literal["cc3m"]

    @property
    def form(self) -> Lines:
        """Captions first."""
        return Lines(first="caption")
