"""Which model a study trains."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rankclip.spec import Spec

ModelName = Literal[
    "shapes-rn",
    "shapes-vit",
    "RN50",
    "ViT-B-32",
    "ViT-B-16",
    "RN50-quickgelu",
    "ViT-B-32-quickgelu",
    "ViT-B-16-quickgelu",
]

FILE = re.compile(r"[./]")
"""In what names a file and not a tag of open_clip's: `weights.pt`, `runs/a`."""


class ModelSpec(Spec):
    """A model by its configuration in open_clip's JSON form, ours (`models/configs`) or open_clip's own."""

    name: ModelName
    """`shapes-rn`: a ResNet of four blocks at 32 pixels. `shapes-vit`: a ViT of four blocks at 32 pixels.
    `-quickgelu`: with the activation of OpenAI's code and its forks, which weights do not tell."""

    pretrained: Annotated[str, Field(min_length=1)] | None = None
    """Weights that training starts from: a tag of open_clip's, `openai` say, or a file of torch's or of
    safetensors; `null`: random ones."""

    pretrained_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Digest of that file, so that other weights are another run; `rankclip use` fills it in."""

    @model_validator(mode="after")
    def _weights_have_a_digest(self) -> Self:
        if self.pretrained is not None and self.pretrained_sha256 is None:
            raise ValueError(
                f"pretrained {self.pretrained!r} has no pretrained_sha256; "
                f"`rankclip use STUDY model.pretrained={self.pretrained}` fills it in"
            )
        if self.pretrained is None and self.pretrained_sha256 is not None:
            raise ValueError("pretrained_sha256 is the digest of nothing; give model.pretrained too, or null")
        return self
