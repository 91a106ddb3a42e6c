"""Rows on disk, each file verified when it is read: what a model has embedded once it need not again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rankclip import files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowFile:
    """Tensors by name, and plain values."""

    tensors: Mapping[str, Tensor]
    notes: Mapping[str, Any]


def write(path: Path, content: RowFile) -> None:
    """Writes a file, atomically, with a digest of what it holds; one that cannot be written is said."""
    tensors = {name: tensor.contiguous() for name, tensor in content.tensors.items()}
    notes = json.dumps(dict(content.notes), ensure_ascii=False).encode()
    # not among the metadata, whose length safetensors limits
    tensors["notes"] = torch.frombuffer(bytearray(notes), dtype=torch.uint8)
    try:
        with files.replace(path) as beside:
            save_file(tensors, beside, metadata={"sha256": tensors_digest(tensors)})
    except (OSError, SafetensorError) as error:
        log.warning(
            "%s cannot be kept (%s); its rows are embedded anew next time", path, files.one_line(error)
        )


def read(path: Path) -> RowFile | None:
    """What a file holds; None where there is none, or one that is damaged, which is said."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            expected = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        if tensors_digest(tensors) != expected:
            raise ValueError("its content is not what was written")
        notes = json.loads(tensors.pop("notes").numpy().tobytes())
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        log.warning("%s is damaged (%s); its rows are embedded again", path, files.one_line(error))
        return None
    return RowFile(tensors, notes)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of tensors by name, whatever file they came in."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
