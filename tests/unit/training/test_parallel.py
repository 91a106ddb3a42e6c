"""What a model becomes before workers call it: recomputed, compiled, synchronised, and still itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rankclip import distributed
from rankclip.errors import InputError
from rankclip.models.image_text import ImageTextModel
from rankclip.models.open_clip import build, tokenize
from rankclip.models.spec import ModelSpec
from rankclip.training import parallel
from rankclip.training.batch_norm import batch_norms
from rankclip.training.machine import Machine
from rankclip.training.optim import build_optimizer
from rankclip.training.parallel import prepared, refuse
from rankclip.training.step import shuffle_of, train_step
from tests.unit.training import tiny

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
PAIRS, STEPS = 9, 2
RN, VIT = ModelSpec(name="shapes-rn"), ModelSpec(name="shapes-vit")


def trained(
    spec: ModelSpec, prepare: Callable[[ImageTextModel], nn.Module], **options: Any
) -> tuple[ImageTextModel, list[Tensor]]:
    """The model after two steps, and their losses and norms."""
    model = build(spec, seed=0, patch_dropout=options.pop("patch_dropout", 0.0)).train()
    optimizer = build_optimizer(model, tiny.TRAIN)
    called, found = prepare(model), []
    torch.manual_seed(5)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        images = torch.randint(0, 256, (PAIRS, 3, 32, 32), generator=generator, dtype=torch.uint8)
        tokens = tokenize(spec, [f"caption {k * k} of {step}" for k in range(PAIRS)])
        shuffle = shuffle_of(PAIRS, seed=3, step=step)
        made = train_step(called, optimizer, tiny.OBJECTIVE, images, tokens, 1.0, shuffle, **options)
        found += [*made.values.values(), made.gradient_norm]
    return model, found


def plain(model: ImageTextModel) -> nn.Module:
    return model


def recomputed(model: ImageTextModel) -> nn.Module:
    return prepared(model, Machine(device="cpu", recompute=True), CPU)


def same(one: ImageTextModel, other: ImageTextModel) -> bool:
    tensors, others = one.state_dict(), other.state_dict()
    return list(tensors) == list(others) and all(torch.equal(tensors[name], others[name]) for name in tensors)


@pytest.mark.parametrize("options", [{}, {"micro_batch": 3}], ids=["whole", "pieces"])
@pytest.mark.parametrize("spec", [RN, VIT], ids=lambda spec: spec.name)
def test_recomputing_activations_changes_no_bit(spec: ModelSpec, options: dict[str, Any]) -> None:
    (one, losses), (other, again) = (trained(spec, prepare, **options) for prepare in (plain, recomputed))
    assert all(torch.equal(a, b) for a, b in zip(losses, again, strict=True))
    assert same(one, other)


def test_the_patches_that_are_left_out_are_so_again_when_they_are_recomputed() -> None:
    one, other, whole = (
        trained(VIT, prepare, patch_dropout=share)
        for prepare, share in ((plain, 0.5), (recomputed, 0.5), (plain, 0.0))
    )
    assert same(one[0], other[0])
    assert not same(one[0], whole[0])


def held(spec: ModelSpec, machine: Machine) -> int:
    """Bytes of the tensors that a forward pass keeps for its backward pass."""
    model = build(spec, seed=0).train()
    prepared(model, machine, CPU)
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = model(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), tokenize(spec, ["a red circle"] * 8))
    del kept
    return sum(sizes.values())


@pytest.mark.parametrize("spec", [RN, VIT], ids=lambda spec: spec.name)
def test_recomputed_activations_are_not_kept(spec: ModelSpec) -> None:
    usual, less = (held(spec, Machine(device="cpu", recompute=again)) for again in (False, True))
    assert less < (0.8 if spec is RN else 0.5) * usual  # the stem of a ResNet is kept


def test_a_recomputed_model_can_be_copied_and_evaluated() -> None:
    model = build(RN, seed=0)
    images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    expected = model.eval()(images, None)[0]
    recomputed(model)
    copied = copy.deepcopy(model)
    nn.init.zeros_(model.clip.get_parameter("visual.layer4.0.downsample.0.weight"))
    with torch.no_grad():
        assert torch.equal(copied(images, None)[0], expected)
        assert not torch.equal(model(images, None)[0], expected)


@pytest.mark.filterwarnings("ignore")  # torch's compiler looks at what warns
@pytest.mark.parametrize(("spec", "recompute"), [(RN, False), (VIT, False), (VIT, True)], ids=str)
def test_a_compiled_model_trains_the_same_weights(
    spec: ModelSpec, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "BACKEND", "eager")  # what is captured; generated code takes minutes
    machine = Machine(device="cpu", compiled=True, recompute=recompute)
    one, losses = trained(spec, plain)
    other, again = trained(spec, lambda model: prepared(model, machine, CPU))
    torch.testing.assert_close(again, losses)
    assert list(other.state_dict()) == list(one.state_dict())
    assert same(one, other)


def test_a_resnet_is_compiled_or_recomputed_and_not_both() -> None:
    machine = Machine(device="cpu", compiled=True, recompute=True)
    with pytest.raises(InputError, match=r"RANKCLIP_COMPILE and RANKCLIP_RECOMPUTE are both set, but a ResN"):
        prepared(build(RN, seed=0), machine, CPU)


def test_workers_with_gpus_share_the_statistics_of_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(RN, seed=0)
    names, parameters = list(model.state_dict()), list(model.parameters())
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(
        nn.parallel, "DistributedDataParallel", lambda module, **options: SimpleNamespace(**options)
    )
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    called: Any = prepared(model, Machine(), GPU)
    assert (called.device_ids, called.broadcast_buffers) == ([0], False)
    assert {type(norm) for norm in batch_norms(model)} == {nn.SyncBatchNorm}
    assert names == list(model.state_dict())
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))


def test_workers_refuse_what_they_cannot_train_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {spec.name: build(spec, seed=0) for spec in (RN, VIT)}
    for model in models.values():
        refuse(8, model)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    refuse(8, models["shapes-vit"])
    refuse(8, models["shapes-rn"], device=GPU)
    with pytest.raises(InputError, match=r"batch norm, which 2 CPU workers cannot share.*RANKCLIP_WORKERS=1"):
        refuse(8, models["shapes-rn"])
    with pytest.raises(InputError, match=r"batch norm, which 3 CPU workers cannot share"):
        refuse(9, models["shapes-rn"], 3, CPU)
    with pytest.raises(InputError, match=r"train\.batch_size 7 does not split over 2 workers"):
        refuse(7, models["shapes-vit"])


def test_every_batch_norm_is_found_also_the_synchronised_one() -> None:
    norms = [nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.BatchNorm3d(3), nn.SyncBatchNorm(3)]
    model = nn.Sequential(nn.LayerNorm(3), nn.Sequential(*norms), nn.GroupNorm(1, 3))
    assert batch_norms(model) == norms
