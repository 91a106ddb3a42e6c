"""Metrics of ranked lists against tables computed by hand and slow twins that read like the definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rankclip.evaluation import metrics

SCORES = torch.tensor(
    [
        [0.1, 0.9, 0.5, 0.3],
        [0.2, 0.2, 0.8, 0.2],
        [0.7, 0.7, 0.7, 0.7],
    ]
)
BEST = [[1, 2, 3, 0], [2, 0, 1, 3], [0, 1, 2, 3]]


def slow_best(scores: Tensor, k: int) -> list[list[int]]:
    """The twin of `metrics.best`: Python's stable sort by falling score."""
    return [sorted(range(len(row)), key=lambda column: -row[column])[:k] for row in scores.tolist()]


def slow_ndcg(gains: list[float], order: list[int]) -> float:
    """The twin of `metrics.ndcg` for one query."""
    reached = sum(gains[column] / math.log2(place + 2) for place, column in enumerate(order))
    top = sorted(gains, reverse=True)[: len(order)]
    ideal = sum(gain / math.log2(place + 2) for place, gain in enumerate(top))
    return reached / ideal if ideal else 0.0


def random_scores(rows: int, columns: int, levels: int, seed: int) -> Tensor:
    """Scores of few levels, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (rows, columns), generator=generator).float()


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_best_columns_of_a_table_are_those_found_by_hand(k: int) -> None:
    assert metrics.best(SCORES, k).tolist() == [row[:k] for row in BEST]


@pytest.mark.parametrize(("columns", "levels"), [(1, 2), (7, 2), (7, 100), (40, 5), (200, 30), (60, 10_000)])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_the_best_columns_equal_a_stable_sort_also_with_many_ties(columns: int, levels: int, k: int) -> None:
    scores = random_scores(20, columns, levels, seed=columns * levels + k)
    k = min(k, columns)
    assert metrics.best(scores, k).tolist() == slow_best(scores, k)


def test_a_tie_at_the_border_of_k_goes_to_the_lower_column() -> None:
    scores = torch.zeros(1, 1000)
    scores[0, 999] = 1.0
    assert metrics.best(scores, 3).tolist() == [[999, 0, 1]]


@pytest.mark.parametrize("k", [0, 5])
def test_more_places_than_candidates_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}; it must lie between 1 and the 4 candidates"):
        metrics.best(SCORES, k)


def test_a_score_that_is_not_a_number_is_refused_and_not_ranked_first() -> None:
    scores = SCORES.clone()
    scores[1, 1] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        metrics.best(scores, 1)


@pytest.mark.parametrize("rows", [1, 7, 512])
def test_the_number_of_queries_scored_at_once_does_not_matter(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randint(-3, 4, (20, 6), generator=generator).float()
    candidates = torch.randint(-3, 4, (30, 6), generator=generator).float()
    assert metrics.nearest(queries, candidates, 10, rows).tolist() == slow_best(queries @ candidates.T, 10)


def test_hits_count_a_query_once_however_many_are_found() -> None:
    found = torch.tensor([[True, True, False], [False, False, True], [False, False, False]])
    assert metrics.hits_at(found, 1).tolist() == [1, 0, 0]
    assert metrics.hits_at(found, 2).tolist() == [1, 0, 0]
    assert metrics.hits_at(found, 3).tolist() == [1, 1, 0]


def test_mean_per_class_weighs_classes_and_not_images() -> None:
    hits = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0])
    targets = torch.tensor([0, 0, 0, 0, 3])  # classes 1 and 2 do not occur
    assert metrics.mean_per_class(hits, targets) == pytest.approx((0.75 + 1.0) / 2)


def test_mean_per_class_of_a_balanced_set_is_its_accuracy() -> None:
    hits = random_scores(1, 60, 2, seed=3)[0]
    targets = torch.arange(60) % 6
    assert metrics.mean_per_class(hits, targets) == pytest.approx(float(hits.mean()))


def test_ndcg_of_a_table_is_that_computed_by_hand() -> None:
    gains = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    order = torch.tensor([[1, 0], [0, 1]])
    by_hand = (0.5 + 1.0 / math.log2(3)) / (1.0 + 0.5 / math.log2(3))
    assert metrics.ndcg(gains, order).tolist() == pytest.approx([by_hand, 0.0])


@pytest.mark.parametrize("columns", [10, 11, 50])
def test_ndcg_equals_its_slow_twin(columns: int) -> None:
    gains = random_scores(30, columns, 5, seed=columns) / 4
    order = metrics.best(random_scores(30, columns, 1000, seed=columns + 1), 10)
    slow = [slow_ndcg(row, places) for row, places in zip(gains.tolist(), order.tolist(), strict=True)]
    assert metrics.ndcg(gains, order).tolist() == pytest.approx(slow, abs=1e-12)


def test_ndcg_is_one_for_the_order_of_the_gains_and_lower_for_any_other() -> None:
    gains = torch.rand(50, 20, generator=torch.Generator().manual_seed(0))
    ideal = metrics.ndcg(gains, metrics.best(gains, 10))
    torch.testing.assert_close(ideal, torch.ones(50, dtype=torch.float64))
    assert bool((metrics.ndcg(gains, metrics.best(-gains, 10)) < 0.9).all())


def test_only_a_gain_of_one_makes_a_first_place_true() -> None:
    gains = torch.tensor([[1.0, 0.0], [0.999, 1.0], [0.0, 1.0]])
    assert metrics.true_first(gains, torch.tensor([[0, 1], [0, 1], [1, 0]])).tolist() == [1, 0, 1]
