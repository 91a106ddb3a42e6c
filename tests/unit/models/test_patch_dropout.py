"""Patches of an image that a ViT is not shown: in training alone, and of ViTs alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from rankclip.errors import InputError
from rankclip.models.image_text import ImageTextModel
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.training.averaged import Averaged

VIT = ModelSpec(name="shapes-vit")
IMAGES = torch.randint(0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def embedded(model: ImageTextModel, seed: int) -> Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        rows: Tensor = model(IMAGES, None)[0]
    return rows


def seen(model: ImageTextModel) -> list[int]:
    """Tokens that the blocks of the image tower are given, its class token included."""
    lengths: list[int] = []
    block = model.clip.get_submodule("visual.transformer.resblocks.0")
    hook = block.register_forward_pre_hook(lambda module, given: lengths.append(given[0].shape[1]))
    embedded(model, 0)
    hook.remove()
    return lengths


@pytest.mark.parametrize(("share", "left"), [(0.0, 64), (0.25, 48), (0.5, 32), (0.999, 1)])
def test_in_training_so_many_patches_are_left_and_in_evaluation_all(share: float, left: int) -> None:
    model = build(VIT, seed=0, patch_dropout=share)
    assert seen(model.train()) == [1 + left]
    assert seen(model.eval()) == [1 + 64]


def test_a_model_that_leaves_out_patches_has_the_weights_and_the_answers_of_one_that_does_not() -> None:
    model, plain = build(VIT, seed=3, patch_dropout=0.5), build(VIT, seed=3)
    weights, others = model.state_dict(), plain.state_dict()
    assert list(weights) == list(others)
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert torch.equal(embedded(model.eval(), 0), embedded(plain.eval(), 0))


def test_which_patches_are_left_out_follows_from_the_random_state() -> None:
    model = build(VIT, seed=0, patch_dropout=0.5).train()
    assert torch.equal(embedded(model, 1), embedded(model, 1))
    assert not torch.equal(embedded(model, 1), embedded(model, 2))


def test_the_averaged_model_sees_all_patches() -> None:
    model = build(VIT, seed=0, patch_dropout=0.5).train()
    averaged = Averaged(model, 0.9)
    averaged.update(model, 1)
    assert seen(averaged.model) == [1 + 64]
    assert torch.equal(embedded(averaged.model, 1), embedded(copy.deepcopy(model).eval(), 2))


@pytest.mark.parametrize("name", ["shapes-rn", "RN50"])
def test_a_resnet_has_no_patches_to_leave_out(name: str) -> None:
    spec = ModelSpec.model_validate({"name": name})
    with pytest.raises(InputError, match=rf"train\.patch_dropout 0\.5 leaves out .* {name} is a ResNet; use"):
        build(spec, seed=0, patch_dropout=0.5)
