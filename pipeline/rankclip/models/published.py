"""A published model of any architecture that open_clip knows, as evaluation sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rankclip.models import open_clip
from rankclip.models.pictures import opened
from rankclip.models.pieces import images_at_once, in_pieces
from rankclip.models.rounding import Precision, Rounding
from rankclip.spec import digest


class PublishedEncoder:
    """Encoded images and texts in, rows out; prepared by open_clip's own transform and tokenizer.

    Args:
        model: as open_clip made it.
        device: that it is moved to.
        precision: of products of matrices and convolutions.
    """

    def __init__(
        self, model: open_clip.Published, device: str = "cpu", precision: Precision = "fp32"
    ) -> None:
        self._clip: Any = model.clip.to(device).eval()
        self._transform, self._tokenize = model.transform, model.tokenize
        self._device = torch.device(device)
        self.rounding = Rounding(precision, self._device)
        self.form = digest([model.config, dict(model.preprocess)])
        said = {name: model.preprocess.get(name) for name in ("interpolation", "resize_mode", "size")}
        size: Any = said["size"][0] if isinstance(said["size"], tuple | list) else said["size"]
        self._together = images_at_once(model.clip, int(size), self._device)
        self.resize = f"{said['interpolation']}, {said['resize_mode']} to {size}, middle"

    @property
    def weights(self) -> dict[str, Tensor]:
        """By open_clip's names."""
        weights: dict[str, Tensor] = self._clip.state_dict()
        return weights

    def prepare(self, image: bytes) -> Tensor:
        """The image as the model takes it, `[3, S, S]`, float32.

        Raises:
            DataError: the bytes are not an image.
        """
        with opened(image) as picture:
            return self._transform(picture)

    @torch.inference_mode()
    def image_features(self, prepared: Sequence[Tensor]) -> Tensor:
        """Rows `[N, D]` of N images as the tower projects them, float32, on the model's device."""
        encode = self.rounding.checked("images", self._clip.encode_image)
        return in_pieces(encode, torch.stack(list(prepared)).to(self._device), self._together)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]`, float32, unit rows, on the model's device."""
        encode = self.rounding.checked("texts", self._clip.encode_text)
        return functional.normalize(encode(self._tokenize(list(texts)).to(self._device)), dim=-1)
