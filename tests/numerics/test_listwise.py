"""The list likelihood against its definition: all permutations, and sums written out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from rankclip.objectives.listwise import plackett_luce, ranking


def scores_like_similarities(rows: int, columns: int, alpha: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.nn.functional.normalize(torch.randn(n, 16, generator=generator), dim=1) for n in (rows, columns)
    )
    return alpha * left @ right.T


def slow(scores: list[float], order: list[int]) -> tuple[float, list[float]]:
    """Value and gradient of one row by their definitions: each place is a softmax over who is left."""
    value, gradient = 0.0, [0.0] * len(scores)
    for place, chosen in enumerate(order):
        left = order[place:]
        top = max(scores[item] for item in left)
        total = math.fsum(math.exp(scores[item] - top) for item in left)
        value += top + math.log(total) - scores[chosen]
        gradient[chosen] -= 1.0
        for item in left:
            gradient[item] += math.exp(scores[item] - top) / total
    return value / len(scores), [part / len(scores) for part in gradient]


@pytest.mark.parametrize("n", range(1, 7))
def test_the_likelihoods_of_all_rankings_add_up_to_one(n: int) -> None:
    scores = scores_like_similarities(1, n, alpha=3.0, seed=n).double()
    orders = torch.tensor(list(itertools.permutations(range(n))))
    losses = plackett_luce(scores.expand(len(orders), n), orders)
    assert torch.exp(-n * losses).sum().item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_equal_scores_give_the_logarithm_of_the_number_of_rankings(n: int) -> None:
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).expand(2, n)
    loss = plackett_luce(torch.full((2, n), 0.7, dtype=torch.float64), order)
    assert loss.tolist() == pytest.approx([math.lgamma(n + 1) / n] * 2, abs=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 14.3, 100.0])
@pytest.mark.parametrize(
    ("dtype", "value_error", "gradient_error"),
    [(torch.float64, 1e-13, 1e-12), (torch.float32, 1e-6, 1e-5)],
)
def test_value_and_gradient_are_those_of_the_definition(
    alpha: float, dtype: torch.dtype, value_error: float, gradient_error: float
) -> None:
    scores = scores_like_similarities(4, 60, alpha).to(dtype).requires_grad_()
    # the ranking of other scores, as a teacher gives it; half of it agrees
    order = ranking(scores + scores_like_similarities(4, 60, alpha, seed=1).to(dtype))
    losses = plackett_luce(scores, order)
    (gradient,) = torch.autograd.grad(losses.sum(), scores)
    for row in range(4):
        value, slopes = slow(scores[row].tolist(), order[row].tolist())
        expected = torch.tensor(slopes, dtype=torch.float64)
        assert losses[row].item() == pytest.approx(value, abs=value_error * max(1.0, value))
        assert (gradient[row].double() - expected).norm() < gradient_error * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_scores_stay_finite_in_value_and_gradient(dtype: torch.dtype) -> None:
    scores = torch.linspace(-1e4, 1e4, 50, dtype=dtype).repeat(2, 1).requires_grad_()
    order = torch.stack([torch.arange(50), torch.arange(50).flip(0)])  # the worst ranking and the best
    losses = plackett_luce(scores, order)
    (gradient,) = torch.autograd.grad(losses.sum(), scores)
    assert gradient.isfinite().all()
    assert losses[0].item() == pytest.approx(1e4, rel=1e-3)
    assert losses[1].item() == pytest.approx(0.0, abs=1e-6)


def test_the_most_likely_ranking_is_that_of_the_scores() -> None:
    scores = scores_like_similarities(1, 5, alpha=5.0).double()
    orders = torch.tensor(list(itertools.permutations(range(5))))
    best = orders[plackett_luce(scores.expand(len(orders), 5), orders).argmin()]
    assert best.tolist() == ranking(scores)[0].tolist()


def test_a_ranking_goes_from_high_to_low_and_equal_scores_by_column() -> None:
    scores = torch.tensor([[1.0, 3.0, 1.0, 2.0, 3.0, 1.0], [0.0] * 6])
    assert ranking(scores).tolist() == [[1, 4, 3, 0, 2, 5], [0, 1, 2, 3, 4, 5]]
    assert ranking(torch.zeros(1, 5000)).tolist() == [list(range(5000))]


def test_a_ranking_gives_no_gradient_to_what_it_ranks() -> None:
    assert not ranking(torch.randn(2, 3, requires_grad=True)).requires_grad
