"""A model of another program as the folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from rankclip import files
from rankclip.data.benchmarks import hub
from rankclip.errors import InputError
from rankclip.models import open_clip
from rankclip.models.spec import FILE, ModelSpec
from rankclip.models.weights import import_weights, save_weights
from rankclip.spec import digest

Origin = Literal["open_clip", "rankclip-official", "cyclip"]

WEIGHTS = "model.safetensors"
"""Name of the weights in a run's folder."""

OPENAI_CODE = ("RN50", "ViT-B-32", "ViT-B-16")
"""Models of which the authors' programs, forks of OpenAI's code, have the form with QuickGELU."""


def import_(weights: str, origin: Origin, model: str, out: Path) -> ModelSpec:
    """Makes a run's folder, `model.safetensors` and `record.json`, of a model of another program.

    Args:
        weights: a file of torch's or of safetensors, or a tag of open_clip's.
        origin: whose it is; the programs of the papers have OpenAI's activation, which weights do not tell.
        model: its name.
        out: the folder; an imported model that is there is replaced.

    Returns:
        The model as it is known here.

    Raises:
        InputError: the weights are missing, damaged, unsafe or of another model, or `out` is something else.
    """
    spec, path = spec_of(model, origin), Path(weights)
    if out.exists() and not imported(out):
        raise InputError(f"{out} is there and holds no imported model; name another folder for --out")
    if origin == "open_clip" and not path.exists() and not FILE.search(weights):
        with hub.quick_to_fail():
            path = open_clip.fetch_tag(spec.name, weights)
    model_here = import_weights(spec, path)
    save_weights(model_here, spec, out / WEIGHTS)
    source = files.sha256(path)
    parameters = sum(each.numel() for each in model_here.parameters())
    files.write_record(
        out,
        {"model": spec.dump()},
        {"weights": source},
        {"parameters": parameters},
        arm=origin.replace("-", "_"),
        seed=0,
        steps=0,  # nobody tells how many there were
        key=digest([spec.dump(), source]),
        origin=origin,
        file=path.name,
    )
    return spec


def imported(folder: Path) -> bool:
    """Whether a folder holds what `import_` made, or had begun to make."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not path.name.endswith(".tmp")}
    if "record.json" not in names:
        return names <= {WEIGHTS}
    return "origin" in files.read_json(folder / "record.json", "name another folder for --out")


def spec_of(model: str, origin: Origin) -> ModelSpec:
    """The model of that name in another program.

    Raises:
        InputError: there is none.
    """
    model = model.replace("/", "-")
    if origin != "open_clip":
        if model.removesuffix("-quickgelu") not in OPENAI_CODE:
            raise InputError(
                f"{origin} has no model {model!r} that is known here; it is {' or '.join(OPENAI_CODE)}"
            )
        model = f"{model.removesuffix('-quickgelu')}-quickgelu"
    try:
        return ModelSpec.model_validate({"name": model})
    except ValidationError as error:
        known = error.errors()[0]["ctx"]["expected"]
        raise InputError(f"model {model!r} is unknown; choose one of {known}") from None
