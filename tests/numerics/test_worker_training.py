"""Workers gather what they hold, and train for many steps as one worker does."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rankclip import distributed
from rankclip.training.step import shuffle_of, train_step
from tests.numerics.towers import OBJECTIVES, Towers, batch, group, on_workers

STEPS, PAIRS = 50, 12
COUNTS = ((3, 3, 3), (2, 5, 1), (0, 4, 2), (4, 0, 0), (0, 0, 0))
SHAPES = ((), (4,), (2, 3))
TYPES = (torch.float32, torch.float64, torch.int64)


def rows_of(counts: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    numbers = torch.arange(sum(counts) * torch.Size(shape).numel())
    return numbers.reshape(sum(counts), *shape).to(dtype)


def gathering(rank: int, workers: int, folder: str) -> None:
    """Saves, for each case, what is gathered and the gradient that comes back."""
    found: dict[Any, Any] = {}
    with group(rank, workers, folder):
        for counts in (each[:workers] for each in COUNTS):
            sizes = distributed.sizes(counts[rank], torch.device("cpu"))
            own = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
            found[counts, "sizes"] = sizes
            for shape in SHAPES:
                for dtype in TYPES:
                    local = rows_of(counts, shape, dtype)[own]
                    found[counts, shape, dtype] = distributed.gather(local, sizes)
                    if dtype.is_floating_point:
                        # who has no rows may hold a tensor that never had a gradient
                        leaf = local.clone().requires_grad_(len(local) > 0)
                        whole = distributed.gather(leaf, sizes)
                        with torch.no_grad():
                            assert not distributed.gather(leaf, sizes).requires_grad
                        if sum(counts):
                            (whole * whole.detach() * (rank + 1)).sum().backward()
                        found[counts, shape, dtype, "gradient"] = leaf.grad
    torch.save(found, Path(folder, f"rank-{rank}.pt"))


@pytest.mark.parametrize("workers", [2, 3])
def test_every_worker_holds_the_rows_of_all_and_gets_its_gradient_from_all(
    tmp_path: Path, workers: int
) -> None:
    for rank, found in enumerate(on_workers(gathering, workers, tmp_path)):
        for counts in (each[:workers] for each in COUNTS):
            assert found[counts, "sizes"] == list(counts)
            own = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
            for shape in SHAPES:
                for dtype in TYPES:
                    whole = rows_of(counts, shape, dtype)
                    assert found[counts, shape, dtype].dtype == dtype
                    assert torch.equal(found[counts, shape, dtype], whole)
                    if dtype.is_floating_point and counts[rank]:
                        gradient = whole[own] * sum(range(1, workers + 1))
                        assert torch.equal(found[counts, shape, dtype, "gradient"], gradient)


def test_alone_nothing_is_copied() -> None:
    rows = torch.rand(3, 2, requires_grad=True)
    assert distributed.sizes(3, torch.device("cpu")) == [3]
    assert distributed.gather(rows, [3]) is rows


def trained(
    rank: int, workers: int, name: str, dtype: torch.dtype, micro_batch: int | None, spoilt: bool = False
) -> dict[str, Any]:
    """The weights, losses and norms of fifty steps, with one image that is not finite in some if `spoilt`."""
    own = Towers(biased=not OBJECTIVES[name].bounded, dtype=dtype)
    model = nn.parallel.DistributedDataParallel(own) if workers > 1 else own
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    rows = slice(rank * PAIRS // workers, (rank + 1) * PAIRS // workers)
    losses = []
    for step in range(STEPS):
        pixels, tokens = batch(PAIRS, seed=step, dtype=dtype)
        if spoilt and step % 7 == 3:
            pixels[-1, 0] = torch.nan  # of the last worker alone
        found = train_step(
            model, optimizer, OBJECTIVES[name], pixels[rows], tokens[rows], step / STEPS,
            shuffle_of(PAIRS, seed=3, step=step), micro_batch=micro_batch,
        )  # fmt: skip
        assert bool(found.finite) != (spoilt and step % 7 == 3)
        losses.append(torch.stack([found.values["loss"], found.gradient_norm]))
    return {
        **{name: value.detach() for name, value in own.state_dict().items()},
        "losses": torch.stack(losses),
    }


CASES = {
    (name, dtype, micro_batch): share
    for name in OBJECTIVES
    for micro_batch in (None, 4)
    # in float32 the orders of near-ties flip
    for dtype, share in ((torch.float64, 1e-9), (torch.float32, 1e-3 if name.startswith("rank") else 1e-5))
}


def training(rank: int, workers: int, folder: str) -> None:
    with group(rank, workers, folder):
        found: dict[Any, Any] = {case: trained(rank, workers, *case) for case in CASES}
        for micro_batch in (None, 4):
            found[micro_batch] = trained(rank, workers, "siglip", torch.float64, micro_batch, spoilt=True)
    torch.save(found, Path(folder, f"rank-{rank}.pt"))


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, dict[str, Tensor]]]:
    return on_workers(training, 2, tmp_path_factory.mktemp("training"))


@functools.cache
def alone(name: str, dtype: torch.dtype) -> dict[str, Tensor]:
    return trained(0, 1, name, dtype, None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_fifty_steps_of_two_workers_are_those_of_one(
    two_workers: list[dict[Any, dict[str, Tensor]]], case: tuple[str, torch.dtype, int | None]
) -> None:
    one = alone(*case[:2])
    for worker in two_workers:
        for tensor, expected in one.items():
            assert (worker[case][tensor] - expected).norm() <= CASES[case] * expected.norm(), tensor


@pytest.mark.parametrize("micro_batch", [None, 4])
def test_what_is_not_finite_on_one_worker_is_left_out_by_all(
    two_workers: list[dict[Any, dict[str, Tensor]]], micro_batch: int | None
) -> None:
    one = trained(0, 1, "siglip", torch.float64, None, spoilt=True)
    for worker in two_workers:
        for tensor, expected in one.items():
            torch.testing.assert_close(worker[micro_batch][tensor], expected, equal_nan=True)
