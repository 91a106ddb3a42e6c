"""Steps on a GPU: near those of a CPU, in half precision, and nothing changed where they are not finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rankclip.models.image_text import ImageTextModel, longest
from rankclip.models.open_clip import build, tokenize
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import Encoder
from rankclip.training.device import chosen
from rankclip.training.machine import Machine
from rankclip.training.optim import build_optimizer
from rankclip.training.parallel import prepared
from rankclip.training.step import Step, shuffle_of, train_step
from tests.numerics.towers import OBJECTIVES
from tests.unit.data.crawled import encoded, picture
from tests.unit.evaluation.known import unit_rows
from tests.unit.training import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SPECS = [ModelSpec(name="shapes-rn"), ModelSpec(name="shapes-vit")]
PAIRS = 32


def batch(spec: ModelSpec, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randint(0, 256, (PAIRS, 3, 32, 32), generator=generator, dtype=torch.uint8)
    tokens = tokenize(spec, [f"caption {k * k} of {step}" for k in range(PAIRS)])
    return images.to(device), tokens.to(device)[:, : longest(tokens)]


def trained(
    spec: ModelSpec, machine: Machine, steps: int = 3, patch_dropout: float = 0.0, **options: Any
) -> tuple[ImageTextModel, list[Step]]:
    device = chosen(machine)
    model = build(spec, seed=0, patch_dropout=patch_dropout).to(device).train()
    optimizer = build_optimizer(model, tiny.TRAIN)
    called = prepared(model, machine, device)
    found = []
    torch.manual_seed(1)
    for step in range(steps):
        images, tokens = batch(spec, step, device)
        shuffle = shuffle_of(PAIRS, seed=3, step=step)
        found.append(
            train_step(called, optimizer, OBJECTIVES["clip"], images, tokens, 1.0, shuffle, **options)
        )
    return model, found


def numbers(steps: list[Step]) -> Tensor:
    return torch.stack([torch.stack([step.values["loss"], step.gradient_norm]) for step in steps]).cpu()


@pytest.mark.parametrize("options", [{}, {"micro_batch": 9}, {"clip_norm": 0.5}], ids=str)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_steps_on_a_gpu_are_those_of_a_cpu(spec: ModelSpec, options: dict[str, Any]) -> None:
    (_, cpu), (_, gpu) = (trained(spec, Machine(device=kind), **options) for kind in ("cpu", "cuda"))
    torch.testing.assert_close(numbers(gpu), numbers(cpu), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_towers_in_bfloat16_train_much_as_in_float32(spec: ModelSpec) -> None:
    (model, half), (_, full) = (
        trained(spec, Machine(device="cuda"), precision=precision) for precision in ("bf16", "fp32")
    )
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert half[0].values["loss"].dtype == torch.float32
    assert not torch.equal(numbers(half), numbers(full))
    torch.testing.assert_close(numbers(half), numbers(full), rtol=0.1, atol=0.0)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_step_that_is_not_finite_changes_nothing_and_waits_for_nothing(spec: ModelSpec) -> None:
    device = torch.device("cuda")
    model = build(spec, seed=0).to(device).train()
    optimizer = build_optimizer(model, tiny.TRAIN)
    shuffle = shuffle_of(PAIRS, seed=3, step=0)
    train_step(model, optimizer, OBJECTIVES["clip"], *batch(spec, 0, device), 1.0, shuffle)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averages = [
        {name: tensor.clone() for name, tensor in state.items()} for state in optimizer.state.values()
    ]
    largest = max(model.parameters(), key=lambda each: each.numel())
    hook = largest.register_hook(lambda gradient: gradient * torch.inf)
    step = train_step(model, optimizer, OBJECTIVES["clip"], *batch(spec, 1, device), 1.0, shuffle)
    hook.remove()
    assert not step.finite
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    for state, old in zip(optimizer.state.values(), averages, strict=True):
        assert all(torch.equal(state[name], old[name]) for name in old)
    step = train_step(model, optimizer, OBJECTIVES["clip"], *batch(spec, 2, device), 1.0, shuffle)
    assert step.finite
    assert not all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_recomputing_keeps_less_and_changes_next_to_nothing(spec: ModelSpec) -> None:
    found, memory = [], []
    for recompute in (False, True):
        torch.cuda.reset_peak_memory_stats()
        _, steps = trained(spec, Machine(device="cuda", recompute=recompute), precision="bf16")
        found.append(numbers(steps))
        memory.append(torch.cuda.max_memory_allocated())
    torch.testing.assert_close(found[1], found[0], rtol=2e-2, atol=0.0)
    assert memory[1] < memory[0]


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of much
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_compiled_towers_train_much_as_plain_ones(spec: ModelSpec) -> None:
    plain, compiled = (
        numbers(trained(spec, Machine(device="cuda", compiled=compiled), precision="bf16")[1])
        for compiled in (False, True)
    )
    torch.testing.assert_close(compiled, plain, rtol=5e-2, atol=0.0)


def test_patches_are_left_out_on_a_gpu() -> None:
    (model, dropped), (_, whole) = (
        trained(SPECS[1], Machine(device="cuda"), patch_dropout=share) for share in (0.5, 0.0)
    )
    assert all(step.finite for step in dropped)
    assert not torch.equal(numbers(dropped), numbers(whole))
    assert model.training


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_model_on_a_gpu_is_evaluated_as_one_on_a_cpu(spec: ModelSpec) -> None:
    images, texts = [encoded(picture((10 * k, 90, 40), (40, 36))) for k in range(5)], ["a", "a red circle"]
    cpu, gpu = (Encoder(build(spec, seed=0).to(kind), spec) for kind in ("cpu", "cuda"))
    for one, other in (
        (unit_rows(cpu, images), unit_rows(gpu, images)),
        (cpu.encode_texts(texts), gpu.encode_texts(texts)),
    ):
        assert other.device.type == "cuda"
        torch.testing.assert_close(other.cpu(), one, rtol=0.0, atol=2e-3)  # convolutions in TF32
