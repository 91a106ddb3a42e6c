"""A run's model in the forms that other programs load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from rankclip import files
from rankclip.errors import InputError
from rankclip.exchange.card import card
from rankclip.exchange.importing import WEIGHTS
from rankclip.models import open_clip
from rankclip.models.trained import load_encoder

Form = Literal["open_clip", "safetensors", "hf"]

PUBLISHED = "open_clip_model.safetensors"
"""Name by which open_clip and Hugging Face know weights."""


def export(run: Path, form: Form, folder: Path, root: Path = Path()) -> None:
    """Writes a finished run's model to `folder`, in a form that other programs load.

    `open_clip`: `open_clip_config.json` and `open_clip_model.safetensors`, which
    `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads; `hf`: the same with a model card, to be
    uploaded as it is; `safetensors`: the weights alone by open_clip's names. The run's record is in each.

    Args:
        run: folder of a finished run, or of an imported model.
        form: for whom.
        folder: made when missing; files of an earlier export are replaced.
        root: the repository, whose scores of this model stand in the card.

    Raises:
        DataError: the run is unfinished or damaged.
        InputError: `folder` is the run's own, or a file.
    """
    if folder.exists() and (not folder.is_dir() or folder.samefile(run)):
        raise InputError(
            f"{folder} is {'the run itself' if folder.is_dir() else 'a file'}; name another folder"
        )
    encoder = load_encoder(run)
    record = files.read_json(run / "record.json")
    copy(run / WEIGHTS, folder / (WEIGHTS if form == "safetensors" else PUBLISHED))
    if form != "safetensors":
        config = open_clip.published_config(encoder.model, encoder.spec)
        files.write_json(folder / "open_clip_config.json", config)
    if form == "hf":
        files.write_text(folder / "README.md", card(run / WEIGHTS, record, root))
    files.write_json(folder / "record.json", record)


def copy(source: Path, target: Path) -> None:
    """Copies a file, atomically."""
    with files.replace(target) as beside:
        shutil.copyfile(source, beside)
