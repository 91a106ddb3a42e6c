"""What is exported gives the same embeddings in open_clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import huggingface_hub
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import Tensor

from rankclip import files
from rankclip.errors import DataError, InputError
from rankclip.evaluation import results
from rankclip.exchange.exporting import Form, export
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import load_encoder
from tests.unit.evaluation.known import unit_rows
from tests.unit.exchange.trained import write_run

RN, VIT = ModelSpec(name="shapes-rn"), ModelSpec(name="shapes-vit")
TEXTS = ["a red circle", "a very small green star beside two outlined hexagons", ""]


def theirs(place: str, pictures: list[Image.Image], **options: Any) -> tuple[Tensor, Tensor, Any]:
    """Embeddings by open_clip alone, of what lies at a place, and its model."""
    model, _, preprocess = open_clip.create_model_and_transforms(place, **options)
    tokens = open_clip.get_tokenizer(place, **options)(TEXTS)
    with torch.inference_mode():
        model.eval()
        images = model.encode_image(torch.stack([preprocess(each) for each in pictures]), normalize=True)
        return images, model.encode_text(tokens, normalize=True), model


@pytest.mark.parametrize("bounded", [True, False], ids=["alpha", "alpha and bias"])
@pytest.mark.parametrize("spec", [RN, VIT], ids=lambda spec: spec.name)
@pytest.mark.parametrize("form", ["open_clip", "hf"])
def test_open_clip_gives_the_same_embeddings(
    spec: ModelSpec,
    bounded: bool,
    form: Form,
    tmp_path: Path,
    pictures: list[Image.Image],
    blobs: list[bytes],
) -> None:
    run = write_run(tmp_path / "run", spec, bounded)
    export(run, form, tmp_path / "out", tmp_path)
    images, texts, model = theirs(f"local-dir:{tmp_path / 'out'}", pictures)
    ours = load_encoder(run)
    assert (images - unit_rows(ours, blobs)).abs().max() <= 1e-6
    assert (texts - ours.encode_texts(TEXTS)).abs().max() <= 1e-6
    assert model.logit_scale == ours.model.logit_scale
    assert bounded == (model.logit_bias is None)


def test_what_is_made_for_hugging_face_loads_by_its_name_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: list[Image.Image], blobs: list[bytes]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository, commit = tmp_path / "hub" / "models--me--model", "0" * 40
    export(write_run(tmp_path / "run", VIT), "hf", repository / "snapshots" / commit, tmp_path)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    images, texts, _ = theirs("hf-hub:me/model", pictures, cache_dir=str(tmp_path / "hub"))
    ours = load_encoder(tmp_path / "run")
    assert (images - unit_rows(ours, blobs)).abs().max() <= 1e-6
    assert (texts - ours.encode_texts(TEXTS)).abs().max() <= 1e-6


def test_the_weights_alone_load_by_the_name_of_the_model(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", VIT)
    export(run, "safetensors", tmp_path / "out", tmp_path)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.safetensors", "record.json"}
    loaded = open_clip.create_model("shapes-vit", pretrained=str(tmp_path / "out" / "model.safetensors"))
    ours = load_encoder(run).model.clip.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("form", get_args(Form))
def test_an_export_is_a_function_of_the_run_and_has_its_record(form: Form, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", VIT)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    found = []
    for _ in range(2):
        export(run, form, tmp_path / "out", tmp_path)
        found.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert found[0] == found[1]
    assert json.loads(found[0]["record.json"])["key"] == "0123456789abcdef"
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_the_card_tells_data_recipe_licence_and_the_scores_of_exactly_these_weights(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", VIT)
    weights = files.sha256(run / "model.safetensors")
    row = dict.fromkeys(results.RESULTS_SCHEMA.names, "") | {"seed": 1, "step": 1200}
    row |= {
        "benchmark": "digits",
        "metric": "top1",
        "protocol": "zero_shot",
        "split": "test",
        "value": 0.25,
        "checkpoint_digest": weights,
    }
    rows = [
        row,
        row | {"protocol": "linear_probe", "value": 0.5},
        row | {"split": "val", "value": 0.75},
        row | {"benchmark": "shape", "checkpoint_digest": "of another"},
    ]
    table = pa.Table.from_pylist(rows, schema=results.RESULTS_SCHEMA)
    files.write_table(tmp_path / "results" / "study" / "clip" / "results.parquet", table)
    export(run, "hf", tmp_path / "out", tmp_path)
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: open_clip\npipeline_tag: zero-shot-image-classification\n")
    assert "| digits | zero_shot | top1 | 0.2500 |\n| digits | linear_probe | top1 | 0.5000 |" in card
    assert not any(wrong in card for wrong in ("0.75", "| shape |", "{", "}") if wrong not in "{}")
    for told in (
        f"| sha256 of the weights | {weights} |",
        "5a" * 32,
        "| Optimiser steps | 1,200; the weights are those after step 900 |",
        "| Pairs seen | 153,600 |",
        '"lr": 0.001',
    ):
        assert told in card
    assert "The weights have no licence yet" in card


def test_without_scores_the_card_says_so(tmp_path: Path) -> None:
    export(write_run(tmp_path / "run", VIT), "hf", tmp_path / "out", tmp_path)
    assert "None of these weights was found" in (tmp_path / "out" / "README.md").read_text()


def test_no_run_no_folder_and_the_run_itself_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", VIT)
    with pytest.raises(InputError, match=r"run is the run itself; name another folder"):
        export(run, "safetensors", run, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file is a file; name another folder"):
        export(run, "safetensors", tmp_path / "file", tmp_path)
    with pytest.raises(DataError, match=r"record\.json is missing"):
        export(tmp_path / "nowhere", "open_clip", tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()
