"""A small world for tests."""

from __future__ import annotations

from typing import Any

from rankclip.data.shapes.spec import ShapesSpec

NO_MENTIONS = dict.fromkeys(("shape", "hue", "size", "cell", "fill", "background", "other_objects"), 0.0)
WORLD: dict[str, Any] = {
    "seed": 11, "images": 120, "side": 32, "zipf": 0.8, "digits": 0.2, "textures": 0.4,
    "objects": (0.5, 0.3, 0.2), "ambiguity": 0.2, "noise": 0.1, "boilerplate": 0.2, "pixel_noise": 0.02,
    "duplicate_urls": 0.05, "bad_rows": 0.1, "trouble": {},
    "mentions": {
        "shape": 0.9, "hue": 0.7, "size": 0.5, "cell": 0.5, "fill": 0.5, "background": 0.5,
        "other_objects": 0.9,
    },
}  # fmt: skip


def spec(**changes: Any) -> ShapesSpec:
    return ShapesSpec.model_validate({**WORLD, **changes})
