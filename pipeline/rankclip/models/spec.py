"""Which model a study trains."""

from __future__ import annotations

from typing import Literal

from rankclip.spec import Spec

ModelName = Literal["shapes-rn", "shapes-vit", "RN50", "ViT-B-32", "ViT-B-16"]


class ModelSpec(Spec):
    """A model by its configuration in open_clip's JSON form, ours (`models/configs`) or open_clip's own."""

    name: ModelName
    """`shapes-rn`: a ResNet of four blocks at 32 pixels. `shapes-vit`: a ViT of four blocks at 32 pixels."""
