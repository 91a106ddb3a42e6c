"""Rows of a model on a GPU, in full and in half precision."""

from __future__ import annotations

import pytest
import torch

from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import Encoder
from tests.unit.evaluation.known import drawing, unit_rows

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
IMAGES, TEXTS = [drawing(seed) for seed in range(5)], ["a", "a red circle"]


@pytest.mark.parametrize("name", ["shapes-rn", "shapes-vit"])
def test_float32_on_a_gpu_is_without_tf32_and_bfloat16_is_checked_against_it(name: str) -> None:
    spec = ModelSpec.model_validate({"name": name})
    cpu = Encoder(build(spec, seed=0), spec, precision="fp32")
    full, half = (Encoder(build(spec, seed=0).to("cuda"), spec, precision=p) for p in ("fp32", "bf16"))
    before = torch.backends.cudnn.conv.fp32_precision
    torch.testing.assert_close(unit_rows(full, IMAGES).cpu(), unit_rows(cpu, IMAGES), rtol=0, atol=1e-4)
    torch.testing.assert_close(full.encode_texts(TEXTS).cpu(), cpu.encode_texts(TEXTS), rtol=0, atol=1e-4)
    assert torch.backends.cudnn.conv.fp32_precision == before
    unit_rows(half, IMAGES)
    half.encode_texts(TEXTS)
    assert all(0 < value < 0.05 for value in half.rounding.differences.values())
    assert set(half.rounding.differences) == {"images", "texts"}
