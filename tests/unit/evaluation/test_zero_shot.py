"""Zero-shot classification."""

from __future__ import annotations

import pytest
import torch

from rankclip.data.benchmarks.benchmark import BenchmarkSplit, Sample
from rankclip.errors import DataError
from rankclip.evaluation import zero_shot
from rankclip.evaluation.reference import LatentEncoder, NoiseEncoder
from rankclip.evaluation.scores import Measured


def classes(
    labels: list[int], names: tuple[str, ...], templates: tuple[str, ...] = ("a {c}",)
) -> BenchmarkSplit:
    samples = tuple(
        Sample(f"s{i}", f"image {i}".encode(), "png", label, ()) for i, label in enumerate(labels)
    )
    return BenchmarkSplit("made", "test", samples, names, templates, "classification", "d")


def values(measured: list[Measured]) -> dict[str, float]:
    return {one.metric: one.value for one in measured}


def test_every_class_meets_every_template_class_by_class() -> None:
    assert zero_shot.prompts(["ox", "{x}"], ["a {c}", "{c}!"]) == ["a ox", "ox!", "a {x}", "{x}!"]


def test_a_class_is_the_normalised_mean_of_its_unit_prompts() -> None:
    texts = {"a ox": torch.tensor([2.0, 0.0]), "an ox": torch.tensor([0.0, 3.0])}
    weights = zero_shot.classifier(LatentEncoder({}, texts), ["ox"], ["a {c}", "an {c}"])
    torch.testing.assert_close(weights, torch.full((1, 2), 0.5**0.5))


def test_a_table_of_four_images_scores_what_was_counted_by_hand() -> None:
    axes = torch.eye(4)
    texts = {f"a {name}": axes[c] for c, name in enumerate("wxyz")}
    images = {
        b"image 0": torch.tensor([0.9, 0.3, 0.2, 0.1]),  # label 0, first
        b"image 1": torch.tensor([0.1, 0.9, 0.3, 0.2]),  # label 0, last
        b"image 2": torch.tensor([0.3, 0.9, 0.1, 0.2]),  # label 0, second
        b"image 3": torch.tensor([0.1, 0.2, 0.3, 0.9]),  # label 3, first
    }
    measured = zero_shot.measure(LatentEncoder(images, texts), classes([0, 0, 0, 3], tuple("wxyz")))
    assert values(measured) == pytest.approx({"top1": 0.5, "mean_per_class": (1 / 3 + 1) / 2, "top3": 0.75})
    items = measured[0].items
    assert items is not None
    assert items.target.tolist() == [0, 0, 0, 3]
    assert items.prediction.tolist() == [0, 1, 1, 3]
    assert items.value.tolist() == [1, 0, 0, 1]


def test_a_k_that_takes_in_every_class_is_not_reported() -> None:
    names = {count: tuple(f"n{i}" for i in range(count)) for count in (2, 3, 4, 5, 6)}
    reported = {
        count: set(values(zero_shot.measure(NoiseEncoder(), classes([0], names[count])))) for count in names
    }
    both = {"top1", "mean_per_class"}
    assert reported == {2: both, 3: both, 4: both | {"top3"}, 5: both | {"top3"}, 6: both | {"top3", "top5"}}


def test_noise_scores_chance() -> None:
    count, names = 3000, tuple(f"class {i}" for i in range(10))
    data = classes([i % 10 for i in range(count)], names)
    scored = values(zero_shot.measure(NoiseEncoder(), data))
    for metric, chance in {"top1": 0.1, "mean_per_class": 0.1, "top3": 0.3, "top5": 0.5}.items():
        assert scored[metric] == pytest.approx(chance, abs=4 * (chance * (1 - chance) / count) ** 0.5)


def test_a_model_that_says_the_same_of_everything_scores_chance() -> None:
    same = torch.ones(4)
    texts = {f"a n{i}": same for i in range(10)}
    images = {f"image {i}".encode(): same for i in range(50)}
    data = classes([i % 10 for i in range(50)], tuple(f"n{i}" for i in range(10)))
    scored = values(zero_shot.measure(LatentEncoder(images, texts), data))
    assert scored == pytest.approx({"top1": 0.1, "mean_per_class": 0.1, "top3": 0.3, "top5": 0.5})


@pytest.mark.parametrize(("names", "templates"), [((), ("{c}",)), (("a",), ())])
def test_a_benchmark_without_classes_or_templates_is_refused(
    names: tuple[str, ...], templates: tuple[str, ...]
) -> None:
    with pytest.raises(DataError, match=r"make no classifier; see classnames\.txt"):
        zero_shot.classifier(NoiseEncoder(), names, templates)
