"""Retrieval with several captions an image: plain recall under its protocols, and graded gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rankclip.errors import DataError
from rankclip.evaluation import retrieval
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Measured
from tests.unit.evaluation import splits

UNEQUAL = [1, 4, 2, 5, 3, 1, 1, 6, 2, 2, 3, 1]


def noise(counts: Sequence[int], dimensions: int = 64, seed: int = 0) -> Embedded:
    """A model that knows nothing, on images with so many captions each."""
    rows = splits.directions(len(counts) + sum(counts), dimensions, seed)
    return splits.captioned(rows[: len(counts)], splits.numbered(counts), rows[len(counts) :])


def values(measured: list[Measured], protocol: str) -> dict[str, float]:
    return {one.metric: one.value for one in measured if one.protocol == protocol}


def slow_places(embedded: Embedded, most: int) -> tuple[list[int], list[int]]:
    """Places of the right answers image to text and text to image, straight from the definition."""
    said = [(i, caption) for i, captions in enumerate(embedded.captions) for caption in captions[:most]]
    texts = embedded.texts([caption for _, caption in said])
    scores = (embedded.images @ texts.T).tolist()
    of_images, of_captions = [], []
    for i, row in enumerate(scores):
        ranked = sorted(range(len(said)), key=[-score for score in row].__getitem__)
        of_images.append(1 + min(ranked.index(j) for j in range(len(said)) if said[j][0] == i))
    for j, (owner, _) in enumerate(said):
        ranked = sorted(range(len(scores)), key=[-row[j] for row in scores].__getitem__)
        of_captions.append(1 + ranked.index(owner))
    return of_images, of_captions


HAND = splits.captioned(
    torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    [("dog", "pet"), ("cat",)],
    {
        "dog": torch.tensor([0.6, 0.8, 0.0]),  # of image 0, nearer to image 1
        "pet": torch.tensor([0.8, 0.6, 0.0]),  # of image 0, nearest to it
        "cat": torch.tensor([0.9, 0.0, 0.43]),  # of image 1, nearest to image 0
    },
)


def test_a_table_of_two_images_and_three_captions_scores_what_was_counted_by_hand() -> None:
    texts = HAND.texts(["dog", "pet", "cat"])
    to_text, to_image = retrieval.rank(HAND.images, texts, torch.tensor([2, 1]), depth=10)
    assert to_text.order.tolist() == [[2, 1, 0], [0, 1, 2]]
    assert to_text.places.tolist() == [2, 3]
    assert to_text.own.tolist() == [0, 2]
    assert to_image.order.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert to_image.places.tolist() == [2, 1, 2]
    assert to_image.own.tolist() == [0, 0, 1]
    assert values(retrieval.measure(HAND), "all_captions") == pytest.approx(
        {
            "image_to_text_r1": 0,
            "image_to_text_r5": 1,
            "image_to_text_r10": 1,
            "image_to_text_median_rank": 2,  # of 2 and 3
            "text_to_image_r1": 1 / 3,
            "text_to_image_r5": 1,
            "text_to_image_r10": 1,
            "text_to_image_median_rank": 2,
        }
    )


def test_one_caption_of_the_table_scores_what_was_counted_by_hand() -> None:
    # "dog" and "cat" alone: image 0 is nearest to "cat" and image 1 to "dog", and the other way round
    scored = values(retrieval.measure(HAND), "one_caption")
    assert [scored[f"{way}_r1"] for way in ("image_to_text", "text_to_image")] == [0, 0]
    assert [scored[f"{way}_median_rank"] for way in ("image_to_text", "text_to_image")] == [2, 2]


def test_gains_of_a_table_score_what_was_computed_by_hand() -> None:
    gains = torch.tensor([[1.0, 1.0, 1.0], [0.5, 0.0, 1.0]])  # "cat" is true of both images
    scored = values(retrieval.measure(HAND, gains), "graded")
    assert scored["image_to_text_true_r1"] == 0.5  # image 0 finds "cat", true; image 1 finds "dog", half true
    assert scored["text_to_image_true_r1"] == pytest.approx(2 / 3)
    log3 = 1 / math.log2(3)
    second = (0.5 + 1.0 / 2) / (1.0 + 0.5 * log3)
    assert scored["image_to_text_ndcg10"] == pytest.approx((1 + second) / 2)
    dog = (0.5 + 1.0 * log3) / (1.0 + 0.5 * log3)
    assert scored["text_to_image_ndcg10"] == pytest.approx((dog + 1 + 1) / 3)


@pytest.mark.parametrize(
    ("counts", "protocol", "most"),
    [
        ([5] * 12, "five_captions", 5),
        ([5] * 12, "one_caption", 1),
        ([5, 7, 6, 5] * 3, "five_captions", 5),
        ([5, 7, 6, 5] * 3, "all_captions", 7),
        ([5, 7, 6, 5] * 3, "one_caption", 1),
        (UNEQUAL, "all_captions", 6),
        (UNEQUAL, "one_caption", 1),
        ([1] * 12, "one_caption", 1),
    ],
)
def test_recall_and_median_rank_equal_their_slow_twins(counts: list[int], protocol: str, most: int) -> None:
    embedded = noise(counts, dimensions=4)
    scored = values(retrieval.measure(embedded), protocol)
    for way, places in zip(("image_to_text", "text_to_image"), slow_places(embedded, most), strict=True):
        for k in (1, 5, 10):
            slow = sum(place <= k for place in places) / len(places)
            assert scored[f"{way}_r{k}"] == pytest.approx(slow)
        ranked = sorted(places)
        middle = ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]
        assert scored[f"{way}_median_rank"] == middle // 2


@pytest.mark.parametrize(
    ("counts", "names"),
    [
        ([5, 5, 5], ["five_captions", "one_caption"]),
        ([5, 7, 5], ["five_captions", "all_captions", "one_caption"]),
        ([7, 7, 7], ["five_captions", "all_captions", "one_caption"]),
        ([4, 5, 5], ["all_captions", "one_caption"]),
        ([1, 1, 1], ["one_caption"]),
    ],
)
def test_a_set_has_the_protocols_that_its_captions_allow(counts: list[int], names: list[str]) -> None:
    measured = retrieval.measure(noise(counts))
    assert list(dict.fromkeys(one.protocol for one in measured)) == names
    assert len(measured) == 8 * len(names)


def test_one_caption_is_harder_than_five_from_image_to_text_and_not_the_same_number() -> None:
    # a model that knows much: each caption is its image with noise
    images = splits.directions(300, 16, seed=0)
    rows = images.repeat_interleave(5, dim=0) + 1.3 * splits.directions(1500, 16, seed=1)
    measured = retrieval.measure(splits.captioned(images, splits.numbered([5] * 300), rows))
    five, one = (values(measured, name)["image_to_text_r1"] for name in ("five_captions", "one_caption"))
    assert 0.05 < one < five - 0.05


def test_noise_scores_chance_in_both_directions() -> None:
    # a published script left the ranks of four of five captions at 0, which are hits: noise scored 80 %
    images = 400
    measured = retrieval.measure(noise([5] * images))
    for protocol, each in (("five_captions", 5), ("one_caption", 1)):
        scored = values(measured, protocol)
        for k in (1, 5, 10):
            texts = each * images
            missed = math.prod((texts - each - place) / (texts - place) for place in range(k))
            for name, chance, queries in (
                (f"image_to_text_r{k}", 1 - missed, images),
                (f"text_to_image_r{k}", k / images, texts),
            ):
                error = math.sqrt(chance * (1 - chance) / queries)
                assert scored[name] == pytest.approx(chance, abs=4 * error)


def test_a_model_that_says_the_same_of_everything_scores_chance() -> None:
    same = splits.captioned(torch.ones(20, 3), splits.numbered([5] * 20), torch.ones(100, 3))
    scored = values(retrieval.measure(same), "five_captions")
    assert scored["image_to_text_r1"] == scored["text_to_image_r1"] == pytest.approx(1 / 20)
    assert scored["text_to_image_median_rank"] == 10


def test_a_model_that_knows_the_truth_scores_one_under_every_protocol() -> None:
    rows = torch.eye(12).repeat_interleave(5, dim=0)
    measured = retrieval.measure(splits.captioned(torch.eye(12), splits.numbered([5] * 12), rows))
    assert {one.value for one in measured} == {1.0}


def twins(images: int) -> tuple[Embedded, Tensor]:
    """Pairs of images with equal content: a right model cannot tell them apart, and the gains say so."""
    kind = torch.arange(images) // 2
    of_captions = kind.repeat_interleave(5)
    axes = torch.eye(images)
    embedded = splits.captioned(axes[kind], splits.numbered([5] * images), axes[of_captions])
    return embedded, (kind[:, None] == of_captions[None, :]).float()


def test_true_recall_forgives_what_no_model_could_know_and_plain_recall_does_not() -> None:
    embedded, gains = twins(12)
    measured = retrieval.measure(embedded, gains)
    for direction in ("image_to_text", "text_to_image"):
        assert values(measured, "graded")[f"{direction}_true_r1"] == 1
        assert values(measured, "graded")[f"{direction}_ndcg10"] == pytest.approx(1)
        assert values(measured, "five_captions")[f"{direction}_r1"] == pytest.approx(0.5)


def test_the_mean_of_the_items_is_the_metric() -> None:
    measured = retrieval.measure(noise([5] * 12, dimensions=3), twins(12)[1])
    with_items = [one for one in measured if one.items is not None]
    assert len(with_items) == 8
    for one in with_items:
        assert one.items is not None
        assert float(one.items.value.mean()) == one.value
        queries = 12 if one.metric.startswith("image") or one.protocol == "one_caption" else 60
        assert len(one.items.value) == queries


def test_without_gains_nothing_graded_is_measured() -> None:
    assert "graded" not in {one.protocol for one in retrieval.measure(noise([5] * 12))}


def test_an_image_without_a_caption_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="image s1 of benchmark made, split test, has no caption"):
        retrieval.measure(splits.captioned(torch.eye(2), [("a",), ()], torch.eye(2)[:1]))


class Largest(TorchDispatchMode):
    """The most numbers that a tensor made meanwhile held."""

    numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
        made = function(*arguments, **(named or {}))
        for one in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(one, Tensor):
                self.numbers = max(self.numbers, one.numel())
        return made


def test_a_large_set_is_scored_without_a_table_of_all_images_and_captions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded = noise([5] * 600, dimensions=8)
    texts = embedded.texts([caption for said in embedded.captions for caption in said])
    known = replace(embedded, texts=lambda asked: texts)
    whole = retrieval.measure(known)
    monkeypatch.setattr(retrieval, "TABLE", 600 * 3000 - 1)
    with Largest() as seen:
        parts = retrieval.measure(known)
    assert seen.numbers == 512 * 3000  # rows of queries at once
    assert [one.value for one in parts] == [one.value for one in whole]
