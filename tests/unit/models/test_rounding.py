"""Evaluation in bfloat16, and what it costs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rankclip.models.open_clip import Encoder, build
from rankclip.models.rounding import Rounding
from rankclip.models.spec import ModelSpec
from tests.unit.evaluation.known import drawing

SPEC = ModelSpec(name="shapes-vit")
TEXTS = ["a red circle", "two stars"]


IMAGES = [drawing(seed) for seed in range(4)]


def test_float32_is_the_model_as_it_is_and_needs_no_check() -> None:
    model = build(SPEC, seed=0)
    encoder = Encoder(model, SPEC)
    pixels = torch.stack([encoder.prepare(image) for image in IMAGES])
    with torch.inference_mode():
        assert torch.equal(encoder.encode_images(IMAGES), model(pixels, None)[0])
    assert encoder.rounding.differences == {}


def test_half_precision_gives_unit_rows_near_those_of_float32_and_says_how_near() -> None:
    exact, half = (Encoder(build(SPEC, seed=0), SPEC, precision=name) for name in ("fp32", "bf16"))
    for kind, one, other in (
        ("images", exact.encode_images(IMAGES), half.encode_images(IMAGES)),
        ("texts", exact.encode_texts(TEXTS), half.encode_texts(TEXTS)),
    ):
        assert other.dtype == torch.float32
        assert torch.allclose(other.norm(dim=1), torch.ones(len(other)), atol=1e-6)
        largest = float((one - other).abs().max())
        assert 0 < largest < 0.05
        assert half.rounding.differences[kind] == pytest.approx(largest, abs=1e-7)


def test_only_the_first_batch_of_a_kind_is_computed_twice() -> None:
    calls: list[int] = []

    def encode(batch: Tensor) -> Tensor:
        calls.append(len(batch))
        return batch @ torch.eye(4)

    rounding = Rounding("bf16", torch.device("cpu"))
    encoded = rounding.checked("images", encode)
    encoded(torch.ones(3, 4))
    encoded(torch.ones(2, 4))
    rounding.checked("images", encode)(torch.ones(1, 4))
    assert calls == [3, 3, 2, 1]
