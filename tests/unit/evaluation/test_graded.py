"""Many right answers to a query: mAP@R, R-Precision and R@1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data.benchmarks.eccv import Matches
from rankclip.evaluation import graded
from tests.unit.evaluation.splits import captioned, directions, numbered


def matches(table: dict[int, list[int]]) -> Matches:
    right = [each for of_query in table.values() for each in of_query]
    counts = [len(of_query) for of_query in table.values()]
    return Matches(*(np.array(one, np.int64) for one in (list(table), right, counts)))


def slow(ranked: list[int], right: set[int]) -> tuple[float, float]:
    """mAP@R and R-Precision of one query, as the published code reads."""
    precisions = []
    for place in range(1, len(right) + 1):
        precise = len(set(ranked[:place]) & right) / place
        precisions.append(precise if ranked[place - 1] in right else 0.0)
    return float(np.mean(precisions)), len(set(ranked[: len(right)]) & right) / len(right)


def test_a_ranking_scores_what_it_does_by_hand() -> None:
    order = torch.tensor([[4, 1, 0, 2], [3, 2, 1, 0]])
    found = graded.found_places(order, torch.tensor([0, 2, 4, 3]), torch.tensor([3, 1]))
    assert found.tolist() == [[True, False, True, True], [True, False, False, False]]
    counts = torch.tensor([3, 1])
    assert graded.average_precision(found, counts).tolist() == pytest.approx([(1 + 0 + 2 / 3) / 3, 1.0])
    assert graded.r_precision(found, counts).tolist() == pytest.approx([2 / 3, 1.0])


def test_what_comes_after_the_last_asked_place_does_not_count() -> None:
    found = torch.tensor([[False, True, True, True]])
    assert graded.average_precision(found, torch.tensor([1])).tolist() == [0.0]
    assert graded.r_precision(found, torch.tensor([2])).tolist() == [0.5]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_both_equal_their_slow_twins(data: st.DataObject) -> None:
    candidates = data.draw(st.integers(1, 12))
    places = list(range(candidates))
    ranked = [data.draw(st.permutations(places)) for _ in range(3)]
    right = [data.draw(st.lists(st.sampled_from(places), min_size=1, unique=True)) for _ in range(3)]
    counts = torch.tensor([len(one) for one in right])
    depth = int(counts.max())
    order = torch.tensor([one[:depth] for one in ranked])
    found = graded.found_places(order, torch.tensor([each for one in right for each in one]), counts)
    twins = [slow(list(one), set(of_it)) for one, of_it in zip(ranked, right, strict=True)]
    assert graded.average_precision(found, counts).tolist() == pytest.approx([one for one, _ in twins])
    assert graded.r_precision(found, counts).tolist() == pytest.approx([other for _, other in twins])


def test_a_perfect_model_scores_one_both_ways_and_queries_are_those_asked() -> None:
    groups = torch.eye(4)[[0, 0, 1, 2, 3, 3]]  # images 0 and 1 are alike, and 4 and 5
    captions = groups.repeat_interleave(2, dim=0)
    embedded = captioned(groups, numbered([2] * 6), captions)
    to_text = matches({5: [8, 9, 10, 11], 0: [0, 1, 2, 3], 2: [4, 5]})
    to_image = matches({4: [2], 9: [4, 5]})
    measured = graded.measure(embedded, to_text, to_image)
    assert [one.metric for one in measured] == [
        "image_to_text_map_at_r", "image_to_text_r_precision", "image_to_text_eccv_r1",
        "text_to_image_map_at_r", "text_to_image_r_precision", "text_to_image_eccv_r1",
    ]  # fmt: skip
    assert [one.value for one in measured] == [1.0] * 6
    items = measured[0].items
    assert items is not None
    assert (items.target.tolist(), len(items.value)) == ([8, 0, 4], 3)


def test_a_model_is_measured_as_the_slow_twin_measures_it() -> None:
    images, texts = directions(20, 6, 0), directions(40, 6, 1)
    embedded = captioned(images, numbered([2] * 20), texts)
    rng = np.random.default_rng(0)
    to_text = {q: rng.choice(40, rng.integers(1, 9), replace=False).tolist() for q in (3, 0, 17)}
    to_image = {q: rng.choice(20, rng.integers(1, 9), replace=False).tolist() for q in (30, 2)}
    found = {one.metric: one.value for one in graded.measure(embedded, matches(to_text), matches(to_image))}
    scores = embedded.images @ embedded.texts([f"caption {i}.{j}" for i in range(20) for j in range(2)]).T
    for name, table, rows in (("image_to_text", to_text, scores), ("text_to_image", to_image, scores.T)):
        ranked = rows.argsort(dim=1, descending=True).tolist()
        twins = [slow(ranked[query], set(right)) for query, right in table.items()]
        first = [ranked[query][0] in right for query, right in table.items()]
        assert found[f"{name}_map_at_r"] == pytest.approx(np.mean([one for one, _ in twins]))
        assert found[f"{name}_r_precision"] == pytest.approx(np.mean([other for _, other in twins]))
        assert found[f"{name}_eccv_r1"] == pytest.approx(np.mean(first))
