from __future__ import annotations

from typing import Any

import pytest
import torch

from rankclip.estimate.memory import Living, Memory, captions, memory
from rankclip.models.image_text import ImageTextModel
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.objectives.accumulate import CHUNK_BYTES
from rankclip.training.recompute import recompute
from tests.unit.training import tiny

VIT = ModelSpec(name="shapes-vit")


def needed(
    pairs: int = 32, model: ImageTextModel | None = None, averaged: bool = False, **changes: Any
) -> Memory:
    train = tiny.TRAIN.model_copy(update={"batch_size": pairs, **changes})
    model = model or build(VIT, 0).train()
    return memory(model, train, pairs, 16, "cpu", averaged=averaged)


@pytest.fixture(scope="module")
def plain() -> Memory:
    return needed()


def test_shapes_live_as_long_as_the_tensors_of_a_real_step(plain: Memory) -> None:
    model = build(VIT, 0).train()
    pixels = torch.zeros(32, 3, 32, 32)
    tokens, constants = model.trim(captions(32, 16))
    with Living([*model.clip.parameters(), *model.clip.buffers(), pixels, tokens]) as living:
        image, text, *_ = torch.func.functional_call(model.clip, constants, (pixels, tokens))
        (image.sum() + text.sum()).backward()
    assert plain.activations + plain.gradients == pytest.approx(living.most, rel=0.02)


def test_weights_gradients_and_averages_are_of_every_parameter(plain: Memory) -> None:
    count = 4 * sum(parameter.numel() for parameter in build(VIT, 0).parameters())
    assert (plain.weights, plain.gradients, plain.averages) == (count, count, 2 * count)
    assert needed(averaged=True).averages == 3 * count
    assert plain.total == sum(plain)


def test_activations_grow_with_the_pairs_that_pass_at_once(plain: Memory) -> None:
    double = needed(64)
    assert double.activations == pytest.approx(2 * plain.activations, rel=0.1)
    assert needed(64, micro_batch=32).activations == pytest.approx(plain.activations, rel=0.01)


def test_half_precision_and_computing_again_need_less(plain: Memory) -> None:
    assert needed(precision="bf16").activations < 0.8 * plain.activations
    again = build(VIT, 0).train()
    recompute(again)
    assert needed(model=again).activations < 0.6 * plain.activations


def test_the_loss_never_takes_more_than_a_chunk() -> None:
    assert needed(4096, micro_batch=2).loss < 2 * CHUNK_BYTES["cpu"]
