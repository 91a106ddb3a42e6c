"""Weights of models on disk: ours as safetensors that name their model, and those of other programs."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rankclip import files
from rankclip.errors import DataError
from rankclip.models import exchange
from rankclip.models.image_text import ImageTextModel
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec


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
