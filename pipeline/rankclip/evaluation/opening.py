"""What `rankclip evaluate` can be pointed at, as an encoder with its identity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from rankclip import files
from rankclip.errors import InputError
from rankclip.evaluation.row_files import tensors_digest
from rankclip.models import open_clip
from rankclip.models.published import PublishedEncoder
from rankclip.models.rounding import Precision
from rankclip.models.spec import ModelName, ModelSpec
from rankclip.models.trained import Encoder, spec_of_run
from rankclip.models.weights import import_weights, load_weights
from rankclip.spec import digest

WEIGHTS = "model.safetensors"
"""In the folder of a run, of an imported model, or exported as safetensors."""

EXPORTED = "open_clip_model.safetensors"
"""In a folder exported for open_clip or Hugging Face."""

HUBS = ("hf-hub:", "local-dir:")
"""What open_clip has names begin with that bring their own configuration."""


@dataclass(frozen=True)
class Opened:
    """A checkpoint, ready to embed."""

    encoder: Encoder | PublishedEncoder
    name: str
    """As it was asked for."""
    model: str
    """Its architecture, by open_clip's name or ours."""
    pretrained: str
    """Which weights of it: a tag, a folder or a file."""
    checkpoint_digest: str
    """sha256 of the file of weights, or, where open_clip keeps that to itself, of the tensors."""
    config_digest: str
    """Of the config that it was trained with; of the model alone where nobody tells."""
    origin: str | None = None
    """Whose it is, where it was imported."""


def opened(checkpoint: str, model: str | None, device: str, precision: Precision) -> Opened:
    """The encoder of a checkpoint.

    Args:
        checkpoint: folder of a run or of an exported model, file of weights, `MODEL:TAG` of open_clip's, or
            `hf-hub:ORGANISATION/NAME`.
        model: that a file of weights is of.
        device: `cpu` or `cuda`.
        precision: of products of matrices and convolutions.

    Raises:
        InputError: there is no such thing, it is of another model, it cannot be fetched, or a model is given
            for what says itself which it is.
        DataError: the folder is damaged.
    """
    path = Path(checkpoint)
    if model is not None and not path.is_file() and (path.is_dir() or ":" in checkpoint):
        raise InputError(
            f"{checkpoint} says itself which model it is; leave out --model {model}, which is for a file of "
            "weights"
        )
    if path.is_dir():
        return _folder(path, device, precision)
    if path.is_file():
        return _file(path, model, device, precision)
    if checkpoint.startswith(HUBS):
        return _published(checkpoint, None, checkpoint, device, precision)
    name, colon, tag = checkpoint.partition(":")
    if not (name and tag and colon) or "/" in name:
        raise InputError(
            f"{checkpoint!r} is no folder and no file; give the folder of a run or of an exported model, "
            "a file of weights with --model, or a tag of open_clip's as MODEL:TAG, RN50-quickgelu:cc12m say"
        )
    return _tag(name, tag, device, precision)


def _folder(path: Path, device: str, precision: Precision) -> Opened:
    weights = next((path / name for name in (WEIGHTS, EXPORTED) if (path / name).is_file()), None)
    if weights is None or not (path / "record.json").is_file():
        if (path / "open_clip_config.json").is_file():
            return _published(f"local-dir:{path}", None, str(path), device, precision)
        raise InputError(
            f"{path} holds no model: neither {WEIGHTS} with record.json, as a run does, nor "
            "open_clip_config.json; give the folder of a finished run, runs/STUDY/ARM/seed-K say"
        )
    spec = spec_of_run(path)
    record = files.read_json(path / "record.json")
    encoder = Encoder(load_weights(spec, weights).to(device), spec, precision=precision)
    config, sha256 = digest(record["config"]), files.sha256(weights)
    return Opened(encoder, str(path), spec.name, str(path), sha256, config, record.get("origin"))


def _file(path: Path, model: str | None, device: str, precision: Precision) -> Opened:
    if model not in get_args(ModelName):
        said = f"--model {model} is not known" if model else "a file does not say which model it is of"
        raise InputError(f"{path}: {said}; give --model, one of {', '.join(get_args(ModelName))}")
    spec = ModelSpec.model_validate({"name": model})
    encoder = Encoder(import_weights(spec, path).to(device), spec, precision=precision)
    return Opened(encoder, str(path), spec.name, str(path), files.sha256(path), digest(spec.dump()))


def _tag(name: str, tag: str, device: str, precision: Precision) -> Opened:
    path = open_clip.fetch_tag(name, tag)
    if name not in get_args(ModelName) or not open_clip.prepares_as_ours(name, tag):
        return _published(name, tag, f"{name}:{tag}", device, precision)
    spec = ModelSpec.model_validate({"name": name})
    encoder = Encoder(import_weights(spec, path).to(device), spec, precision=precision)
    return Opened(encoder, f"{name}:{tag}", name, tag, files.sha256(path), digest(spec.dump()))


def _published(name: str, tag: str | None, asked: str, device: str, precision: Precision) -> Opened:
    encoder = PublishedEncoder(open_clip.published(name, tag), device, precision)
    weights = tensors_digest(encoder.weights)
    return Opened(encoder, asked, name, tag or name, weights, digest({"name": name}))
