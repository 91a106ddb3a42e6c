"""Attention with fewer copies is PyTorch's own, to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from rankclip.models.attention import SelfAttention, with_fewer_copies
from rankclip.models.open_clip import build, tokenize
from rankclip.models.spec import ModelSpec
from tests.one_thread import one_thread

__all__ = ["one_thread"]

LENGTH, WIDTH = 9, 24


def pair() -> tuple[nn.MultiheadAttention, nn.MultiheadAttention]:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(WIDTH, 3, batch_first=True)
    ours = copy.deepcopy(theirs)
    with_fewer_copies(ours)
    assert type(ours) is SelfAttention
    return ours, theirs


def passed(module: nn.Module, mask: Tensor | None, dtype: torch.dtype | None) -> list[Tensor]:
    """Output of a batch, and gradients of it and of every parameter."""
    batch = torch.randn(16, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        found = module(batch, batch, batch, need_weights=False, attn_mask=mask)[0]
    (found.float() * torch.linspace(-1, 1, found.numel()).view_as(found)).sum().backward()
    assert batch.grad is not None
    return [found, batch.grad, *(p.grad for p in module.parameters() if p.grad is not None)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_output_and_gradients_are_those_of_pytorch(
    training: bool, masked: bool, dtype: torch.dtype | None
) -> None:
    mask = torch.full((LENGTH, LENGTH), float("-inf")).triu(1) if masked else None
    found, expected = (passed(module.train(training), mask, dtype) for module in pair())
    assert len(found) == 6
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_attention_to_another_sequence_is_that_of_pytorch() -> None:
    ours, theirs = pair()
    batch, other = (torch.randn(2, LENGTH, WIDTH) for _ in range(2))
    found, expected = (module(batch, other, other)[0] for module in (ours, theirs))
    assert torch.equal(found, expected)


def test_what_it_cannot_replace_stays_as_it_is() -> None:
    for options in ({"batch_first": True, "dropout": 0.1}, {"batch_first": False}):
        module = nn.MultiheadAttention(WIDTH, 3, **options)
        with_fewer_copies(module)
        assert type(module) is nn.MultiheadAttention


def test_it_compiles_as_one_piece() -> None:
    ours, _ = pair()
    batch = torch.randn(2, LENGTH, WIDTH)
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    found = compiled(batch, batch, batch, need_weights=False)[0]
    assert torch.equal(found, ours(batch, batch, batch, need_weights=False)[0])


def test_both_towers_of_a_model_attend_so_and_learn_the_same() -> None:
    ours = build(ModelSpec(name="shapes-vit"), seed=0).train()
    theirs = copy.deepcopy(ours)
    replaced = [module for module in theirs.modules() if type(module) is SelfAttention]
    assert len(replaced) == 4 + 2
    for module in replaced:
        module.__class__ = nn.MultiheadAttention
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    tokens = tokenize(ModelSpec(name="shapes-vit"), ["a", "a red circle", "two"])
    for model in (ours, theirs):
        image, text, alpha = model(pixels, tokens)
        (alpha * image @ text.T).logsumexp(-1).sum().backward()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert torch.equal(own.grad, other.grad)
