"""What `rankclip evaluate` can be pointed at."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from rankclip import files
from rankclip.errors import InputError
from rankclip.evaluation import opening
from rankclip.evaluation.opening import Opened
from rankclip.evaluation.store import rows_folder
from rankclip.exchange import exporting
from rankclip.models import open_clip as door
from rankclip.models.published import PublishedEncoder
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import Encoder
from tests.unit.evaluation.known import drawing
from tests.unit.exchange.trained import write_run

SPEC = ModelSpec(name="shapes-vit")
IMAGES, TEXTS = [drawing(seed) for seed in range(3)], ["a red circle", "two stars"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), SPEC)


def opened(checkpoint: object, model: str | None = None) -> Opened:
    return opening.opened(str(checkpoint), model, "cpu", "fp32")


def rows(found: Opened) -> tuple[Tensor, Tensor]:
    encoder = found.encoder
    features = encoder.image_features([encoder.prepare(image) for image in IMAGES])
    return torch.nn.functional.normalize(features, dim=1), encoder.encode_texts(TEXTS)


def near(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.allclose(left, right, atol=1e-6) for left, right in zip(one, other, strict=True))


@pytest.mark.parametrize("form", ["open_clip", "safetensors", "hf"])
def test_a_run_and_what_is_exported_of_it_are_one_checkpoint(run: Path, tmp_path: Path, form: Any) -> None:
    exporting.export(run, form, tmp_path / "out")
    one, other = opened(run), opened(tmp_path / "out")
    assert one.checkpoint_digest == files.sha256(run / "model.safetensors") == other.checkpoint_digest
    assert one.config_digest == other.config_digest
    assert (one.model, one.origin) == ("shapes-vit", None)
    assert all(torch.equal(left, right) for left, right in zip(rows(one), rows(other), strict=True))


def test_a_folder_of_any_other_program_is_opened_by_its_own_configuration(run: Path, tmp_path: Path) -> None:
    exporting.export(run, "open_clip", tmp_path / "out")
    (tmp_path / "out" / "record.json").unlink()
    found = opened(tmp_path / "out")
    assert isinstance(found.encoder, PublishedEncoder)
    assert near(rows(found), rows(opened(run)))
    assert found.encoder.resize == "bicubic, shortest to 32, middle"


def test_a_file_of_weights_needs_the_name_of_its_model(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": opened(run).encoder.model.clip.state_dict()}, path)  # type: ignore[union-attr]
    found = opened(path, "shapes-vit")
    assert near(rows(found), rows(opened(run)))
    assert found.checkpoint_digest == files.sha256(path)
    with pytest.raises(InputError, match=r"does not say which model it is of; give --model, one of"):
        opened(path)
    with pytest.raises(InputError, match=r"--model RN51 is not known"):
        opened(path, "RN51")
    with pytest.raises(InputError, match="holds another model than shapes-rn"):
        opened(path, "shapes-rn")


def test_one_file_as_two_models_is_two_checkpoints_to_whoever_keeps_rows(run: Path, tmp_path: Path) -> None:
    model = door.build(SPEC, seed=0)
    plain, other = (
        rows_folder(tmp_path, "weights", Encoder(model, ModelSpec.model_validate({"name": name})), "cpu")
        for name in ("RN50", "RN50-quickgelu")
    )
    assert plain != other


def test_a_folder_whose_configuration_changed_is_another_checkpoint_to_whoever_keeps_rows(
    run: Path, tmp_path: Path
) -> None:
    exporting.export(run, "open_clip", tmp_path / "out")
    (tmp_path / "out" / "record.json").unlink()
    file = tmp_path / "out" / "open_clip_config.json"
    config = files.read_json(file)
    places = set()
    for part, name, value in (
        ("model_cfg", "quick_gelu", False),
        ("model_cfg", "quick_gelu", True),
        ("preprocess_cfg", "mean", [0.0, 0.0, 0.0]),
        ("preprocess_cfg", "interpolation", "bilinear"),
    ):
        files.write_json(file, config | {part: config[part] | {name: value}})
        found = opened(tmp_path / "out")
        places.add(rows_folder(tmp_path, found.checkpoint_digest, found.encoder, "cpu"))
    assert len(places) == 4


@pytest.fixture
def tagged(run: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """open_clip knows a tag of our small model, whose weights are here; what it says may change."""
    said = dict(open_clip.get_pretrained_cfg("RN50", "openai")) | {"quick_gelu": False}

    def known(name: str, tag: str) -> dict[str, Any]:
        return said if (name, tag) in (("shapes-vit", "mine"), ("RN50", "openai")) else {}

    for module in (open_clip, open_clip.factory):
        monkeypatch.setattr(module, "get_pretrained_cfg", known)
        monkeypatch.setattr(
            module, "download_pretrained", lambda cfg, **unused: str(run / "model.safetensors")
        )
    return said


def test_a_tag_of_a_model_that_is_trained_here_is_opened_as_ours(run: Path, tagged: dict[str, Any]) -> None:
    found = opened("shapes-vit:mine")
    assert isinstance(found.encoder, Encoder)
    assert (found.model, found.pretrained) == ("shapes-vit", "mine")
    assert near(rows(found), rows(opened(run)))


def test_a_tag_whose_images_are_prepared_otherwise_is_opened_as_open_clip_does(
    run: Path, tagged: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "prepares_as_ours", lambda name, tag: False)
    tagged["interpolation"] = "bilinear"
    found = opened("shapes-vit:mine")
    assert isinstance(found.encoder, PublishedEncoder)
    assert found.encoder.resize == "bilinear, shortest to 32, middle"
    ours = rows(opened(run))
    assert torch.allclose(rows(found)[1], ours[1], atol=1e-6)


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        ("runs/none", r"'runs/none' is no folder and no file"),
        ("RN50-quickgelu:cc13m", r"has no pretrained weights 'cc13m'; its tags are .*cc12m"),
        ("RN50:cc12m", r"choose model=RN50-quickgelu"),
        ("RN99:openai", r"RN99 has no pretrained weights 'openai'"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_a_line(checkpoint: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        opened(checkpoint)
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_model_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "record.json", tmp_path)
    with pytest.raises(InputError, match="holds no model"):
        opened(tmp_path)
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded"):
        opened(tmp_path)
