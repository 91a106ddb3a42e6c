"""The colours of what trials read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rankclip.sweep.shown import words
from rankclip.sweep.spec import Aim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Shades:
    """Colours of what trials read, and places between the least and the most of it."""

    def __init__(self, values: Sequence[float], aim: Aim) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap

        self.low, self.high = (min(values), max(values)) if values else (0.0, 1.0)
        if self.high == self.low:
            self.low, self.high = self.low - 0.01, self.high + 0.01
        # without the ends, which on white or on black are not seen
        shades = colormaps["viridis"](np.linspace(0.12, 0.88, 256))
        self.colours = ListedColormap(shades if aim.mode == "max" else shades[::-1])

    @property
    def ticks(self) -> list[float]:
        """Both ends, and the middle."""
        return [self.low, (self.low + self.high) / 2, self.high]

    def place(self, value: float | None) -> float:
        """0 to 1; below for what was not read."""
        return -1.0 if value is None else (value - self.low) / (self.high - self.low)

    def colour(self, value: float) -> Any:
        """Of what was read."""
        return self.colours(self.place(value))

    def bar(self, figure: Figure, axes: Axes, aim: Aim) -> None:
        """Beside a plot: which colour is which reading."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        bar = figure.colorbar(
            ScalarMappable(Normalize(self.low, self.high), self.colours), ax=axes, shrink=0.8
        )
        bar.set_ticks(self.ticks, labels=[words.reading(aim, value) for value in self.ticks])
        bar.outline.set_visible(False)
