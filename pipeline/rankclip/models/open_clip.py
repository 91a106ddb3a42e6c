"""The only door to open_clip: models, tokenizer, image transform, checkpoints."""

from __future__ import annotations

import functools
import io
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from torch.nn import functional

from rankclip import files
from rankclip.errors import DataError, InputError
from rankclip.models import exchange
from rankclip.models.attention import with_fewer_copies
from rankclip.models.rounding import Precision, Rounding
from rankclip.models.spec import FILE, ModelSpec

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
        length = tokens.shape[1]
        if not tokens.is_cuda or length == self.clip.context_length:  # else trimmed where it cost no waiting
            length = longest(tokens)
        prefix = "text." if hasattr(self.clip, "text") else ""
        state = dict(self.clip.named_parameters()) | dict(self.clip.named_buffers())
        position, mask = state[f"{prefix}positional_embedding"], state[f"{prefix}attn_mask"]
        constants = {
            f"{prefix}positional_embedding": position[:length],
            f"{prefix}attn_mask": mask[:length, :length],
        }
        return tokens[:, :length], constants


def longest(tokens: Tensor) -> int:
    """Length of the longest of some captions `[N, L]`, with its end token; waits for a GPU they are on."""
    # the end token is the largest; not the count of tokens but 0, which is "!" as well as the padding
    return int(tokens.argmax(dim=1).max()) + 1


def initial_logit_scale(bounded: bool) -> float:
    """ln alpha before the first step: of 1 / 0.07, or of SigLIP's 10 where alpha has no upper bound."""
    return math.log(1 / 0.07 if bounded else 10.0)


def build(spec: ModelSpec, seed: int, bounded: bool = True, *, patch_dropout: float = 0.0) -> ImageTextModel:
    """A model as training starts: its weights are those that `spec` names, else a function of it and `seed`.

    Args:
        spec: which model.
        seed: of its weights.
        bounded: as an objective says; without an upper bound of alpha it starts as SigLIP does, with a bias.
        patch_dropout: share of an image's patches that is left out at random in training mode.

    Raises:
        DataError: the weights to start from changed since the study was made active.
        InputError: the model has no patches to leave out, or there are no such weights of it.
    """
    register()
    if patch_dropout and not has_patches(spec):
        raise InputError(
            f"train.patch_dropout {patch_dropout} leaves out patches of a ViT, and {spec.name} is a ResNet; "
            "use 0, or a ViT"
        )
    start = {"init_logit_scale": initial_logit_scale(bounded)}
    if not bounded:
        start["init_logit_bias"] = SIGMOID_BIAS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with untrained_on_purpose():
            clip = open_clip.create_model(
                spec.name, precision="fp32", device="cpu", output_dict=False,
                force_patch_dropout=patch_dropout, **start,
            )  # fmt: skip
    clip = clip.to(memory_format=torch.channels_last)
    with_fewer_copies(clip)
    preprocess = open_clip.get_model_preprocess_cfg(clip)
    size = preprocess["size"]
    model = ImageTextModel(
        clip, size if isinstance(size, int) else size[0], preprocess["mean"], preprocess["std"]
    )
    if spec.pretrained is not None:
        tag = not FILE.search(spec.pretrained)
        path = fetch_tag(spec.name, spec.pretrained) if tag else Path(spec.pretrained)
        exchange.start(clip, spec, path)
    return model


def fetch_tag(name: str, tag: str) -> Path:
    """open_clip's copy of the published weights of a tag, fetched where it has none.

    Raises:
        InputError: the model has no such tag, or has it with another activation, or they cannot be fetched.
    """
    register()
    published = open_clip.get_pretrained_cfg(name, tag)
    if not published:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise InputError(f"{name} has no pretrained weights {tag!r}; its tags are {known}; a file is ./{tag}")
    if published.get("quick_gelu", False) and not open_clip.get_model_config(name).get("quick_gelu", False):
        raise InputError(
            f"the weights {tag!r} are of {name}-quickgelu, not of {name}: choose model={name}-quickgelu"
        )
    try:
        return Path(open_clip.download_pretrained(published))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"the weights {tag!r} of {name} cannot be fetched ({files.one_line(error)}); "
            f"fetch them elsewhere and give the file, as model.pretrained or with --model {name}"
        ) from error


def has_patches(spec: ModelSpec) -> bool:
    """Whether the image tower is a ViT."""
    register()
    return not isinstance(open_clip.get_model_config(spec.name)["vision_cfg"]["layers"], list)


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
            "fetch or make its set again"
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
    model = build(ModelSpec(name=spec.name), seed=0, bounded="logit_bias" not in weights)
    if wrong := exchange.differing(weights, model.clip.state_dict()):
        raise DataError(
            f"{path} is a checkpoint of another model: {len(wrong)} tensors differ from {spec.name}, "
            f"the first is {wrong[0]}; evaluate it with the model it was trained as"
        )
    model.clip.load_state_dict(weights)
    return model


