"""Runs that start from weights that are there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import yaml
from pydantic import ValidationError

from rankclip import composition, config, files
from rankclip.errors import DataError, InputError
from rankclip.models import open_clip as door
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import load_encoder
from rankclip.models.weights import save_weights
from rankclip.training.loop import Training
from rankclip.training.run import train_run
from tests.unit.training import tiny

CONF = Path(__file__).parents[3] / "conf"
RN = ModelSpec(name="shapes-rn")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "epoch_3.pt"
    model = door.build(RN, seed=11)
    with torch.no_grad():
        model.logit_scale.fill_(3.5)
    torch.save(
        {"state_dict": {f"module.{name}": each for name, each in model.clip.state_dict().items()}}, path
    )
    return path


def starting(path: Path | str, **changes: Any) -> ModelSpec:
    given = {"name": "shapes-rn", "pretrained": str(path), **changes}
    return ModelSpec.model_validate({"pretrained_sha256": files.sha256(Path(path)), **given})


def test_a_model_starts_from_its_weights_whatever_its_seed(weights: Path) -> None:
    wanted = door.build(RN, seed=11).clip.state_dict()
    for seed in (0, 1):
        found = door.build(starting(weights), seed).clip.state_dict()
        assert found.pop("logit_scale") == 3.5
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.items())


def test_a_replay_starts_where_the_run_did_that_it_follows(
    weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    replay = tiny.objective("clip_alpha_replay", [tiny.CONTRASTIVE], replay=tiny.OBJECTIVE)
    follower = tiny.request(tiny_data, tmp_path, model=starting(weights), objective=replay, steps=3, lr=1e-9)
    leader = follower.followed
    assert leader is not None
    train_run(leader.dump())
    assert Training(follower).model.logit_scale.item() == 3.5


def test_alpha_and_bias_of_an_objective_with_a_bias_are_its_own(weights: Path) -> None:
    model = door.build(starting(weights), 0, bounded=False)
    fresh = door.build(RN, 0, bounded=False)
    assert model.logit_scale == fresh.logit_scale
    assert model.clip.get_parameter("logit_bias") == door.SIGMOID_BIAS
    assert not torch.equal(model.clip.token_embedding.weight, fresh.clip.token_embedding.weight)


def test_weights_that_changed_are_refused(weights: Path, tmp_path: Path) -> None:
    path = shutil.copy(weights, tmp_path / "a.pt")
    spec = starting(path)
    torch.save(door.build(RN, seed=12).clip.state_dict(), path)
    with pytest.raises(DataError, match=r"a\.pt has sha256 .* restore it, or run `rankclip use` again"):
        door.build(spec, 0)


def test_a_finished_run_no_longer_needs_the_weights_that_it_started_from(
    weights: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(weights, tmp_path / "a.pt"))
    spec = starting(path)
    save_weights(door.build(spec, 0), spec, tmp_path / "run" / "model.safetensors")
    files.write_json(tmp_path / "run" / "record.json", {"config": {"model": spec.dump()}})
    path.unlink()
    assert load_encoder(tmp_path / "run").spec == spec


def test_a_run_trains_from_weights_of_another_folder(weights: Path, tiny_data: Path, tmp_path: Path) -> None:
    asked = tiny.request(tiny_data, tmp_path / "work", model=starting(weights), steps=3, lr=1e-9)
    train_run(asked.dump())
    found = load_encoder(asked.folder).model.clip
    wanted = door.build(RN, seed=11).clip
    torch.testing.assert_close(found.token_embedding.weight, wanted.token_embedding.weight, atol=1e-6, rtol=0)


def test_the_digest_of_a_run_knows_the_weights_and_not_their_place(
    weights: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(weights, tmp_path / "b.pt")
    here, there = (tiny.request(tiny_data, tmp_path, model=starting(path)) for path in ("b.pt", weights))
    other = tiny.request(tiny_data, tmp_path, model=starting("b.pt", pretrained_sha256="0" * 64))
    assert here.model.pretrained == str(tmp_path / "b.pt")
    assert here.content_digest == there.content_digest != other.content_digest
    assert here.content_digest != tiny.request(tiny_data, tmp_path).content_digest


def tag(monkeypatch: pytest.MonkeyPatch, model: str, **values: Any) -> None:
    """Makes `here` a tag of a model."""
    published = {model: {"here": {"quick_gelu": False, **values}}}
    monkeypatch.setattr(open_clip.pretrained, "_PRETRAINED", published)


def test_a_tag_is_resolved_by_open_clip(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tag(monkeypatch, "shapes-rn", file=str(weights))
    study = composition.compose("shapes-smoke", ["model.pretrained=here"], CONF)
    assert study.model.pretrained_sha256 == files.sha256(weights)
    assert door.build(study.model, 0).logit_scale == 3.5


def test_a_tag_that_cannot_be_had_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        InputError, match=r"RN50 has no pretrained weights 'nope'; its tags are openai, yfcc15m"
    ):
        door.fetch_tag("RN50", "nope")
    with pytest.raises(InputError, match=r"'openai' are of RN50-quickgelu, .* choose model=RN50-quickgelu"):
        door.fetch_tag("RN50", "openai")
    tag(monkeypatch, "shapes-rn", url="http://127.0.0.1:9/a.pt")
    with pytest.raises(InputError, match=r"'here' of shapes-rn cannot be fetched \(.*refused") as said:
        door.fetch_tag("shapes-rn", "here")
    assert "\n" not in str(said.value)


def test_use_writes_the_digest_of_the_weights_of_study_and_arms(weights: Path, tmp_path: Path) -> None:
    changes = [f"model.pretrained={weights}", "arms.clip.overrides.model.pretrained=null"]
    study = composition.compose("shapes-smoke", changes, CONF)
    recipes = {name: arm.recipe(study.model, study.train).model for name, arm in study.arms.items()}
    assert recipes["rankclip"] == starting(weights)
    assert recipes["clip"] == RN
    config.write(study, tmp_path / "params.yaml")
    assert config.load(tmp_path / "params.yaml") == study
    other = shutil.copy(weights, tmp_path / "b.pt")
    changes = [f"arms.clip.overrides.model.pretrained={other}"]
    study = composition.compose("shapes-smoke", changes, CONF)
    assert study.model == RN
    assert study.arms["clip"].recipe(study.model, study.train).model == starting(other)


def test_every_model_of_conf_says_from_where_it_starts() -> None:
    for name in composition.names("model", CONF):
        values = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())
        assert values == {"name": name, "pretrained": None}


def test_weights_that_are_not_there_or_have_no_digest_are_refused() -> None:
    with pytest.raises(InputError, match=r"model\.pretrained nowhere/a\.pt is not a file"):
        composition.compose("shapes-smoke", ["model.pretrained=nowhere/a.pt"], CONF)
    with pytest.raises(
        ValidationError, match=r"no pretrained_sha256; `rankclip use STUDY model\.pretrained=a\.pt`"
    ):
        ModelSpec(name="RN50", pretrained="a.pt")
    with pytest.raises(ValidationError, match="digest of nothing"):
        ModelSpec(name="RN50", pretrained_sha256="0" * 64)
