"""What is estimated on shapes is what CUDA allocates."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from rankclip.estimate.memory import captions, memory
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.training.cost import flops_per_pair
from rankclip.training.device import lowered
from tests.unit.training import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_forward_and_backward_allocate_what_was_estimated(precision: Literal["fp32", "bf16"]) -> None:
    pairs, device = 128, torch.device("cuda")
    model = build(ModelSpec(name="ViT-B-32"), 0).train()
    train = tiny.TRAIN.model_copy(update={"batch_size": pairs, "precision": precision})
    estimated = memory(model, train, pairs, 32, "cuda", averaged=False)
    model = build(ModelSpec(name="ViT-B-32"), 0).train().to(device)
    pixels = torch.zeros(pairs, 3, 224, 224, dtype=torch.uint8, device=device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with lowered(device, precision):
        image, text, *_ = model(pixels, captions(pairs, 32).to(device))
    (image.float().sum() + text.float().sum()).backward()
    found = torch.cuda.max_memory_allocated() - before
    assert estimated.activations + estimated.gradients == pytest.approx(found, rel=0.25)


def test_arithmetic_is_counted_alike_on_any_device() -> None:
    model = build(ModelSpec(name="shapes-vit"), 0).train()
    on_host = flops_per_pair(model, 20)
    assert flops_per_pair(model.to("cuda"), 20) == on_host
