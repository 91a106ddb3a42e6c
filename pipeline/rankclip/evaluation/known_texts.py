"""The text side of a split that is embedded: rows of whatever texts its tasks ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class KnownTexts:
    """Rows of texts; each is embedded once, and equal texts have equal rows in every call.

    Args:
        encode: rows `[M, D]` of M distinct texts.
        first: the texts of the split itself, which are embedded before any others, and together: a row's last
            bits then do not depend on which tasks are measured.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], first: Sequence[str]) -> None:
        self._encode = encode
        self._first = first
        self._places: dict[str, int] = {}
        self._rows: Tensor | None = None

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit rows `[M, D]` of M texts, float32 on the CPU.

        Raises:
            DataError: a row is not finite.
        """
        if self._rows is None:
            self._add(self._first)
        self._add(texts)
        if self._rows is None:
            raise ValueError("no texts were given, and the split has none; give at least one")
        return self._rows[torch.tensor([self._places[text] for text in texts], dtype=torch.int64)]

    def _add(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._places]
        if not new:
            return
        rows = self._encode(new)
        self._rows = rows if self._rows is None else torch.cat([self._rows, rows])
        for text in new:
            self._places[text] = len(self._places)
