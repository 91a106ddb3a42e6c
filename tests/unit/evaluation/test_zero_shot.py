"""Zero-shot classification."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rankclip.errors import DataError
from rankclip.evaluation import metrics, zero_shot
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Measured
from tests.unit.evaluation import splits


def values(measured: list[Measured]) -> dict[str, float]:
    return {one.metric: one.value for one in measured}


def names(count: int) -> tuple[str, ...]:
    return tuple(f"n{i}" for i in range(count))


def axes(count: int) -> dict[str, Tensor]:
    """A prompt of each class on its own axis."""
    return {f"a {name}": row for name, row in zip(names(count), torch.eye(count), strict=True)}


def noise(images: int, classes: int) -> Embedded:
    """A model that knows nothing, on classes in turn."""
    rows = splits.directions(images + classes, 64, seed=0)
    table = dict(zip((f"a {name}" for name in names(classes)), rows[images:], strict=True))
    return splits.labelled(rows[:images], [i % classes for i in range(images)], names(classes), table)


def test_every_class_meets_every_template_class_by_class() -> None:
    assert zero_shot.prompts(["ox", "{x}"], ["a {c}", "{c}!"]) == ["a ox", "ox!", "a {x}", "{x}!"]


def test_a_class_is_the_normalised_mean_of_its_unit_prompts() -> None:
    texts = splits.looked_up({"a ox": torch.tensor([2.0, 0.0]), "an ox": torch.tensor([0.0, 3.0])})
    weights = zero_shot.classifier(texts, ["ox"], ["a {c}", "an {c}"])
    torch.testing.assert_close(weights, torch.full((1, 2), 0.5**0.5))


def test_each_class_is_made_of_its_own_prompts() -> None:
    rows = dict(zip(("a ox", "ox!", "a ass", "ass!"), torch.eye(4), strict=True))
    weights = zero_shot.classifier(splits.looked_up(rows), ["ox", "ass"], ["a {c}", "{c}!"])
    torch.testing.assert_close(weights, 0.5**0.5 * torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))


def test_all_prompts_of_all_classes_are_asked_for_at_once() -> None:
    asked: list[list[str]] = []

    def texts(given: object) -> Tensor:
        asked.append(list(given))  # type: ignore[call-overload]
        return torch.ones(len(asked[-1]), 2)

    zero_shot.classifier(texts, ["ox", "ass"], ["a {c}", "{c}"])
    assert asked == [["a ox", "ox", "a ass", "ass"]]


FOUR = torch.tensor(
    [
        [0.9, 0.3, 0.2, 0.1],  # label 0, first
        [0.1, 0.9, 0.3, 0.2],  # label 0, last
        [0.3, 0.9, 0.1, 0.2],  # label 0, second
        [0.1, 0.2, 0.3, 0.9],  # label 3, first
    ]
)


def test_a_table_of_four_images_scores_what_was_counted_by_hand() -> None:
    measured = zero_shot.measure(splits.labelled(FOUR, [0, 0, 0, 3], names(4), axes(4)))
    assert values(measured) == pytest.approx({"top1": 0.5, "mean_per_class": (1 / 3 + 1) / 2, "top3": 0.75})
    items = measured[0].items
    assert items is not None
    assert items.target.tolist() == [0, 0, 0, 3]
    assert items.prediction.tolist() == [0, 1, 1, 3]
    assert items.value.tolist() == [1, 0, 0, 1]
    counted = metrics.confusion(items.target, items.prediction, 4)
    assert counted.tolist() == [[1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_the_predicted_classes_are_the_nearest_in_order() -> None:
    predicted = zero_shot.predict(splits.labelled(FOUR, [0, 0, 0, 3], names(4), axes(4)), 3)
    assert predicted.tolist() == [[0, 1, 2], [1, 2, 3], [1, 0, 3], [3, 2, 1]]


def test_the_length_of_an_image_s_row_says_nothing() -> None:
    data = splits.labelled(FOUR, [0, 0, 0, 3], names(4), axes(4))
    longer = splits.labelled(
        FOUR * torch.tensor([[1.0], [90.0], [0.01], [7.0]]), [0, 0, 0, 3], names(4), axes(4)
    )
    assert values(zero_shot.measure(longer)) == values(zero_shot.measure(data))


def test_a_k_that_takes_in_every_class_is_not_reported() -> None:
    reported = {count: set(values(zero_shot.measure(noise(1, count)))) for count in (2, 3, 4, 5, 6)}
    both = {"top1", "mean_per_class"}
    assert reported == {2: both, 3: both, 4: both | {"top3"}, 5: both | {"top3"}, 6: both | {"top3", "top5"}}


def test_a_model_that_knows_the_truth_scores_one() -> None:
    labels = [i % 7 for i in range(21)]
    measured = zero_shot.measure(splits.labelled(torch.eye(7)[labels], labels, names(7), axes(7)))
    assert values(measured) == {"top1": 1, "mean_per_class": 1, "top3": 1, "top5": 1}


def test_noise_scores_chance() -> None:
    count = 3000
    scored = values(zero_shot.measure(noise(count, 10)))
    for metric, chance in {"top1": 0.1, "mean_per_class": 0.1, "top3": 0.3, "top5": 0.5}.items():
        assert scored[metric] == pytest.approx(chance, abs=4 * (chance * (1 - chance) / count) ** 0.5)


def test_a_model_that_says_the_same_of_everything_scores_chance() -> None:
    same = {text: torch.ones(4) for text in axes(10)}
    data = splits.labelled(torch.ones(50, 4), [i % 10 for i in range(50)], names(10), same)
    scored = values(zero_shot.measure(data))
    assert scored == pytest.approx({"top1": 0.1, "mean_per_class": 0.1, "top3": 0.3, "top5": 0.5})


def test_a_wrong_colour_is_as_light_a_mistake_as_a_wrong_shape_and_both_are_worse() -> None:
    # of 4 images of a red circle one is right, two have shape or colour right, one has neither
    classes = [
        f"{hue} {kind}" for hue in ("red", "yellow", "blue", "purple") for kind in ("circle", "square")
    ]
    classes += [f"{hue} {kind}" for hue in ("red", "yellow", "blue", "purple") for kind in ("star", "cross")]
    table = {f"a {name}": row for name, row in zip(classes, torch.eye(16), strict=True)}
    taken_for = [classes.index(name) for name in ("red circle", "red star", "blue circle", "blue cross")]
    data = splits.labelled(torch.eye(16)[taken_for], [classes.index("red circle")] * 4, classes, table)
    assert values(zero_shot.measure(data))["mistake_severity"] == pytest.approx((1 + 1 + 2) / 3)


def test_classes_without_a_hierarchy_have_no_severity() -> None:
    assert "mistake_severity" not in values(zero_shot.measure(noise(50, 16)))


@pytest.mark.parametrize(("classnames", "templates"), [((), ("{c}",)), (("a",), ())])
def test_a_benchmark_without_classes_or_templates_is_refused(
    classnames: tuple[str, ...], templates: tuple[str, ...]
) -> None:
    with pytest.raises(DataError, match=r"make no classifier; see classnames\.txt"):
        zero_shot.classifier(splits.looked_up({}), classnames, templates)


def test_a_retrieval_set_is_refused() -> None:
    with pytest.raises(ValueError, match="made has no labels; it is for retrieval"):
        zero_shot.measure(splits.captioned(torch.eye(2), [("a",), ("b",)], torch.eye(2)))
