"""Weights that other programs saved, in the forms in which they do."""

from __future__ import annotations

import argparse
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rankclip.errors import InputError
from rankclip.models import exchange
from rankclip.models import open_clip as door
from rankclip.models.spec import ModelSpec
from rankclip.models.weights import import_weights

RN, VIT = ModelSpec(name="shapes-rn"), ModelSpec(name="shapes-vit")
Weights = dict[str, Tensor]
OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.98)}]}


@pytest.fixture(scope="module")
def weights() -> dict[str, Weights]:
    models = {spec.name: door.build(spec, seed=3) for spec in (RN, VIT)}
    with torch.no_grad():
        for model in models.values():
            model.logit_scale.fill_(3.0)
    return {name: model.clip.state_dict() for name, model in models.items()}


def under(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def of_custom_text(weights: Weights) -> Weights:
    kept = ("visual.", "logit_scale")
    return {name if name.startswith(kept) else f"text.{name}": tensor for name, tensor in weights.items()}


SIZES = {name: torch.tensor(77) for name in ("input_resolution", "context_length", "vocab_size")}
FORMS: dict[str, Callable[[Weights], dict[str, Any]]] = {
    "bare": dict,
    "open_clip's trainer under DDP": lambda of: {
        "epoch": 3,
        "name": "run",
        "state_dict": under("module.", of),
        "optimizer": OPTIMIZER,
    },
    "compiled, under DDP": lambda of: {"model": under("module._orig_mod.", of), "epoch": 3},
    "Lightning": lambda of: {"state_dict": under("model.", of), "epoch": 3, "global_step": 10},
    "OpenAI's state_dict with sizes": lambda of: {**of, **SIZES},
    "custom text": lambda of: {"state_dict": of_custom_text(of)},
    "a vector for the scale": lambda of: {**of, "logit_scale": of["logit_scale"].reshape(1)},
    "with the mask": lambda of: {**of, "attn_mask": torch.zeros(77, 77)},
}


@pytest.mark.parametrize("spec", [RN, VIT], ids=lambda spec: spec.name)
@pytest.mark.parametrize("form", FORMS)
def test_weights_are_read_in_every_form(
    spec: ModelSpec, form: str, weights: dict[str, Weights], tmp_path: Path
) -> None:
    torch.save(FORMS[form](weights[spec.name]), tmp_path / "epoch_3.pt")
    found = import_weights(spec, tmp_path / "epoch_3.pt").clip.state_dict()
    assert found.keys() == weights[spec.name].keys()
    assert all(torch.equal(tensor, weights[spec.name][name]) for name, tensor in found.items())


def test_half_precision_becomes_float32_and_safetensors_are_known_by_their_content(
    weights: dict[str, Weights], tmp_path: Path
) -> None:
    halves = {name: tensor.half() for name, tensor in weights["shapes-vit"].items()}
    save_file({name: tensor.contiguous() for name, tensor in halves.items()}, tmp_path / "model.bin")
    found = import_weights(VIT, tmp_path / "model.bin").clip.state_dict()
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert all(torch.equal(tensor, halves[name].float()) for name, tensor in found.items())


def test_a_text_tower_is_found_for_a_model_that_keeps_it_elsewhere(weights: dict[str, Weights]) -> None:
    wanted = of_custom_text(weights["shapes-vit"])
    assert exchange.fitted(weights["shapes-vit"], wanted).keys() == wanted.keys()


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_code_of_a_file_runs(weights: dict[str, Weights], tmp_path: Path) -> None:
    for beside, named in (
        (Trap(tmp_path / "ran"), "posix.mkdir"),
        (argparse.Namespace(lr=1), "argparse.Namespace"),
    ):
        torch.save({"state_dict": weights["shapes-rn"], "options": beside}, tmp_path / "epoch_3.pt")
        with pytest.raises(
            InputError, match=rf"epoch_3\.pt holds a .*{named}.*save its state_dict alone"
        ) as said:
            import_weights(RN, tmp_path / "epoch_3.pt")
        assert "\n" not in str(said.value)
    assert not (tmp_path / "ran").exists()


def test_an_older_torch_reads_no_pickle(
    weights: dict[str, Weights], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(weights["shapes-rn"], tmp_path / "a.pt")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu124")
    with pytest.raises(InputError, match=r"a\.pt is a pickle, and torch 2\.5\.1\+cu124 may run code in one"):
        exchange.read(tmp_path / "a.pt")


def test_a_torchscript_archive_is_refused_with_where_to_get_the_weights(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "RN50.pt", "w") as archive:
        archive.writestr("RN50/constants.pkl", b"")
    with pytest.raises(InputError, match=r"RN50\.pt is a TorchScript archive.*tag openai"):
        exchange.read(tmp_path / "RN50.pt")


def test_damaged_files_and_files_of_something_else_are_refused_in_one_line(
    weights: dict[str, Weights], tmp_path: Path
) -> None:
    path = tmp_path / "a.pt"
    torch.save(weights["shapes-rn"], path)
    whole = path.read_bytes()
    torch.save({"epoch": 3, "loss": 0.5}, path)
    without = path.read_bytes()
    torch.save([torch.zeros(3)], path)
    of_nothing = path.read_bytes()
    torch.save(weights["shapes-rn"], path, _use_new_zipfile_serialization=False)
    older = path.read_bytes()
    directory = whole.rindex(b"PK\1\2")
    unlisted = whole[:directory] + b"XX" + whole[directory + 2 :]
    cut = (whole[:-100], whole[:1000], unlisted, older[:50], older[:500], older[:-100])
    for content in (b"", b"<html>", b"PK\3\4 no", *cut, without, of_nothing):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.pt (is not readable as|holds no) weights") as said:
            exchange.read(path)
        assert "\n" not in str(said.value)
    with pytest.raises(InputError, match=r"nowhere\.pt is no file"):
        exchange.read(tmp_path / "nowhere.pt")


def test_another_model_is_refused_with_the_first_tensor_that_differs(
    weights: dict[str, Weights], tmp_path: Path
) -> None:
    torch.save(weights["shapes-vit"], tmp_path / "a.pt")
    with pytest.raises(
        InputError, match=r"a\.pt holds another model than shapes-rn: \d+ tensors differ"
    ) as said:
        import_weights(RN, tmp_path / "a.pt")
    assert "the first is visual.attnpool.c_proj.bias (none there, [64] here)" in str(said.value)
    larger = weights["shapes-vit"] | {"positional_embedding": torch.zeros(80, 64)}
    torch.save(larger, tmp_path / "a.pt")
    with pytest.raises(
        InputError, match=r"1 tensors differ, .* positional_embedding \(\[80, 64\] there, \[77, 64\]"
    ):
        import_weights(VIT, tmp_path / "a.pt")


def test_weights_that_are_not_finite_are_refused(weights: dict[str, Weights], tmp_path: Path) -> None:
    torch.save(weights["shapes-rn"] | {"ln_final.bias": torch.full((64,), torch.nan)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt is of no use: ln_final\.bias is not finite"):
        import_weights(RN, tmp_path / "a.pt")
