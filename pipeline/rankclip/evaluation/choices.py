"""Two captions of an image, one true and one false: does the model prefer the true one?

SugarCrepe, Hsieh et al., NeurIPS 2023: false captions that read as well as true ones, of seven categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from rankclip.data.benchmarks.sugarcrepe import CATEGORIES, Choice
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Items, Measured

SUGARCREPE = "sugarcrepe"
"""Protocol of the published script: the true caption must score higher; a tie is wrong."""


def measure(embedded: Embedded, choices: Sequence[Choice]) -> list[Measured]:
    """Accuracy `<category>_accuracy` of each category that occurs, and `mean_accuracy` over them."""
    images = embedded.images[torch.tensor([choice.image for choice in choices])]
    texts = embedded.texts([text for choice in choices for text in (choice.caption, choice.negative)])
    right = prefers((images * texts[::2]).sum(dim=1), (images * texts[1::2]).sum(dim=1))
    measured = []
    for category in CATEGORIES:
        of_it = torch.tensor([choice.category == category for choice in choices])
        if bool(of_it.any()):
            value = right[of_it]
            items = Items(torch.zeros_like(value, dtype=torch.int64), (value == 0).long(), value)
            measured.append(Measured.mean(f"{category}_accuracy", SUGARCREPE, items))
    mean = fmean(one.value for one in measured)
    return [*measured, Measured("mean_accuracy", SUGARCREPE, mean)]


def prefers(true: Tensor, false: Tensor) -> Tensor:
    """`[N]` of 0 or 1, float64: is the score of the true caption higher than that of the false one?"""
    return (true > false).double()