def import_weights(spec: ModelSpec, path: Path) -> ImageTextModel:
    """The model with weights that another program saved.

    Raises:
        InputError: the file is not readable as weights, or is of another model.
    """
    weights = exchange.read(path)
    model = build(spec, seed=0, bounded="logit_bias" not in weights)
    exchange.fill(model.clip, weights, path, spec.name)
    return model


def published_config(model: ImageTextModel, spec: ModelSpec) -> dict[str, Any]:
    """What open_clip makes the model of again, as it stands in `open_clip_config.json` on Hugging Face."""
    config = open_clip.get_model_config(spec.name)
    if "logit_bias" in model.clip.state_dict():
        config["init_logit_bias"] = SIGMOID_BIAS  # else open_clip makes a model without one
    preprocess = open_clip.get_model_preprocess_cfg(model.clip)
    kept = ("mean", "std", "interpolation", "resize_mode")
    return {"model_cfg": config, "preprocess_cfg": {name: preprocess[name] for name in kept}}


@dataclass(frozen=True)
class Published:
    """A model as open_clip itself makes it, with the transform and the tokenizer that it was trained with."""

    clip: nn.Module
    transform: Callable[[Image.Image], Tensor]
    tokenize: Callable[[list[str]], Tensor]
    preprocess: Mapping[str, Any]
    """Size, mean, standard deviation, interpolation and way of resizing."""


def published(name: str, tag: str | None) -> Published:
    """Any model of open_clip's, which need not be one of those that a study trains.

    Args:
        name: as open_clip knows it, or `hf-hub:ORGANISATION/NAME`, or `local-dir:FOLDER`.
        tag: of its weights; None for the last two, which bring them.

    Raises:
        InputError: there is no such model, or it cannot be fetched or read.
    """
    if tag is not None:
        fetch_tag(name, tag)
    try:
        with untrained_on_purpose():  # which keeps it from installing a handler of everybody's messages too
            clip = open_clip.create_model(name, pretrained=tag, output_dict=False, require_pretrained=True)
            tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # of files, of the network, of the hub's client, of torch: dozens of classes
        raise InputError(
            f"{name} cannot be loaded ({files.one_line(error)}); fetch it first, or name another"
        ) from error
    preprocess = open_clip.get_model_preprocess_cfg(clip)
    kept = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    transform = open_clip.image_transform(
        preprocess["size"], is_train=False, **{name: preprocess[name] for name in kept if name in preprocess}
    )
    return Published(clip, transform, tokenizer, preprocess)


def prepares_as_ours(name: str, tag: str) -> bool:
    """Whether the images for a tag's weights are prepared as those that a study trains on."""
    fetched, ours = open_clip.get_pretrained_cfg(name, tag), open_clip.get_pretrained_cfg("RN50", "openai")
    return all(fetched.get(part) == ours[part] for part in ("mean", "std", "interpolation", "resize_mode"))


class Encoder:
    """A trained model as evaluation sees it: encoded images and texts in, rows out.

    Args:
        model: on the device that it works on.
        spec: of the model.
        batch_size: most images or texts given to the model at once.
        precision: of products of matrices and convolutions; `bf16` is checked on its first batches; None: the
            caller's, as training needs, where blocks are compiled for the one they have.
    """

    def __init__(
        self,
        model: ImageTextModel,
        spec: ModelSpec,
        batch_size: int = 256,
        precision: Precision | None = None,
    ) -> None:
        self.model = model.eval()
        self.spec = spec
        self.batch_size = batch_size
        self.rounding = Rounding(precision, model.mean.device)
        self.resize = f"bicubic, shortest to {model.image_size}, middle"

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
        batches = (torch.stack(list(batch)) for batch in split(prepared, self.batch_size))
        return torch.cat([encode(batch.to(self.model.mean.device)) for batch in batches])

    def encode_images(self, images: Sequence[bytes]) -> Tensor:
        """Embeddings `[N, D]`, float32, unit rows, on the model's device."""
        parts = [
            self.image_features([self.prepare(image) for image in batch])
            for batch in split(images, self.batch_size)
        ]
        return functional.normalize(torch.cat(parts), dim=-1)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]`, float32, unit rows, on the model's device."""
        encode = self.rounding.checked("texts", lambda tokens: self.model(None, tokens)[1])
        batches = (tokenize(self.spec, batch) for batch in split(texts, self.batch_size))
        rows = torch.cat([encode(tokens.to(self.model.mean.device)) for tokens in batches])
        # half precision gives them other lengths; in float32 they are what the model made of them
        return rows if self.rounding.precision != "bf16" else functional.normalize(rows, dim=-1)


def split(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Consecutive pieces of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


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
