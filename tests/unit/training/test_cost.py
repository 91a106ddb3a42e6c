from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from rankclip.models.image_text import ImageTextModel
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.training.cost import flops_per_pair, peak_flops, peak_of


@pytest.fixture(scope="module")
def resnet() -> ImageTextModel:
    return build(ModelSpec(name="shapes-rn"), 0).train()


def test_shapes_tell_the_arithmetic_that_a_step_makes(resnet: ImageTextModel) -> None:
    pixels = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    tokens = torch.zeros(3, 77, dtype=torch.int64)
    tokens[:, 20] = 49407
    with FlopCounterMode(display=False) as counter:
        image, text, *_ = resnet(pixels, tokens)
        (image.sum() + text.sum()).backward()
    resnet.zero_grad()
    # this PyTorch may count the fused attention of CPUs otherwise, which is a little of this model
    assert flops_per_pair(resnet, 21) == pytest.approx(counter.get_total_flops() / 3, rel=0.03)


def test_counting_leaves_weights_statistics_and_random_numbers_alone(resnet: ImageTextModel) -> None:
    before = {name: tensor.clone() for name, tensor in resnet.state_dict().items()}
    state = torch.get_rng_state()
    flops_per_pair(resnet, 16)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in resnet.state_dict().items())
    assert all(parameter.grad is None for parameter in resnet.parameters())


def test_longer_captions_cost_more_and_patches_left_out_cost_nothing(resnet: ImageTextModel) -> None:
    assert flops_per_pair(resnet, 16) < flops_per_pair(resnet, 77)
    whole, half = (
        build(ModelSpec(name="shapes-vit"), 0, patch_dropout=share).train() for share in (0.0, 0.5)
    )
    assert flops_per_pair(half, 16) < 0.7 * flops_per_pair(whole, 16)


@pytest.mark.parametrize(
    ("name", "bf16"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12),
        ("Tesla V100-SXM2-32GB", None),
    ],
)
def test_a_gpu_is_known_by_the_words_of_its_name(name: str, bf16: float | None) -> None:
    peak = peak_of(name)
    assert peak is not None
    assert peak.bf16 == bf16


def test_of_other_devices_no_peak_is_said() -> None:
    assert peak_of("NVIDIA A1000 Laptop GPU") is None
    assert peak_flops(torch.device("cpu"), "fp32") is None
