"""The only door to open_clip: models, published weights, tokenizer, image transform."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image
from torch import Tensor, nn

from rankclip import files
from rankclip.errors import InputError
from rankclip.models import exchange
from rankclip.models.attention import with_fewer_copies
from rankclip.models.image_text import ImageTextModel
from rankclip.models.spec import FILE, ModelSpec

CONFIGS = Path(__file__).parent / "configs"

SIGMOID_BIAS = -10.0
"""Where SigLIP's bias starts, so that at first no pair is taken for a match; Zhai et al., ICCV 2023."""


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
    config: Mapping[str, Any]
    """Of the architecture and the tokenizer."""


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
            tokenizer, config = open_clip.get_tokenizer(name), open_clip.get_model_config(name)
    except Exception as error:  # of files, of the network, of the hub's client, of torch: dozens of classes
        raise InputError(
            f"{name} cannot be loaded ({files.one_line(error)}); fetch it first, or name another"
        ) from error
    preprocess = open_clip.get_model_preprocess_cfg(clip)
    kept = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    transform = open_clip.image_transform(
        preprocess["size"], is_train=False, **{name: preprocess[name] for name in kept if name in preprocess}
    )
    return Published(clip, transform, tokenizer, preprocess, config)


def prepares_as_ours(name: str, tag: str) -> bool:
    """Whether the images for a tag's weights are prepared as those that a study trains on."""
    fetched, ours = open_clip.get_pretrained_cfg(name, tag), open_clip.get_pretrained_cfg("RN50", "openai")
    return all(fetched.get(part) == ours[part] for part in ("mean", "std", "interpolation", "resize_mode"))
