"""Sets of judgements in their published form, made by hand: six images, eleven captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.data.crawled import encoded, picture

IMAGES = (7, 42, 139, 285, 632, 724)
CAPTIONS = {
    101: (42, "a dog on grass\n"),
    102: (42, "the  dog runs"),
    103: (7, "a red bus"),
    105: (139, "two cats"),
    104: (7, "a bus at a stop"),
    106: (285, "a bear"),
    107: (285, "a bear that sits"),
    108: (632, "a bedroom"),
    109: (632, "books by a bed"),
    110: (724, "a stop sign"),
    111: (724, "a sign in red"),
}
"""Number -> (number of the image, text)."""


def write_coco(root: Path, images: tuple[int, ...] = IMAGES) -> None:
    """COCO's captions, and images of both years."""
    said = [{"id": n, "image_id": image, "caption": text} for n, (image, text) in CAPTIONS.items()]
    listed = [{"id": image, "file_name": f"COCO_val2014_{image:012d}.jpg"} for image in IMAGES]
    write_json(root / "coco/annotations/captions_val2014.json", {"images": listed, "annotations": said})
    for place, image in enumerate(images):
        for name in (f"val2014/COCO_val2014_{image:012d}.jpg", f"val2017/{image:012d}.jpg"):
            file = root / "coco" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(picture((40 * place, 0, 0))))


def write_crisscrossed(root: Path, split: str = "test") -> None:
    """Three tables of ratings; image 724 and its captions are in none."""
    lines = {
        "sis": ["image1,image2,agg_score", *(f"{i(a)},{i(b)},{s}" for a, b, s in SIS)],
        "sts": ["caption1,caption2,agg_score", *(f"{c(a)},{c(b)},{s}" for a, b, s in STS)],
        "sits": ["caption,image,agg_score", *(f"{c(a)},{i(b)},{s}" for a, b, s in SITS)],
    }
    for kind, rows in lines.items():
        rows = [f"{row},{'sampling_method' if place == 0 else 'drawn'}" for place, row in enumerate(rows)]
        file = root / "crisscrossed" / f"{kind}_{split}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(rows) + "\n")


SIS = [(42, 7, 0.4), (42, 285, 2.5), (7, 42, 0.4), (285, 139, 3.0), (632, 7, 1.25)]
STS = [(101, 102, 4.5), (103, 104, 3.9), (106, 101, 1.0), (105, 108, 0.0), (108, 109, 2.2)]
SITS = [(102, 42, 5.0), (103, 42, 0.2), (101, 7, 0.0), (106, 285, 4.97), (105, 139, 4.1)]


def i(number: int) -> str:
    return f"COCO_val2014_{number:012d}.jpg"


def c(number: int) -> str:
    return f"COCO_val2014:sentid:{number}"


def write_eccv(root: Path) -> None:
    """A gallery of three images and five captions; the captions of 42 also fit 285."""
    folder = root / "eccv_caption"
    write_json(folder / "original_image_to_caption.json", {"285": [106, 107], "42": [101, 102], "7": [103]})
    write_json(folder / "eccv_image_to_caption.json", {"42": [102, 101], "285": [107, 101, 102, 106]})
    write_json(folder / "eccv_caption_to_image.json", {"103": [7], "101": [42, 285]})


def write_sugarcrepe(root: Path) -> None:
    """Two questions of one category, one of each other; one image is asked about twice."""
    for place, category in enumerate(
        ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
    ):
        rows = {"0": row(IMAGES[place % 6], f"true of {category}", f"false  of {category} ")}
        if category == "swap_att":
            rows["17"] = row(42, "a red dog", "a blue dog")
        write_json(root / "sugarcrepe" / f"{category}.json", rows)


def row(image: int, caption: str, negative: str) -> dict[str, str]:
    return {"filename": f"{image:012d}.jpg", "caption": caption, "negative_caption": negative}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
