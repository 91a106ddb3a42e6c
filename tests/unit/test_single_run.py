"""`rankclip train`: one run in this process is the run that `dvc repro` would train."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rankclip import composition, config, distributed, estimate, files, pretrain, single_run
from rankclip.errors import InputError, Preempted
from rankclip.tracking import Tracker
from rankclip.training.request import STOP, TrainRequest
from rankclip.training.run import train_run
from tests.unit.training import tiny

CONF = Path(__file__).parents[2] / "conf"
SMALL = (
    "study.name=small", "train.steps=4", "train.batch_size=8", "train.warmup_steps=1", "train.log_every=2",
    "train.validation=[shape]", "train.validate_every=4", "train.checkpoint_every=3", "study.seeds=[0,1]",
    "arms.late.objective=clip_alpha_replay",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose active study has its data."""
    root = tmp_path_factory.mktemp("repository")
    config.write(composition.compose("shapes-smoke", SMALL, CONF), root / "params.yaml")
    shutil.move(tiny.write(tmp_path_factory.mktemp("data")), root / "data" / "small")
    return root


@pytest.fixture(autouse=True)
def quick(study: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RANKCLIP_DEVICE", "cpu")
    monkeypatch.setattr(estimate, "line", lambda request: f"{request.arm} takes a second")
    monkeypatch.setattr(single_run, "EVERY_S", 0.01)
    yield
    shutil.rmtree(study / "work", ignore_errors=True)


def of_the_stage(root: Path, arm: str) -> list[TrainRequest]:
    """What the stage `pretrain` asks for."""
    study = config.load(root / "params.yaml")
    data, work = root / "data" / "small", root / "work" / "small" / "runs"
    return pretrain.requests(arm, study.arms[arm], study.model, study.train, study.study.seeds, data, work)


def test_the_run_is_that_of_the_stage_and_is_adopted(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = single_run.train(study, "rankclip", 1, out=out, track=False)
    assert said == f"rankclip/seed-1 is finished: {out}; `dvc repro pretrain@rankclip` adopts it"
    asked = of_the_stage(study, "rankclip")
    assert [request.finished for request in asked] == [False, True]
    assert [request.seed for request in pretrain.unfinished(asked)] == [0]
    assert sorted(path.name for path in out.iterdir()) == sorted(pretrain.EXPORTED)

    elsewhere = asked[1].model_copy(update={"work": tmp_path / "work"})
    train_run(elsewhere.dump())
    ours, theirs = (files.sha256(folder / "model.safetensors") for folder in (out, elsewhere.folder))
    assert ours == theirs


def test_a_tracker_that_does_not_answer_costs_a_warning_and_no_run(
    study: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Tracker) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(Tracker, "_connect", refuse)
    single_run.train(study, "clip", 0)
    assert of_the_stage(study, "clip")[0].finished
    [warning] = [record.message for record in caplog.records if record.name.startswith("rankclip")]
    assert "does not take the results (nobody there); they are in files and can be sent later" in warning


def test_a_change_makes_another_run_that_no_stage_adopts(study: Path) -> None:
    _, request = single_run.request_of(
        study, "clip", 0, ["train.lr=2e-3", "arms.clip.overrides.train.steps=5"]
    )
    assert (request.train.lr, request.train.steps) == (2e-3, 5)
    assert request.content_digest not in {each.content_digest for each in of_the_stage(study, "clip")}


@pytest.mark.parametrize(
    ("arm", "changes", "wrong"),
    [
        ("clipp", [], "--arm clipp is none of study small; choose clip, rankclip, rankclip_shuffled, late"),
        ("clip", ["model=shapes-vit"], "takes a configuration by name, which `rankclip use` does"),
        ("clip", ["arms.clip.objective=siglip"], "takes a configuration by name"),
        ("clip", ["train.rate=1"], "the changed study: unknown key train.rate"),
        ("clip", ["train.lr"], "is not key=value"),
    ],
)
def test_what_the_study_does_not_have_is_refused(
    study: Path, arm: str, changes: list[str], wrong: str
) -> None:
    with pytest.raises(InputError) as caught:
        single_run.request_of(study, arm, 0, changes)
    assert wrong in str(caught.value)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainRequest]:
    """The requests that are trained; none really is."""
    found: list[TrainRequest] = []

    def train(request: dict[str, Any]) -> None:
        found.append(TrainRequest.model_validate(request))
        assert not (found[-1].folder / STOP).exists()
        if found[-1].seed == 1:
            raise Preempted("saved")

    monkeypatch.setattr(single_run, "train_run", train)
    return found


def test_what_a_run_follows_is_trained_before_it(study: Path, trained: list[TrainRequest]) -> None:
    said = single_run.train(study, "late", 7, track=False)
    assert [request.objective.name for request in trained] == ["rankclip", "clip_alpha_replay"]
    assert "adopts" not in said  # 7 is no seed of the study


def test_an_earlier_request_to_stop_is_forgotten_and_a_new_one_ends_the_command(
    study: Path, trained: list[TrainRequest]
) -> None:
    _, request = single_run.request_of(study, "clip", 1)
    files.write_text(request.folder / STOP, "")
    with pytest.raises(Preempted):
        single_run.train(study, "clip", 1, track=False)
    assert len(trained) == 1


def test_workers_but_the_first_say_nothing(
    study: Path,
    trained: list[TrainRequest],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert single_run.train(study, "clip", 0, track=False) == ""
    with pytest.raises(SystemExit) as caught:
        single_run.train(study, "clip", 1, track=False)
    assert caught.value.code == Preempted.exit_code
    assert capsys.readouterr().err == ""
