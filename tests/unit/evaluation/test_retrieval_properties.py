"""What must hold of recall for any model and any numbers of captions."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.evaluation import metrics, retrieval
from rankclip.evaluation.embedded import Embedded
from tests.unit.evaluation import splits

COUNTS = st.lists(st.integers(1, 7), min_size=1, max_size=12)
SEEDS = st.integers(0, 10**6)
quick = settings(max_examples=40, derandomize=True, deadline=None, database=None)


def drawn(counts: list[int], seed: int, levels: int) -> Embedded:
    """Rows of few different numbers, so that many scores are equal."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(1, 1 + levels, (len(counts) + sum(counts), 3), generator=generator).float()
    return splits.captioned(rows[: len(counts)], splits.numbered(counts), rows[len(counts) :])


def scored(embedded: Embedded) -> dict[tuple[str, str], float]:
    return {(one.protocol, one.metric): one.value for one in retrieval.measure(embedded)}


@quick
@given(COUNTS, SEEDS, st.integers(1, 50))
def test_recall_grows_with_k_and_agrees_with_the_median_rank(
    counts: list[int], seed: int, levels: int
) -> None:
    found = scored(drawn(counts, seed, levels))
    for protocol, metric in found:
        if metric.endswith("_r1"):
            way = metric.removesuffix("_r1")
            first, five, ten = (found[protocol, f"{way}_r{k}"] for k in (1, 5, 10))
            assert 0 <= first <= five <= ten <= 1
            median = found[protocol, f"{way}_median_rank"]
            for k, recall in ((1, first), (5, five), (10, ten)):
                assert (median <= k) if recall > 0.5 else True
                assert (median >= k) if recall < 0.5 else True


@quick
@given(COUNTS, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter_where_no_scores_are_equal(
    counts: list[int], seed: int, random: object
) -> None:
    rows = splits.directions(len(counts) + sum(counts), 5, seed)
    said = splits.numbered(counts)
    every = [caption for captions in said for caption in captions]
    table = dict(zip(every, rows[len(counts) :], strict=True))
    order = list(range(len(counts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    here = splits.captioned(rows[: len(counts)], said, table)
    there = splits.captioned(rows[order], [said[i] for i in order], table)
    one_caption = {name for name in scored(here) if name[0] == "one_caption"}
    assert one_caption
    assert scored(here) == scored(there)


@quick
@given(COUNTS, SEEDS)
def test_the_order_of_an_image_s_captions_matters_to_one_caption_alone(counts: list[int], seed: int) -> None:
    rows = splits.directions(len(counts) + sum(counts), 5, seed)
    said = splits.numbered(counts)
    every = [caption for captions in said for caption in captions]
    table = dict(zip(every, rows[len(counts) :], strict=True))
    here = scored(splits.captioned(rows[: len(counts)], said, table))
    there = scored(splits.captioned(rows[: len(counts)], [captions[::-1] for captions in said], table))
    assert {name: value for name, value in here.items() if name[0] == "all_captions"} == {
        name: value for name, value in there.items() if name[0] == "all_captions"
    }


@quick
@given(COUNTS)
def test_captions_belong_to_the_images_that_they_follow(counts: list[int]) -> None:
    # each caption points at its own image, and at no other: any wrong index costs a hit
    rows = torch.eye(len(counts)).repeat_interleave(torch.tensor(counts), dim=0)
    found = scored(splits.captioned(torch.eye(len(counts)), splits.numbered(counts), rows))
    assert set(found.values()) == {1.0}


@quick
@given(st.integers(2, 12), SEEDS)
def test_a_caption_of_another_image_is_never_a_hit(images: int, seed: int) -> None:
    # each of five captions points at the next image: the own ones come last
    at = (torch.arange(images).repeat_interleave(5) + 1) % images
    found = scored(splits.captioned(torch.eye(images), splits.numbered([5] * images), torch.eye(images)[at]))
    assert found["five_captions", "image_to_text_r1"] == found["five_captions", "text_to_image_r1"] == 0


@quick
@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 4), SEEDS)
def test_places_are_those_of_a_full_stable_sort(
    queries: int, candidates: int, levels: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (queries, candidates), generator=generator).float()
    own = torch.randint(candidates, (queries, 2), generator=generator)
    _, places = metrics.search(scores, torch.eye(candidates), own, 1)
    ranked = scores.sort(dim=1, descending=True, stable=True).indices
    right = (ranked[:, :, None] == own[:, None, :]).any(dim=2)
    assert places.tolist() == (1 + right.int().argmax(dim=1)).tolist()
