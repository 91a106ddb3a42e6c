"""A step: its gradient clipped, its towers in half precision, and nothing changed where it is not finite."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rankclip.models.image_text import ImageTextModel
from rankclip.models.open_clip import build, tokenize
from rankclip.models.spec import ModelSpec
from rankclip.objectives import Objective
from rankclip.training import gradients
from rankclip.training.optim import build_optimizer
from rankclip.training.step import Step, shuffle_of, train_step
from tests.numerics.towers import OBJECTIVES, Towers, assert_close, batch, moved
from tests.unit.training import tiny

MODELS = [ModelSpec(name="shapes-rn"), ModelSpec(name="shapes-vit")]
PAIRS = 12
CLIP = OBJECTIVES["clip"]


def images(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (PAIRS, 3, 32, 32), generator=generator, dtype=torch.uint8)


def trained(
    model: ImageTextModel, spec: ModelSpec, steps: int = 1, optimizer: Any = None,
    objective: Objective = tiny.OBJECTIVE, **options: Any,
) -> list[Step]:  # fmt: skip
    """Steps of the tiny recipe, each with a batch of its own."""
    optimizer = optimizer or build_optimizer(model, tiny.TRAIN)
    found = []
    for step in range(steps):
        tokens = tokenize(spec, [f"caption {k * k} of batch {step}" for k in range(PAIRS)])
        shuffle = shuffle_of(PAIRS, seed=3, step=step)
        given = (images(step), tokens, step / steps, shuffle)
        found.append(train_step(model, optimizer, objective, *given, **options))
    return found


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("largest", [1e-3, 0.5, 1e6])
@pytest.mark.parametrize("micro_batch", [None, 5])
def test_a_larger_gradient_is_cut_as_torch_does_it(largest: float, micro_batch: int | None) -> None:
    whole = moved(Towers(), OBJECTIVES["rankclip"], slice(None), PAIRS)
    own = Towers().requires_grad_()
    parameters = dict(own.named_parameters())
    for name, parameter in parameters.items():
        parameter.grad = whole[name].clone()
    norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), largest)
    expected = whole | {name: p.grad for name, p in parameters.items() if p.grad is not None}
    found = moved(
        Towers(), OBJECTIVES["rankclip"], slice(None), PAIRS, clip_norm=largest, micro_batch=micro_batch
    )
    assert_close(found, expected)
    assert found["norm of the gradient"] == pytest.approx(norm.item())
    shrunk = found["image"].norm() < 0.99 * whole["image"].norm()
    assert shrunk == (largest < norm)


def poisoned(model: nn.Module) -> Callable[[], None]:
    """Makes one gradient infinite; returns what ends that."""
    parameter = max(model.parameters(), key=lambda each: each.numel())
    return parameter.register_hook(lambda gradient: gradient * torch.inf).remove


def test_a_step_whose_gradient_is_infinite_is_as_if_it_had_not_been() -> None:
    spec = MODELS[0]
    model, undisturbed = (build(spec, seed=0).train() for _ in range(2))
    pairs = [(each, build_optimizer(each, tiny.TRAIN)) for each in (model, undisturbed)]
    for each, optimizer in pairs:
        trained(each, spec, 2, optimizer)
    before, averages = tensors(model), copy.deepcopy(pairs[0][1].state_dict())
    healed = poisoned(model)
    (step,) = trained(model, spec, 1, pairs[0][1], clip_norm=1.0)
    healed()
    assert (bool(step.finite), step.gradient_norm.isfinite().item(), step.fault) == (False, False, "")
    assert step.values["loss"].isfinite()
    assert equal(tensors(model), before)
    after = pairs[0][1].state_dict()
    assert after["param_groups"] == averages["param_groups"]
    for place, state in averages["state"].items():
        assert equal(after["state"][place], state)
    for each, optimizer in pairs:
        assert all(step.finite for step in trained(each, spec, 2, optimizer))
    assert equal(tensors(model), tensors(undisturbed))


@pytest.mark.parametrize("micro_batch", [None, 5])
def test_embeddings_that_are_not_finite_change_nothing_and_are_named(micro_batch: int | None) -> None:
    model = Towers(biased=True)
    optimizer = torch.optim.AdamW(model.parameters())
    before = tensors(model)
    pixels, tokens = batch(PAIRS)
    pixels[7, 0] = torch.nan
    shuffle = torch.arange(PAIRS)
    step = train_step(
        model, optimizer, OBJECTIVES["siglip"], pixels, tokens, 1.0, shuffle, micro_batch=micro_batch
    )
    assert not step.finite
    assert step.fault.startswith("image embedding 7 of the batch has length nan; it holds NaN or infinity")
    assert (list(step.values), step.values["loss"].isnan().item()) == (["loss"], True)
    assert equal(tensors(model), before)
    assert not optimizer.state_dict()["state"]


def test_batch_norm_forgets_a_batch_that_is_not_finite() -> None:
    spec = MODELS[0]
    model = build(spec, seed=0).train()
    before = tensors(model)
    conv = model.clip.get_submodule("visual.conv1")
    hook = conv.register_forward_hook(lambda module, given, output: output * torch.nan)
    (step,) = trained(model, spec)
    hook.remove()
    assert "holds NaN" in step.fault
    assert equal(tensors(model), before)


def test_an_embedding_that_is_finite_and_no_embedding_is_refused() -> None:
    class Long(Towers):
        def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
            image, *rest = super().forward(pixels, tokens)
            return 3.0 * image, *rest

    with pytest.raises(ValueError, match="has length 3; normalise embeddings"):
        moved(Long(), OBJECTIVES["clip"], slice(None), PAIRS)


@pytest.mark.parametrize("finite", [True, False])
def test_a_fused_optimizer_on_a_device_steps_exactly_where_it_is_told_to(finite: bool) -> None:
    """The form that needs no word from the device, here on a CPU."""
    spec = MODELS[1]
    plain, told = (build(spec, seed=0) for _ in range(2))
    optimizers = [build_optimizer(model, tiny.TRAIN) for model in (plain, told)]
    for turn in range(4):
        for model, optimizer in zip((plain, told), optimizers, strict=True):
            for k, parameter in enumerate(model.parameters()):
                generator = torch.Generator().manual_seed(100 * turn + k)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            if model is told:
                gradients.advance_on_device(optimizer, torch.tensor(finite or turn < 2))
            elif finite or turn < 2:
                optimizer.step()
    assert equal(tensors(plain), tensors(told))
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    assert all(equal(one, other) for one, other in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_towers_in_bfloat16_train_much_as_in_float32(spec: ModelSpec) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        model = build(spec, seed=0).train()
        optimizer = build_optimizer(model, tiny.TRAIN)
        steps = trained(model, spec, 2, optimizer, CLIP, precision=precision)
        found[precision] = torch.stack([torch.stack([*s.values.values(), s.gradient_norm]) for s in steps])
        held = [*model.parameters(), *(each for state in optimizer.state.values() for each in state.values())]
        assert {tensor.dtype for tensor in [found[precision], *held]} == {torch.float32}
    assert not torch.equal(found["fp32"], found["bf16"])
    torch.testing.assert_close(found["bf16"][0], found["fp32"][0], rtol=0.02, atol=0.0)
    torch.testing.assert_close(found["bf16"], found["fp32"], rtol=0.1, atol=0.0)


def test_pieces_in_bfloat16_have_the_loss_of_the_whole() -> None:
    spec = MODELS[1]
    whole, pieces = (
        trained(build(spec, seed=0).train(), spec, 1, None, CLIP, precision="bf16", micro_batch=size)
        for size in (None, 5)
    )
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(other.values, one.values, rtol=5e-3, atol=0.0)
        torch.testing.assert_close(other.gradient_norm, one.gradient_norm, rtol=2e-2, atol=0.0)


@pytest.mark.parametrize("asking", [True, False])
def test_a_worker_that_asks_is_counted(asking: bool) -> None:
    spec = MODELS[1]
    (step,) = trained(build(spec, seed=0).train(), spec, asking=asking)
    assert step.asking == float(asking)
