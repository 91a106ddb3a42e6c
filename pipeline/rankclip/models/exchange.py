"""Weights of other programs: read without running code of theirs, and named as open_clip names them."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rankclip import files
from rankclip.errors import DataError, InputError
from rankclip.models.spec import ModelSpec

NESTS = ("state_dict", "model", "model_state_dict")
"""Where checkpoints keep the weights, beside epoch and optimiser; open_clip, CyCLIP, RankCLIP: the first."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DDP, torch.compile and Lightning (whose `.ckpt` the released RankCLIP reads) put before every name."""

SIZES = {"input_resolution", "context_length", "vocab_size"}
"""Numbers that OpenAI keeps among the weights."""

CONSTANT = re.compile(r"attn_mask|position_ids")
"""Buffers of some versions that hold what follows from the configuration."""

SCALES = ("logit_scale", "logit_bias")
"""Scalars, which some programs keep as vectors of one."""

SAFE_TORCH = (2, 6)
"""In which torch.load with weights_only runs no code of a file; before, CVE-2025-32434."""


def read(path: Path) -> dict[str, Tensor]:
    """The weights in a file of safetensors or of torch's, by the names that open_clip gives them.

    Raises:
        InputError: the file is missing or damaged, holds no weights, or cannot be read without running code.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file; give the file that holds the weights")
    try:
        stored = load_file(path) if is_safetensors(path) else unpickled(path)
    except InputError:
        raise
    except Exception as error:  # changed bytes that are unpickled may raise anything
        raise InputError(
            f"{path} is not readable as weights ({files.one_line(error)}); fetch it again"
        ) from error
    weights = named(stored)
    if not weights:
        raise InputError(f"{path} holds no weights; give a checkpoint of torch's or a safetensors file")
    return weights


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: with the length of its header and a brace."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def unpickled(path: Path) -> object:
    """What torch saved to a file, if it is nothing but tensors and plain values.

    Raises:
        InputError: the file holds code, or this torch does not keep code out.
    """
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < SAFE_TORCH:
        raise InputError(
            f"{path} is a pickle, and torch {torch.__version__} may run code in one (CVE-2025-32434); "
            "use torch 2.6 or newer, or a safetensors file"
        )
    zipped = zipfile.is_zipfile(path)
    if zipped and any(name.endswith("/constants.pkl") for name in zipfile.ZipFile(path).namelist()):
        raise InputError(
            f"{path} is a TorchScript archive, which holds code; OpenAI's weights are open_clip's tag openai"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise
        raise InputError(
            f"{path} holds a {found[1]} beside its tensors, which only code of its own could read; "
            "save its state_dict alone"
        ) from error


def named(stored: object) -> dict[str, Tensor]:
    """The tensors of what a file held, taken out of what wraps them, without the prefixes of wrappers."""
    while isinstance(stored, dict):
        inner = next((stored[nest] for nest in NESTS if isinstance(stored.get(nest), dict)), None)
        if inner is None:
            break
        stored = inner
    if not isinstance(stored, dict):
        return {}
    weights = {
        str(name): tensor
        for name, tensor in stored.items()
        if isinstance(tensor, Tensor) and name not in SIZES
    }
    while prefix := next((each for each in PREFIXES if weights and all_begin(weights, each)), None):
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def all_begin(weights: dict[str, Tensor], prefix: str) -> bool:
    """Whether every name begins with a prefix."""
    return all(name.startswith(prefix) for name in weights)


def fitted(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the names, precision and form of a model; nothing is left out that the model lacks.

    Args:
        weights: by open_clip's names, in either of its forms.
        wanted: what the model has.
    """
    fitting = {}
    for name, tensor in weights.items():
        bare = name.removeprefix("text.")  # where models of custom text keep their text tower
        ours = next((each for each in (name, bare, f"text.{bare}") if each in wanted), name)
        if ours not in wanted and CONSTANT.search(ours):
            continue
        if ours in wanted and ours in SCALES:
            tensor = tensor.reshape(wanted[ours].shape) if tensor.numel() == 1 else tensor
        fitting[ours] = tensor.to(wanted[ours].dtype) if ours in wanted else tensor
    return fitting


def start(model: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Gives a new model of open_clip's the weights that its spec names.

    Logit scale and bias stay as the objective starts them where only one of model and weights has a bias: a
    scale learnt with one means something else.

    Args:
        model: what is filled.
        spec: of the model; its digest is checked.
        path: where the weights are.

    Raises:
        DataError: the weights are others than those of the study.
        InputError: there are none, or they are of another model.
    """
    weights = read(path)  # says what is wrong with a file that is none
    if (found := files.sha256(path)) != spec.pretrained_sha256:
        raise DataError(
            f"model.pretrained {path} has sha256 {found[:16]}, not {str(spec.pretrained_sha256)[:16]} as "
            "when the study was made active; restore it, or run `rankclip use` again"
        )
    own = model.state_dict()
    if ("logit_bias" in weights) != ("logit_bias" in own):
        weights = {name: tensor for name, tensor in weights.items() if name not in SCALES}
        weights |= {name: own[name] for name in SCALES if name in own}
    fill(model, weights, path, spec.name)


def fill(model: nn.Module, weights: dict[str, Tensor], path: Path, name: str) -> None:
    """Loads weights of any form into a model of open_clip's.

    Args:
        model: what is filled.
        weights: as `read` gives them.
        path: where they are from, for what is said.
        name: of the model, for what is said.

    Raises:
        InputError: they are of another model, or some are not finite.
    """
    wanted = model.state_dict()
    fitting = fitted(weights, wanted)
    if wrong := differing(fitting, wanted):
        raise InputError(
            f"{path} holds another model than {name}: {len(wrong)} tensors differ, the first is {wrong[0]}; "
            "name the model that it is"
        )
    if bad := [each for each, tensor in fitting.items() if not tensor.isfinite().all()]:
        raise InputError(f"{path} is of no use: {bad[0]} is not finite")
    model.load_state_dict(fitting)


def differing(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that only one of them has, or that differ in shape, each with what differs."""
    return [
        f"{name} ({shape(weights, name)} there, {shape(wanted, name)} here)"
        for name in sorted(wanted.keys() | weights.keys())
        if shape(weights, name) != shape(wanted, name)
    ]


def shape(tensors: dict[str, Tensor], name: str) -> str:
    """A tensor's shape in words."""
    return str(list(tensors[name].shape)) if name in tensors else "none"
