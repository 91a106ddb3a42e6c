"""Which classes are kin, and how bad a mistake is: kin taken for one another are a lighter one.

Severity as in Bertinetto et al., "Making Better Mistakes", CVPR 2020: the height of the lowest common
ancestor of the true and the predicted class. Here a class has height 0, a group 1, what holds all of them 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROOT = 2
"""Height of what holds all classes."""


@dataclass(frozen=True)
class Hierarchy:
    """Groups of classes that are kin. A class may be in several, as a red square is a square and red."""

    groups: Mapping[str, tuple[str, ...]]
    """Class names by group."""

    @property
    def classnames(self) -> frozenset[str]:
        """All classes."""
        return frozenset(name for names in self.groups.values() for name in names)

    def heights(self, classnames: Sequence[str]) -> Tensor:
        """Of the lowest common ancestor of each two of C classes: `[C, C]`, int64, 0 on the diagonal."""
        names = [spelt(name) for name in classnames]
        table = torch.full((len(names), len(names)), ROOT)
        for members in self.groups.values():
            inside = torch.tensor([name in members for name in names])
            table[inside[:, None] & inside] = 1
        return table.fill_diagonal_(0)


def of(classnames: Sequence[str]) -> Hierarchy | None:
    """The hierarchy of exactly these classes in any order; None where none is known."""
    names = frozenset(map(spelt, classnames))
    return next((known for known in KNOWN if known.classnames == names), None)


def severity(heights: Tensor, targets: Tensor, predictions: Tensor) -> float | None:
    """Mean height over the mistakes, from 1 (always kin) to 2 (never); None where there is no mistake.

    Args:
        heights: of lowest common ancestors `[C, C]`.
        targets: true classes `[N]`.
        predictions: predicted classes `[N]`.
    """
    wrong = targets != predictions
    return float(heights[targets[wrong], predictions[wrong]].double().mean()) if bool(wrong.any()) else None


def spelt(name: str) -> str:
    """A class name as the tables below spell it: `Aquarium_Fish` is `aquarium fish`."""
    return " ".join(name.replace("_", " ").lower().split())


def _crossed(first: Sequence[str], second: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Groups of the classes `<first> <second>`: those that share either word."""
    by_first = {one: tuple(f"{one} {other}" for other in second) for one in first}
    return by_first | {other: tuple(f"{one} {other}" for one in first) for other in second}


CIFAR100 = Hierarchy(
    {
        "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
        "fish": ("aquarium fish", "flatfish", "ray", "shark", "trout"),
        "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
        "food containers": ("bottle", "bowl", "can", "cup", "plate"),
        "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet pepper"),
        "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
        "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
        "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
        "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
        "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
        "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
        "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
        "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
        "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
        "people": ("baby", "boy", "girl", "man", "woman"),
        "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
        "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
        "trees": ("maple tree", "oak tree", "palm tree", "pine tree", "willow tree"),
        "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup truck", "train"),
        "vehicles 2": ("lawn mower", "rocket", "streetcar", "tank", "tractor"),
    }
)
"""The 20 superclasses of Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009."""

SHAPE = Hierarchy(
    {
        "polygon": ("square", "triangle", "hexagon", "pentagon"),
        "round shape": ("circle", "ring", "crescent", "oval"),
        "pointed shape": ("star", "cross", "arrow", "bolt"),
    }
)
"""The families of the shapes of the embedded world."""

COMPOSITION = Hierarchy(_crossed(("red", "yellow", "blue", "purple"), ("circle", "square", "star", "cross")))
"""Shape and colour of the embedded world: a mistake may still have one of the two right."""

KNOWN = (CIFAR100, SHAPE, COMPOSITION)
