"""Retrieval with several captions an image: plain recall and graded gains."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rankclip.data.benchmarks.benchmark import BenchmarkSplit, Sample
from rankclip.errors import DataError
from rankclip.evaluation import retrieval
from rankclip.evaluation.encoder import Encoder
from rankclip.evaluation.reference import LatentEncoder, NoiseEncoder
from rankclip.evaluation.scores import Measured


def pairs(captions: list[tuple[str, ...]]) -> BenchmarkSplit:
    samples = tuple(
        Sample(f"s{i}", f"image {i}".encode(), "png", None, said) for i, said in enumerate(captions)
    )
    return BenchmarkSplit("made", "test", samples, (), (), "retrieval", "d")


def five(images: int) -> BenchmarkSplit:
    return pairs([tuple(f"caption {i}.{j}" for j in range(5)) for i in range(images)])


def values(measured: list[Measured]) -> dict[str, float]:
    return {one.metric: one.value for one in measured}


def slow_recall(encoder: Encoder, data: BenchmarkSplit, k: int) -> tuple[float, float]:
    """Recall image to text and text to image, straight from the definition."""
    said = [(i, caption) for i, sample in enumerate(data.samples) for caption in sample.captions]
    images = encoder.encode_images([sample.image for sample in data.samples])
    texts = encoder.encode_texts([caption for _, caption in said])
    scores = (images @ texts.T).tolist()
    found_images = 0
    for i, row in enumerate(scores):
        ranked = sorted(range(len(said)), key=[-score for score in row].__getitem__)
        found_images += any(said[j][0] == i for j in ranked[:k])
    found_captions = 0
    for j, (owner, _) in enumerate(said):
        ranked = sorted(range(len(images)), key=[-row[j] for row in scores].__getitem__)
        found_captions += owner in ranked[:k]
    return found_images / len(images), found_captions / len(said)


HAND = LatentEncoder(
    {b"image 0": torch.tensor([1.0, 0.0, 0.0]), b"image 1": torch.tensor([0.0, 1.0, 0.0])},
    {
        "dog": torch.tensor([0.6, 0.8, 0.0]),  # of image 0, nearer to image 1
        "pet": torch.tensor([0.8, 0.6, 0.0]),  # of image 0, nearest to it
        "cat": torch.tensor([0.9, 0.0, 0.43]),  # of image 1, nearest to image 0
    },
)
HAND_DATA = pairs([("dog", "pet"), ("cat",)])


def test_a_table_of_two_images_and_three_captions_scores_what_was_counted_by_hand() -> None:
    to_text, to_image = retrieval.rank(HAND, HAND_DATA)
    assert to_text.order.tolist() == [[2, 1, 0], [0, 1, 2]]
    assert to_text.found.tolist() == [[False, True, True], [False, False, True]]
    assert to_text.own.tolist() == [0, 2]
    assert to_image.order.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert to_image.found.tolist() == [[False, True], [True, False], [False, True]]
    assert to_image.own.tolist() == [0, 0, 1]
    scored = values(retrieval.measure(HAND, HAND_DATA, None))
    assert scored["image_to_text_r1"] == 0
    assert scored["image_to_text_r5"] == 1
    assert scored["text_to_image_r1"] == pytest.approx(1 / 3)


def test_gains_of_a_table_score_what_was_computed_by_hand() -> None:
    gains = torch.tensor([[1.0, 1.0, 1.0], [0.5, 0.0, 1.0]])  # "cat" is true of both images
    scored = values(retrieval.measure(HAND, HAND_DATA, gains))
    assert scored["image_to_text_true_r1"] == 0.5  # image 0 finds "cat", true; image 1 finds "dog", half true
    assert scored["text_to_image_true_r1"] == pytest.approx(2 / 3)
    log3 = 1 / math.log2(3)
    second = (0.5 + 1.0 / 2) / (1.0 + 0.5 * log3)
    assert scored["image_to_text_ndcg10"] == pytest.approx((1 + second) / 2)
    dog = (0.5 + 1.0 * log3) / (1.0 + 0.5 * log3)
    assert scored["text_to_image_ndcg10"] == pytest.approx((dog + 1 + 1) / 3)


@pytest.mark.parametrize("counts", [[5] * 12, [1, 4, 2, 5, 3, 1, 1, 6, 2, 2, 3, 1]])
def test_recall_equals_its_slow_twin_also_with_unequal_numbers_of_captions(counts: list[int]) -> None:
    data = pairs([tuple(f"caption {i}.{j}" for j in range(count)) for i, count in enumerate(counts)])
    encoder = NoiseEncoder(dimensions=4)
    scored = values(retrieval.measure(encoder, data, None))
    for k in (1, 5, 10):
        slow = slow_recall(encoder, data, k)
        assert (scored[f"image_to_text_r{k}"], scored[f"text_to_image_r{k}"]) == pytest.approx(slow)


def test_noise_scores_chance_in_both_directions() -> None:
    # a published script left the ranks of four of five captions at 0, which are hits: noise scored 80 %
    images = 400
    scored = values(retrieval.measure(NoiseEncoder(), five(images), None))
    for k in (1, 5, 10):
        missed = math.prod((5 * images - 5 - place) / (5 * images - place) for place in range(k))
        for name, chance, queries in (
            (f"image_to_text_r{k}", 1 - missed, images),
            (f"text_to_image_r{k}", k / images, 5 * images),
        ):
            assert scored[name] == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / queries))


def test_a_model_that_says_the_same_of_everything_scores_chance() -> None:
    data = five(20)
    same = torch.ones(3)
    texts = {caption: same for sample in data.samples for caption in sample.captions}
    images = {sample.image: same for sample in data.samples}
    scored = values(retrieval.measure(LatentEncoder(images, texts), data, None))
    assert scored["image_to_text_r1"] == scored["text_to_image_r1"] == pytest.approx(1 / 20)


def latents(images: int) -> tuple[BenchmarkSplit, LatentEncoder, Tensor]:
    """Pairs of images with equal content: a right model cannot tell them apart, and the gains say so."""
    data = five(images)
    axes = torch.eye(images)
    pictures = {sample.image: axes[i // 2] for i, sample in enumerate(data.samples)}
    texts = {caption: axes[i // 2] for i, sample in enumerate(data.samples) for caption in sample.captions}
    kind = torch.arange(images) // 2
    gains = (kind[:, None] == kind.repeat_interleave(5)[None, :]).float()
    return data, LatentEncoder(pictures, texts), gains


def test_true_recall_forgives_what_no_model_could_know_and_plain_recall_does_not() -> None:
    data, encoder, gains = latents(12)
    scored = values(retrieval.measure(encoder, data, gains))
    for direction in ("image_to_text", "text_to_image"):
        assert scored[f"{direction}_true_r1"] == 1
        assert scored[f"{direction}_ndcg10"] == pytest.approx(1)
        assert scored[f"{direction}_r1"] == pytest.approx(0.5)


def test_the_mean_of_the_items_is_the_metric() -> None:
    data, _, gains = latents(12)
    measured = retrieval.measure(NoiseEncoder(dimensions=3), data, gains)
    with_items = [one for one in measured if one.items is not None]
    assert len(with_items) == 6
    for one in with_items:
        assert one.items is not None
        assert float(one.items.value.mean()) == one.value
        assert len(one.items.value) == (12 if one.metric.startswith("image") else 60)


def test_without_gains_only_plain_recall_is_measured() -> None:
    measured = retrieval.measure(NoiseEncoder(), five(12), None)
    assert {one.protocol for one in measured} == {"five_captions"}
    assert len(measured) == 6


def test_a_set_that_has_not_five_captions_each_says_so() -> None:
    assert {one.protocol for one in retrieval.measure(HAND, HAND_DATA, None)} == {"all_captions"}


def test_an_image_without_a_caption_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="image s1 of benchmark made has no caption"):
        retrieval.measure(NoiseEncoder(), pairs([("a",), ()]), None)
