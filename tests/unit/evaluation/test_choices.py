"""A true caption against a false one."""

from __future__ import annotations

import pytest
import torch

from rankclip.data.benchmarks.sugarcrepe import Choice
from rankclip.evaluation import choices
from rankclip.evaluation.embedded import Embedded
from tests.unit.evaluation.splits import captioned

TABLE = {
    "true": torch.tensor([1.0, 0.1]),
    "false": torch.tensor([0.1, 1.0]),
    "same": torch.tensor([1.0, 0.1]),
}


def two_images() -> Embedded:
    """Image 0 is nearest to `true`, image 1 to `false`."""
    return captioned(torch.tensor([[3.0, 0.0], [0.0, 0.5]]), [("true",), ("false",)], TABLE)


def test_accuracy_is_per_category_and_their_mean_weighs_categories() -> None:
    asked = [
        Choice("add_att", 0, "true", "false"),
        Choice("add_att", 1, "true", "false"),
        Choice("swap_obj", 1, "false", "true"),
        Choice("add_att", 0, "true", "false"),
    ]
    measured = {one.metric: one for one in choices.measure(two_images(), asked)}
    assert {name: one.value for name, one in measured.items()} == {
        "add_att_accuracy": pytest.approx(2 / 3),
        "swap_obj_accuracy": 1.0,
        "mean_accuracy": pytest.approx(5 / 6),
    }
    items = measured["add_att_accuracy"].items
    assert items is not None
    assert (items.target.tolist(), items.prediction.tolist()) == ([0, 0, 0], [0, 1, 0])


def test_a_model_that_cannot_tell_the_captions_apart_is_wrong() -> None:
    (one, _) = choices.measure(two_images(), [Choice("replace_rel", 0, "true", "same")])
    assert (one.metric, one.value) == ("replace_rel_accuracy", 0.0)
