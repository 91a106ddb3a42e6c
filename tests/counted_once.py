"""A fixture for tests that train: a model's arithmetic is counted once, not in each of many tiny runs."""

from __future__ import annotations

import pytest

from rankclip.models.image_text import ImageTextModel
from rankclip.training import meter
from rankclip.training.cost import flops_per_pair

_COUNTED: dict[tuple[int, int], float] = {}


def _remembered(model: ImageTextModel, caption_length: int) -> float:
    case = sum(parameter.numel() for parameter in model.parameters()), caption_length
    if case not in _COUNTED:
        _COUNTED[case] = flops_per_pair(model, caption_length)
    return _COUNTED[case]


@pytest.fixture(autouse=True)
def counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # to count takes as long as to train seven steps
    monkeypatch.setattr(meter, "flops_per_pair", _remembered)
