"""A trained model as evaluation sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from rankclip import files
from rankclip.errors import DataError
from rankclip.models import open_clip
from rankclip.models.image_text import ImageTextModel
from rankclip.models.pictures import opened
from rankclip.models.pieces import images_at_once, in_pieces
from rankclip.models.rounding import Precision, Rounding
from rankclip.models.spec import ModelSpec
from rankclip.models.weights import load_weights


class Encoder:
    """A trained model as evaluation sees it: encoded images and texts in, rows out.

    Args:
        model: on the device that it works on.
        spec: of the model.
        precision: of products of matrices and convolutions; `bf16` is checked on its first batches; None: the
            caller's, as training needs, where blocks are compiled for the one they have.
    """

    def __init__(
        self,
        model: ImageTextModel,
        spec: ModelSpec,
        precision: Precision | None = None,
    ) -> None:
        self.model = model.eval()
        self.spec = spec
        self.rounding = Rounding(precision, model.mean.device)
        self.form = spec.name
        self.resize = f"bicubic, shortest to {model.image_size}, middle"
        self.together = images_at_once(model.clip, model.image_size, model.mean.device)

    def prepare(self, image: bytes) -> Tensor:
        """The pixels of an image, `[3, S, S]`, uint8.

        Raises:
            DataError: the bytes are not an image.
        """
        return pixels(image, self.model.image_size)

    @torch.inference_mode()
    def image_features(self, prepared: Sequence[Tensor]) -> Tensor:
        """Rows `[N, D]` of N images as the tower projects them, float32, on the model's device."""
        clip: Any = self.model.clip
        encode = self.rounding.checked("images", lambda batch: clip.encode_image(self.model.normalise(batch)))
        return in_pieces(encode, torch.stack(list(prepared)).to(self.model.mean.device), self.together)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]`, float32, unit rows, on the model's device."""
        encode = self.rounding.checked("texts", lambda tokens: self.model(None, tokens)[1])
        rows = encode(open_clip.tokenize(self.spec, texts).to(self.model.mean.device))
        # half precision gives them other lengths; in float32 they are what the model made of them
        return rows if self.rounding.precision != "bf16" else functional.normalize(rows, dim=-1)


def pixels(image: bytes, image_size: int) -> Tensor:
    """An encoded image as bytes of the model's size, bicubic and cropped at the centre: `[3, S, S]`, uint8.

    Raises:
        DataError: the bytes are not an image.
    """
    with opened(image) as picture:
        if picture.size != (image_size, image_size):
            for step in open_clip.geometry(image_size):
                picture = step(picture)
        picture = picture.convert("RGB")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def load_encoder(run: Path, device: str = "cpu", precision: Precision = "fp32") -> Encoder:
    """The encoder of a finished run folder (`model.safetensors` and `record.json`).

    Raises:
        DataError: the record or the weights are missing, damaged or of another model.
    """
    spec = spec_of_run(run)
    return Encoder(load_weights(spec, run / "model.safetensors").to(device), spec, precision=precision)


def spec_of_run(run: Path) -> ModelSpec:
    """The model that a folder's `record.json` names.

    Raises:
        DataError: it names none.
    """
    record = files.read_json(run / "record.json")
    try:
        return ModelSpec.model_validate(record["config"]["model"])
    except (KeyError, TypeError, ValidationError):
        raise DataError(f"{run / 'record.json'} names no known model; run the pretrain stage again") from None
