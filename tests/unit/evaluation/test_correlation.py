"""Rank correlations of many rows against slow twins that read like the definition."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rankclip.evaluation.correlation import kendall, ranks, spearman


def scores(rows: int, columns: int, levels: int, seed: int) -> Tensor:
    """Values of few levels, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (rows, columns), generator=generator).double()


def slow_kendall(a: list[float], b: list[float]) -> float:
    """The definition of tau-b, pair by pair; 0 where a row is constant."""
    pairs = [(sign(x, y), sign(u, v)) for (x, u), (y, v) in itertools.combinations(zip(a, b, strict=True), 2)]
    scale = math.sqrt(sum(one != 0 for one, _ in pairs) * sum(other != 0 for _, other in pairs))
    return sum(one * other for one, other in pairs) / scale if scale else 0.0


def slow_spearman(a: list[float], b: list[float]) -> float:
    """Pearson's correlation of mean ranks; 0 where a row is constant."""
    x, y = ([sum(v < u for v in row) + sum(v == u for v in row) / 2 for u in row] for row in (a, b))
    mean = len(a) / 2
    scale = math.sqrt(sum((u - mean) ** 2 for u in x) * sum((v - mean) ** 2 for v in y))
    return sum((u - mean) * (v - mean) for u, v in zip(x, y, strict=True)) / scale if scale else 0.0


def sign(one: float, other: float) -> int:
    return (one > other) - (one < other)


def test_equal_values_share_the_mean_of_their_places() -> None:
    rows = torch.tensor([[0.3, 0.1, 0.3, 0.2], [1.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
    assert ranks(rows).tolist() == [[3.5, 1.0, 3.5, 2.0], [2.5] * 4, [4.0, 3.0, 2.0, 1.0]]


@pytest.mark.parametrize(("columns", "levels"), [(2, 3), (5, 2), (15, 4), (33, 6), (80, 7), (90, 10**6)])
def test_both_correlations_equal_their_slow_twins_with_ties_and_without(columns: int, levels: int) -> None:
    a, b = (scores(12, columns, levels, seed) for seed in (columns, levels + 1))
    rows = list(zip(a.tolist(), b.tolist(), strict=True))
    assert spearman(a, b).tolist() == pytest.approx([slow_spearman(x, y) for x, y in rows], abs=1e-12)
    assert kendall(a, b).tolist() == pytest.approx([slow_kendall(x, y) for x, y in rows], abs=1e-12)


def test_correlations_of_a_table_are_those_found_by_hand() -> None:
    a, b = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[1.0, 3.0, 2.0, 4.0]])
    assert float(kendall(a, b)) == pytest.approx((5 - 1) / 6)  # one pair of six is discordant
    assert float(spearman(a, b)) == pytest.approx(1 - 6 * 2 / (4 * 15))


@pytest.mark.parametrize("measure", [kendall, spearman])
def test_a_row_agrees_wholly_with_itself_and_not_at_all_with_its_reverse(measure: Any) -> None:
    rows = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(measure(rows, rows.exp()), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(measure(rows, -rows), -torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("measure", [kendall, spearman])
def test_a_row_that_says_nothing_has_no_correlation(measure: Any) -> None:
    said = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    assert measure(torch.full((2, 9), 0.5), said).tolist() == [0.0, 0.0]
    assert measure(said, torch.full((2, 9), 0.5)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("measure", [kendall, spearman])
def test_what_is_not_a_number_is_refused(measure: Any) -> None:
    with pytest.raises(ValueError, match="NaN"):
        measure(torch.tensor([[1.0, math.nan]]), torch.tensor([[1.0, 2.0]]))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 50), st.integers(0, 2**31))
def test_correlations_are_symmetric_and_do_not_depend_on_the_order_of_columns(
    columns: int, levels: int, seed: int
) -> None:
    a, b = scores(3, columns, levels, seed), scores(3, columns, levels, seed + 1)
    moved = torch.randperm(columns, generator=torch.Generator().manual_seed(seed))
    for measure in (kendall, spearman):
        found = measure(a, b)
        torch.testing.assert_close(measure(b, a), found, rtol=0, atol=1e-12)
        torch.testing.assert_close(measure(a[:, moved], b[:, moved]), found, rtol=0, atol=1e-12)
        assert bool((found.abs() <= 1 + 1e-12).all())
