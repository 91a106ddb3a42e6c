"""The published benchmark sets: where the Hugging Face hub has each, and what a user should know of it.

Images, classes and the metric that a set is judged by are those of DataComp's tasklist.yml (Gadre et al.,
2023), which follows CLIP, Table 9 (Radford et al., 2021); those of retrieval are Karpathy's test splits (CVPR
2015). Which splits there are is what the hub lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Headline = Literal["top1", "mean_per_class", "image_to_text_r1"]
"""Metric by which a set is judged where one number is quoted."""


@dataclass(frozen=True)
class PublicSet:
    """A set in CLIP_benchmark's layout on the hub, or an archive from which one is made."""

    line: str
    """What is asked, and of how many."""
    repository: str
    images: int
    """Of the test split."""
    classes: int
    """0 for retrieval."""
    headline: Headline = "top1"
    train: bool = False
    """Whether it has a train split."""
    terms: str = ""
    """Of use, as the makers state them; empty where they state none that we know of."""
    archive: str = ""
    """A tar.gz of `NAME/LABEL/IMAGE.jpeg` in `repository`; empty for a set in the layout."""

    @property
    def task(self) -> Literal["classification", "retrieval"]:
        """What is measured on it."""
        return "classification" if self.classes else "retrieval"


IMAGENET = "non-commercial research, terms of image-net.org"
RESEARCH = "non-commercial research"
V2 = "vaishaal/ImageNetV2"
CLASS_TEXTS = "imagenetv2"
"""The set whose class names and prompts a set made of an archive has."""


def _hub(name: str) -> str:
    return f"clip-benchmark/wds_{name}"


SETS: Mapping[str, PublicSet] = {
    "imagenet1k": PublicSet(
        "ImageNet-1k, the 50,000 validation photographs.",
        *(_hub("imagenet1k"), 50_000, 1000, "top1", True, IMAGENET),
    ),
    "imagenetv2": PublicSet(
        "ImageNet-V2, matched frequency.", *(_hub("imagenetv2"), 10_000, 1000, "top1", False, IMAGENET)
    ),
    "imagenetv2-threshold": PublicSet(
        "ImageNet-V2, threshold 0.7.",
        *(V2, 10_000, 1000, "top1", False, IMAGENET, "imagenetv2-threshold0.7.tar.gz"),
    ),
    "imagenetv2-top": PublicSet(
        "ImageNet-V2, top images.",
        *(V2, 10_000, 1000, "top1", False, IMAGENET, "imagenetv2-top-images.tar.gz"),
    ),
    "imagenet_sketch": PublicSet(
        "ImageNet-Sketch, drawings of its classes.", _hub("imagenet_sketch"), 50_889, 1000
    ),
    "imagenet-a": PublicSet("ImageNet-A, photographs that fool a ResNet-50.", _hub("imagenet-a"), 7_500, 200),
    "imagenet-r": PublicSet("ImageNet-R, renditions: art, toys, graffiti.", _hub("imagenet-r"), 30_000, 200),
    "vtab-cifar10": PublicSet("CIFAR-10, 32 pixels.", _hub("vtab-cifar10"), 10_000, 10, train=True),
    "vtab-cifar100": PublicSet("CIFAR-100, 32 pixels.", _hub("vtab-cifar100"), 10_000, 100, train=True),
    "stl10": PublicSet("STL-10, 96 pixels.", _hub("stl10"), 8_000, 10, train=True),
    "vtab-caltech101": PublicSet(
        "Caltech-101 with its background class.",
        *(_hub("vtab-caltech101"), 6_085, 102, "mean_per_class", True, "CC BY 4.0"),
    ),
    "vtab-dtd": PublicSet("Describable Textures.", *(_hub("vtab-dtd"), 1_880, 47, "top1", True, "research")),
    "fgvc_aircraft": PublicSet(
        "FGVC-Aircraft, variants of aeroplanes.",
        *(_hub("fgvc_aircraft"), 3_333, 100, "mean_per_class", True, RESEARCH),
    ),
    "vtab-flowers": PublicSet(
        "Oxford Flowers-102.", *(_hub("vtab-flowers"), 6_149, 102, "mean_per_class", True)
    ),
    "food101": PublicSet("Food-101, dishes.", _hub("food101"), 25_250, 101, train=True),
    "gtsrb": PublicSet("GTSRB, German traffic signs.", _hub("gtsrb"), 12_630, 43, train=True),
    "vtab-pets": PublicSet(
        "Oxford-IIIT Pets, breeds of cats and dogs.",
        *(_hub("vtab-pets"), 3_669, 37, "mean_per_class", True, "CC BY-SA 4.0"),
    ),
    "cars": PublicSet("Stanford Cars, model and year.", *(_hub("cars"), 8_041, 196, "top1", True, RESEARCH)),
    "vtab-svhn": PublicSet(
        "SVHN, house numbers.", *(_hub("vtab-svhn"), 26_032, 10, "top1", True, "non-commercial")
    ),
    "renderedsst2": PublicSet(
        "Rendered SST2, sentences as images: liked or not.", _hub("renderedsst2"), 1_821, 2, train=True
    ),
    "flickr30k": PublicSet(
        "Flickr30k, Karpathy's test split, five captions an image.",
        *(_hub("flickr30k"), 1_000, 0, "image_to_text_r1", True, f"{RESEARCH} and education"),
    ),
    "mscoco_captions": PublicSet(
        "MSCOCO 2014, Karpathy's test split, 25,010 captions.",
        *(_hub("mscoco_captions"), 5_000, 0, "image_to_text_r1", True, "captions CC BY 4.0, images Flickr's"),
    ),
}
"""By name: the hub's without `wds_`, slashes as `-`. A set of VTAB trains on VTAB's own part of the train
images, without those that VTAB validates on (of CIFAR 45,000 of 50,000)."""
