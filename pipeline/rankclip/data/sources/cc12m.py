"""Conceptual 12M, 12.4 million rows (Changpinyo et al., CVPR 2021), and any list in its form."""

from __future__ import annotations

from typing import Literal

from rankclip.data.ingestion.form import Lines
from rankclip.data.sources.listed import ListSpec


class Cc12mSpec(ListSpec):
    """`url<TAB>caption` a line, no header, UTF-8: the form of `cc12m.tsv`."""

    name: Literal["cc12m"]

    @property
    def form(self) -> Lines:
        """URLs first."""
        return Lines(first="url")
