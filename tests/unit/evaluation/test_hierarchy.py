"""Which classes are kin, and how bad mistakes are."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from rankclip.data.shapes import vocabulary as words
from rankclip.data.shapes.benchmarks import TASKS
from rankclip.evaluation import hierarchy

PETS = hierarchy.Hierarchy({"cats": ("tabby", "siamese"), "dogs": ("pug", "beagle")})


def test_kin_have_height_one_and_others_two() -> None:
    heights = PETS.heights(("pug", "tabby", "beagle"))
    assert heights.tolist() == [[0, 2, 1], [2, 0, 2], [1, 2, 0]]


def test_severity_is_the_mean_height_of_the_mistakes_alone() -> None:
    heights = PETS.heights(("pug", "tabby", "beagle"))
    targets = torch.tensor([0, 0, 0, 1, 1])
    predictions = torch.tensor([0, 0, 1, 0, 1])  # pug for tabby, tabby for pug
    assert hierarchy.severity(heights, targets, predictions) == 2
    assert hierarchy.severity(heights, targets, torch.tensor([0, 2, 1, 1, 1])) == 1.5


def test_without_a_mistake_there_is_no_severity() -> None:
    assert (
        hierarchy.severity(PETS.heights(("pug", "tabby")), torch.tensor([0, 1]), torch.tensor([0, 1])) is None
    )


def test_random_mistakes_are_as_severe_as_the_share_of_strangers() -> None:
    heights = hierarchy.CIFAR100.heights(sorted(hierarchy.CIFAR100.classnames))
    generator = torch.Generator().manual_seed(0)
    targets, predictions = (torch.randint(100, (20_000,), generator=generator) for _ in range(2))
    found = hierarchy.severity(heights, targets, predictions)
    assert found == pytest.approx(2 - 4 / 99, abs=0.006)


def test_cifar_100_has_twenty_groups_of_five_and_no_class_twice() -> None:
    groups = hierarchy.CIFAR100.groups
    assert Counter(map(len, groups.values())) == {5: 20}
    assert len(hierarchy.CIFAR100.classnames) == 100


def test_a_hierarchy_is_found_by_its_classes_however_they_are_written() -> None:
    names = sorted(hierarchy.CIFAR100.classnames)
    assert hierarchy.of(names) is hierarchy.CIFAR100
    assert hierarchy.of([name.title().replace(" ", "_") for name in reversed(names)]) is hierarchy.CIFAR100
    assert hierarchy.of(names[1:]) is None
    assert hierarchy.of([*names, "unicorn"]) is None


def test_the_embedded_sets_have_the_hierarchies_that_the_world_is_drawn_with() -> None:
    assert hierarchy.of(TASKS["composition"].classnames) is hierarchy.COMPOSITION
    assert hierarchy.of(TASKS["shape"].classnames) is hierarchy.SHAPE
    for number, (name, *_) in enumerate(words.SHAPES):
        assert name in hierarchy.SHAPE.groups[words.FAMILIES[words.FAMILY_OF[number]][0]]
    assert [task for task in TASKS if hierarchy.of(TASKS[task].classnames)] == ["shape", "composition"]


def test_a_red_square_is_kin_to_what_is_red_and_to_squares() -> None:
    heights = hierarchy.COMPOSITION.heights(("red square", "red star", "blue square", "blue star"))
    assert heights[0].tolist() == [0, 1, 1, 2]
