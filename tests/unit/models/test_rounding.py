"""Evaluation in bfloat16, and what it costs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from rankclip.models.open_clip import build
from rankclip.models.rounding import Rounding, full
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import Encoder
from tests.unit.evaluation.known import drawing, unit_rows

SPEC = ModelSpec(name="shapes-vit")
TEXTS = ["a red circle", "two stars"]


IMAGES = [drawing(seed) for seed in range(4)]


def test_float32_is_the_model_as_it_is_and_needs_no_check() -> None:
    model = build(SPEC, seed=0)
    encoder = Encoder(model, SPEC)
    pixels = torch.stack([encoder.prepare(image) for image in IMAGES])
    with torch.inference_mode():
        assert torch.equal(unit_rows(encoder, IMAGES), model(pixels, None)[0])
    assert encoder.rounding.differences == {}


def test_half_precision_gives_unit_rows_near_those_of_float32_and_says_how_near() -> None:
    exact, half = (Encoder(build(SPEC, seed=0), SPEC, precision=name) for name in ("fp32", "bf16"))
    for kind, one, other in (
        ("images", unit_rows(exact, IMAGES), unit_rows(half, IMAGES)),
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


def test_a_model_that_half_precision_does_not_fit_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def encode(batch: Tensor) -> Tensor:
        rows = batch @ torch.eye(2)
        return rows if rows.dtype == torch.float32 else rows.flip(1)

    rows = Rounding("bf16", torch.device("cpu")).checked("texts", encode)
    rows(torch.tensor([[1.0, 0.0]]))
    assert "bfloat16 moves unit rows of texts by up to 1" in caplog.text
    assert "--precision fp32" in caplog.text


def test_float32_on_a_gpu_is_without_tf32_and_the_setting_comes_back() -> None:
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [place.fp32_precision for place in places]
    with full(torch.device("cuda")):
        assert [place.fp32_precision for place in places] == ["ieee", "ieee"]
    assert [place.fp32_precision for place in places] == before


def test_float32_on_a_gpu_is_without_tf32_before_torch_2_9(monkeypatch: pytest.MonkeyPatch) -> None:
    places = SimpleNamespace(allow_tf32=True), SimpleNamespace(allow_tf32=True)
    monkeypatch.setattr(torch.backends.cuda, "matmul", places[0])
    monkeypatch.setattr(torch.backends, "cudnn", places[1])
    with full(torch.device("cuda")):
        assert [place.allow_tf32 for place in places] == [False, False]
    assert [place.allow_tf32 for place in places] == [True, True]
