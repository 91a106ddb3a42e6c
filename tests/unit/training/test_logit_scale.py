"""The logit scale: within its bounds, or along the path of another run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rankclip.errors import DataError
from rankclip.training import loop, run
from rankclip.training.logit_scale import clamp_alpha, path_of, start_of
from rankclip.training.loop import Training
from rankclip.training.request import METRICS, TrainRequest
from tests.unit.training import tiny

CLIP = tiny.objective("clip", [tiny.CONTRASTIVE])
RANKED = tiny.ranked("rankclip")
SIGLIP = tiny.objective("siglip", [{"name": "sigmoid"}])
REPLAY = tiny.objective("clip_alpha_replay", [tiny.CONTRASTIVE], replay=RANKED)


def scales(request: TrainRequest) -> dict[int, float]:
    """alpha by step, from the curve."""
    lines = map(json.loads, (request.folder / METRICS).read_text().splitlines())
    return {line["step"]: line["logit_scale"] for line in lines}


@pytest.fixture(scope="module")
def leader(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainRequest:
    request = tiny.request(tiny_data, tmp_path_factory.mktemp("leader"), objective=RANKED, lr=0.05)
    run.train_run(request.dump())
    return request


@pytest.fixture
def follower(leader: TrainRequest, tmp_path: Path) -> TrainRequest:
    """Asks for a replay, in a folder of runs with a copy of the run that it follows."""
    asked = leader.model_copy(update={"objective": REPLAY, "arm": "replay", "work": tmp_path})
    shutil.copytree(leader.folder, tmp_path / leader.folder.name)
    return asked


@pytest.mark.parametrize(
    ("largest", "start", "expected"),
    [
        (50.0, -0.5, 1.0),
        (50.0, 9.0, 50.0),
        (50.0, 2.0, math.exp(2.0)),
        (None, 9.0, math.exp(9.0)),
        (None, -1.0, 1.0),
    ],
)
def test_alpha_is_kept_between_one_and_its_largest(
    largest: float | None, start: float, expected: float
) -> None:
    scale = torch.nn.Parameter(torch.tensor(start))
    clamp_alpha(scale, largest)
    assert scale.exp().item() == pytest.approx(expected)
    assert scale.requires_grad


def test_the_bound_holds_from_the_first_step_on(tiny_data: Path, tmp_path: Path) -> None:
    training = Training(tiny.request(tiny_data, tmp_path, objective=CLIP, max_alpha=10.0, log_every=1))
    assert next(training.reports())["logit_scale"] == pytest.approx(10.0)  # it begins at 1 / 0.07


def test_siglip_starts_where_it_says_and_knows_no_upper_bound(tiny_data: Path, tmp_path: Path) -> None:
    request = tiny.request(tiny_data, tmp_path, objective=SIGLIP, max_alpha=2.0, lr=1e-6, log_every=1)
    training = Training(request)
    bias = training.model.clip.get_parameter("logit_bias")
    assert (training.model.logit_scale.exp().item(), bias.item()) == pytest.approx((10.0, -10.0))
    assert next(training.reports())["logit_scale"] == pytest.approx(10.0, rel=1e-4)
    assert bias.item() != -10.0


def test_a_run_starts_where_its_recipe_says_and_so_does_what_follows_it(
    tiny_data: Path, tmp_path: Path
) -> None:
    request = tiny.request(tiny_data, tmp_path, objective=CLIP, initial_alpha=5.0, lr=1e-6, log_every=1)
    training = Training(request)
    assert training.model.logit_scale.exp().item() == pytest.approx(5.0)
    assert next(training.reports())["logit_scale"] == pytest.approx(5.0, rel=1e-4)
    assert start_of(request) == pytest.approx(math.log(5.0))


def test_a_followed_run_is_the_run_of_an_arm_with_that_objective(leader: TrainRequest) -> None:
    follower = leader.model_copy(update={"key": "replay/seed-4", "arm": "replay", "objective": REPLAY})
    followed = follower.followed
    assert followed is not None
    assert followed.content_digest == leader.content_digest != follower.content_digest
    assert followed.folder == leader.folder
    assert (followed.key, followed.arm) == ("replay/seed-4/follows-rankclip", "rankclip")
    assert leader.followed is None
    another = follower.model_copy(
        update={"objective": tiny.objective("clip_alpha_replay", [tiny.CONTRASTIVE], replay=SIGLIP)}
    )
    assert another.content_digest != follower.content_digest


def test_a_path_is_straight_in_the_logarithm_between_the_lines_of_its_curve(leader: TrainRequest) -> None:
    path, known = path_of(leader, "replay"), {0: 1 / 0.07, **scales(leader)}
    assert list(known) == [0, 2, 3, 4, 5, 6, 7]
    assert path.shape == (8,)
    assert [math.exp(path[step]) for step in known] == pytest.approx(list(known.values()))
    assert path[1] == pytest.approx((math.log(1 / 0.07) + math.log(known[2])) / 2)


def test_a_path_of_siglip_starts_at_its_alpha(leader: TrainRequest, tmp_path: Path) -> None:
    other = leader.model_copy(update={"objective": SIGLIP, "work": tmp_path})
    other.folder.mkdir()
    shutil.copyfile(leader.folder / METRICS, other.folder / METRICS)
    assert math.exp(path_of(other, "replay")[0]) == pytest.approx(10.0)


def test_a_replay_has_the_logit_scale_of_the_other_run_and_weights_of_its_own(
    leader: TrainRequest, follower: TrainRequest
) -> None:
    training = Training(follower)
    assert not training.model.logit_scale.requires_grad
    run.train_run(follower.dump())
    assert scales(follower) == pytest.approx(scales(leader), rel=1e-6)
    assert scales(leader)[7] != pytest.approx(1 / 0.07, rel=1e-3)
    ours, theirs = (load_file(request.folder / run.WEIGHTS) for request in (follower, leader))
    assert ours["logit_scale"].exp().item() == pytest.approx(scales(leader)[7], rel=1e-6)
    assert not torch.equal(ours["text_projection"], theirs["text_projection"])


def test_every_step_of_a_replay_is_made_at_the_alpha_of_its_path(
    follower: TrainRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, step = [], loop.train_step

    def watching(model: torch.nn.Module, *given: object, **options: object) -> dict[str, torch.Tensor]:
        seen.append(model.clip.logit_scale.item())
        return step(model, *given, **options)

    monkeypatch.setattr(loop, "train_step", watching)
    training = Training(follower)
    list(training.reports())
    assert seen == pytest.approx(list(training.path[:7]), abs=1e-6)


Damage = Callable[[Path], object]


def break_off(curve: Path) -> None:
    curve.write_text("".join(curve.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "is missing"),
        (break_off, "ends at step 6 of 7"),
        (lambda curve: curve.write_text('{"step": 7, "logit_scale": "no"}\n'), r"is damaged"),
        (lambda curve: curve.write_text('{"step": 7}\n'), r"is damaged \('logit_scale'\)"),
        (lambda curve: curve.write_bytes(b""), "ends at step 0 of 7"),
    ],
)
def test_a_path_that_is_not_whole_is_one_clear_error(
    follower: TrainRequest, damage: Damage, said: str
) -> None:
    followed = follower.followed
    assert followed is not None
    damage(followed.folder / METRICS)
    wanted = rf"metrics\.jsonl, along which arm/seed-4 sets its logit scale, {said}.*; delete its folder and "
    with pytest.raises(DataError, match=wanted) as refused:
        Training(follower)
    assert "\n" not in str(refused.value)


def test_a_resumed_replay_goes_on_along_its_path(follower: TrainRequest) -> None:
    training = Training(follower)
    follower.folder.mkdir()
    for report in training.reports():
        if report["checkpoint"]:
            training.save(0)
            break
    again = Training(follower)
    assert again.step == 3
    assert again.model.logit_scale.item() == pytest.approx(again.path[3], abs=1e-6)
    last = list(again.reports())[-1]
    assert last["logit_scale"] == pytest.approx(math.exp(again.path[7]), rel=1e-6)
