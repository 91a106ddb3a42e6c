"""Metrics of ranked lists against tables computed by hand and slow twins that read like the definition."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
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


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("column", [0, 1, 3])
def test_a_score_that_is_not_a_number_is_refused_and_not_ranked_first(k: int, column: int) -> None:
    scores = SCORES.clone()
    scores[1, column] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        metrics.best(scores, k)


@pytest.mark.parametrize("rows", [1, 7, 512])
def test_the_number_of_queries_scored_at_once_does_not_matter(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randint(-3, 4, (20, 6), generator=generator).float()
    candidates = torch.randint(-3, 4, (30, 6), generator=generator).float()
    assert metrics.nearest(queries, candidates, 10, rows).tolist() == slow_best(queries @ candidates.T, 10)


OWN = torch.tensor([[2, 3], [1, 3], [3, 3]])
"""Right columns of each row of SCORES; the last has one."""


def slow_places(scores: Tensor, own: Tensor) -> list[int]:
    """The twin of the places of `metrics.search`: where the first right column stands in the sorted row."""
    orders = slow_best(scores, scores.shape[1])
    return [
        1 + min(order.index(column) for column in right)
        for order, right in zip(orders, own.tolist(), strict=True)
    ]


def test_the_place_of_the_best_own_candidate_is_that_found_by_hand() -> None:
    order, places = metrics.search(SCORES, torch.eye(4), OWN, 2)
    assert order.tolist() == [row[:2] for row in BEST]
    assert places.tolist() == [2, 3, 4]  # ties of the second and third row go by column


@pytest.mark.parametrize(("columns", "levels"), [(4, 1), (7, 2), (40, 5), (60, 10_000)])
@pytest.mark.parametrize("rows", [1, 7, 512])
def test_places_equal_their_slow_twin_also_with_many_ties(columns: int, levels: int, rows: int) -> None:
    scores = random_scores(20, columns, levels, seed=columns * levels)
    own = torch.randint(columns, (20, 3), generator=torch.Generator().manual_seed(columns))
    order, places = metrics.search(scores, torch.eye(columns), own, 3, rows)
    assert places.tolist() == slow_places(scores, own)
    assert order.tolist() == slow_best(scores, 3)


def test_a_place_within_k_means_one_of_the_k_nearest() -> None:
    scores = random_scores(50, 30, 6, seed=1)
    own = torch.randint(30, (50, 2), generator=torch.Generator().manual_seed(2))
    for k in (1, 5, 10):
        order, places = metrics.search(scores, torch.eye(30), own, k)
        listed = (order[:, :, None] == own[:, None, :]).any(dim=2).any(dim=1)
        assert metrics.hits_at(places, k).tolist() == listed.double().tolist()


def test_hits_count_a_place_within_k() -> None:
    places = torch.tensor([1, 3, 4])
    assert [metrics.hits_at(places, k).tolist() for k in (1, 2, 3)] == [[1, 0, 0], [1, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize(
    ("places", "median"), [([1], 1), ([1, 9], 5), ([1, 4], 2), ([5, 1, 3], 3), ([1, 1, 2, 90], 1)]
)
def test_the_median_between_two_places_is_rounded_down(places: list[int], median: int) -> None:
    assert metrics.median_rank(torch.tensor(places)) == median


def test_a_confusion_matrix_counts_true_classes_in_rows() -> None:
    counted = metrics.confusion(torch.tensor([0, 0, 0, 2]), torch.tensor([0, 1, 1, 2]), 3)
    assert counted.tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_the_diagonal_of_a_confusion_matrix_gives_the_mean_per_class() -> None:
    targets, predictions = (random_scores(1, 90, 6, seed)[0].long() for seed in (1, 2))
    counted = metrics.confusion(targets, predictions, 6)
    expected = metrics.mean_per_class((targets == predictions).double(), targets)
    assert float((counted.diag() / counted.sum(dim=1)).mean()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("targets", "predictions", "said"), [([3], [0], "target 3"), ([0], [-1], "prediction -1")]
)
def test_a_class_out_of_range_is_refused_and_not_counted_elsewhere(
    targets: list[int], predictions: list[int], said: str
) -> None:
    with pytest.raises(ValueError, match=f"{said} is not one of the 3 classes"):
        metrics.confusion(torch.tensor(targets), torch.tensor(predictions), 3)


def test_mean_per_class_weighs_classes_and_not_images() -> None:
    hits = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0])
    targets = torch.tensor([0, 0, 0, 0, 3])  # classes 1 and 2 do not occur
    assert metrics.mean_per_class(hits, targets) == pytest.approx((0.75 + 1.0) / 2)


@pytest.mark.parametrize("classes", [2, 8, 12, 16, 100, 1000])
def test_mean_per_class_is_balanced_accuracy_to_the_last_bit(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    targets = torch.cat([torch.arange(classes), torch.randint(classes, (2000,), generator=generator)])
    predictions = torch.randint(classes, (len(targets),), generator=generator)
    predictions[::3] = targets[::3]
    expected = balanced_accuracy_score(targets, predictions)
    assert metrics.mean_per_class((targets == predictions).double(), targets) == expected


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
