"""The only door to open_clip: models, tokenizer, image transform, checkpoints."""

from __future__ import annotations

import functools
import io
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rankclip import files
from rankclip.errors import DataError
from rankclip.models.spec import ModelSpec

CONFIGS = Path(__file__).parent / "configs"

SIGMOID_BIAS = -10.0
"""Where SigLIP's bias starts, so that at first no pair is taken for a match; Zhai et al., ICCV 2023."""


class ImageTextModel(nn.Module):
    """Both towers behind one `forward`, which is what DDP and compilation wrap.

    A tower called on its own through a wrapper would not be synchronised between workers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: nn.Module, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.clip = clip
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def logit_scale(self) -> nn.Parameter:
        """ln alpha, a scalar."""
        return self.clip.get_parameter("logit_scale")

    def forward(self, pixels: Tensor | None, tokens: Tensor | None) -> tuple[Tensor, ...]:
        """Unit embeddings of images `[N, 3, S, S]` uint8 and captions `[N, L]`, and alpha = exp(logit scale).

        The bias follows where the model has one. Captions are trimmed to the longest of the batch, which is
        exact: the text tower is causal and pools at the end token. Either input may be None; its embedding is
        then None.
        """
        images = None if pixels is None else self.normalise(pixels)
        trimmed, constants = (None, {}) if tokens is None else self.trim(tokens)
        outputs: tuple[Tensor, ...] = torch.func.functional_call(self.clip, constants, (images, trimmed))
        return outputs

    def normalise(self, pixels: Tensor) -> Tensor:
        """Bytes to the model's input range. `[N, 3, S, S]`"""
        scaled = pixels.to(torch.float32).div_(255.0).sub_(self.mean).div_(self.std)
        return scaled.contiguous(memory_format=torch.channels_last)

    def trim(self, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to the longest caption, and the text tower's tensors of that length."""
        # the end token is the largest; not the count of tokens but 0, which is "!" as well as the padding
        length = int(tokens.argmax(dim=1).max()) + 1
        prefix = "text." if hasattr(self.clip, "text") else ""
        state = dict(self.clip.named_parameters()) | dict(self.clip.named_buffers())
        position, mask = state[f"{prefix}positional_embedding"], state[f"{prefix}attn_mask"]
        constants = {
            f"{prefix}positional_embedding": position[:length],
            f"{prefix}attn_mask": mask[:length, :length],
        }
        return tokens[:, :length], constants


def initial_logit_scale(bounded: bool) -> float:
    """ln alpha before the first step: of 1 / 0.07, or of SigLIP's 10 where alpha has no upper bound."""
    return math.log(1 / 0.07 if bounded else 10.0)


def build(spec: ModelSpec, seed: int, bounded: bool = True) -> ImageTextModel:
    """A freshly initialised model; its weights are a function of `spec` and `seed` alone.

    Args:
        spec: which model.
        seed: of its weights.
        bounded: as an objective says; without an upper bound of alpha it starts as SigLIP does, with a bias.
    """
    register()
    start = {"init_logit_scale": initial_logit_scale(bounded)}
    if not bounded:
        start["init_logit_bias"] = SIGMOID_BIAS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with untrained_on_purpose():
            clip = open_clip.create_model(
                spec.name, precision="fp32", device="cpu", output_dict=False, **start
            )
    clip = clip.to(memory_format=torch.channels_last)
    preprocess = open_clip.get_model_preprocess_cfg(clip)
    size = preprocess["size"]
    return ImageTextModel(
        clip, size if isinstance(size, int) else size[0], preprocess["mean"], preprocess["std"]
    )


@contextmanager
def untrained_on_purpose() -> Iterator[None]:
    """Keeps back open_clip's warning, on the root logger, that a new model has no pretrained weights."""

    def wanted(record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in record.getMessage()

    root, handler = logging.getLogger(), logging.NullHandler()
    root.addFilter(wanted)
    root.addHandler(handler)  # where there is none, `logging.warning` would install one that prints
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.removeFilter(wanted)


@functools.cache
def register() -> None:
    """Makes our configurations known to open_clip."""
    open_clip.add_model_config(CONFIGS)


KNOWN_WORDS = 200_000
"""Words that a tokenizer remembers; it would keep every one it ever saw, millions in a web crawl."""


def tokenize(spec: ModelSpec, texts: Sequence[str]) -> Tensor:
    """CLIP tokens of captions, padded with zeros: `[N, context]`, int64."""
    register()
    known = tokenizer(spec.name)
    tokens: Tensor = known(list(texts))
    if len(known.cache) > KNOWN_WORDS:
        known.cache = {known.decoder[token]: known.decoder[token] for token in known.all_special_ids}
    return tokens


@functools.cache
def tokenizer(name: str) -> Any:
    """open_clip's tokenizer of a model; reading its vocabulary takes a second."""
    return open_clip.get_tokenizer(name)


@functools.cache
def geometry(image_size: int) -> Any:
    """open_clip's evaluation transform without its last steps, which `ImageTextModel.normalise` does."""
    steps = open_clip.image_transform(image_size, is_train=False).transforms
    return [step for step in steps if type(step).__name__ in ("Resize", "CenterCrop")]


def pixels(image: bytes, image_size: int) -> Tensor:
    """An encoded image as bytes of the model's size, bicubic and cropped at the centre: `[3, S, S]`, uint8.

    Raises:
        DataError: the bytes are not an image.
    """
    try:
        picture: Image.Image = Image.open(io.BytesIO(image))
        if picture.size != (image_size, image_size):
            for step in geometry(image_size):
                picture = step(picture)
        picture = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"an image of {len(image)} bytes cannot be decoded ({files.one_line(error)}); "
            "run `dvc repro -f curate`"
        ) from error
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def save_weights(model: ImageTextModel, spec: ModelSpec, path: Path) -> None:
    """Writes the weights as safetensors that name their model; open_clip loads them."""
    tensors = {name: tensor.contiguous() for name, tensor in model.clip.state_dict().items()}
    with files.replace(path) as beside:
        save_file(tensors, beside, metadata={"model": spec.name})


def load_weights(spec: ModelSpec, path: Path) -> ImageTextModel:
    """The model with the weights of `path`.

    Raises:
        DataError: the file is missing or damaged, or holds another model.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} is not readable as model weights ({files.one_line(error)}); run the pretrain stage again"
        ) from error
    model = build(spec, seed=0, bounded="logit_bias" not in weights)
    wanted = model.clip.state_dict()
    wrong = [
        name
        for name in sorted(wanted.keys() | weights.keys())
        if name not in wanted or name not in weights or wanted[name].shape != weights[name].shape
    ]
    if wrong:
        raise DataError(
            f"{path} is a checkpoint of another model: {len(wrong)} tensors differ from {spec.name}, "
            f"the first is {wrong[0]}; evaluate it with the model it was trained as"
        )
    model.clip.load_state_dict(weights)
    return model


class Encoder:
    """A trained model as evaluation sees it: encoded images and texts in, unit rows out."""

    def __init__(self, model: ImageTextModel, spec: ModelSpec, batch_size: int = 256) -> None:
        self.model = model.eval()
        self.spec = spec
        self.batch_size = batch_size

    @torch.inference_mode()
    def encode_images(self, images: Sequence[bytes]) -> Tensor:
        """Embeddings `[N, D]`, float32, unit rows."""
        size = self.model.image_size
        rows = [
            self.model(torch.stack([pixels(image, size) for image in batch]), None)[0]
            for batch in split(images, self.batch_size)
        ]
        return torch.cat(rows)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]`, float32, unit rows."""
        rows = [self.model(None, tokenize(self.spec, batch))[1] for batch in split(texts, self.batch_size)]
        return torch.cat(rows)


def split(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Consecutive pieces of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def load_encoder(run: Path) -> Encoder:
    """The encoder of a finished run folder (`model.safetensors` and `record.json`).

    Raises:
        DataError: the record or the weights are missing, damaged or of another model.
    """
    record = files.read_json(run / "record.json")
    try:
        spec = ModelSpec.model_validate(record["config"]["model"])
    except (KeyError, TypeError, ValidationError):
        raise DataError(f"{run / 'record.json'} names no known model; run the pretrain stage again") from None
    return Encoder(load_weights(spec, run / "model.safetensors"), spec)
