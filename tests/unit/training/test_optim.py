"""The learning rates, and which parameters keep their size."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from pydantic import ValidationError

from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.training.optim import build_optimizer, learning_rates, set_rates
from rankclip.training.spec import TrainSpec
from tests.unit.training.tiny import TRAIN


def recipe(**changes: object) -> TrainSpec:
    return TrainSpec.model_validate({**TRAIN.dump(), **changes})


def rates(spec: TrainSpec, steps: int) -> list[float]:
    return [learning_rates(spec, step)[0] for step in range(steps)]


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine_to_nothing() -> None:
    found = rates(recipe(lr=0.4, warmup_steps=4, steps=12), 13)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert found[8] == pytest.approx(0.2)
    assert found[6] == pytest.approx(0.2 * (1 + 0.5**0.5))
    assert found[12] == pytest.approx(0.0, abs=1e-15)
    assert found[4:] == sorted(found[4:], reverse=True)


def test_without_warm_up_the_rate_begins_at_its_peak() -> None:
    assert learning_rates(recipe(lr=0.4, warmup_steps=0), 0) == (0.4, 0.4)


COOLED = {"schedule": "constant_cooldown", "lr": 0.4, "warmup_steps": 2, "steps": 10}


def test_the_constant_rate_falls_in_a_line_to_nothing_at_the_end() -> None:
    found = rates(recipe(**COOLED, cooldown_steps=4), 11)
    assert found == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert rates(recipe(**COOLED, cooldown_steps=0), 10) == pytest.approx([0.2] + 9 * [0.4])


@pytest.mark.parametrize("cooldown", [None, 1, 30, 88])
def test_the_schedules_are_those_of_open_clip(cooldown: int | None) -> None:
    scheduler = pytest.importorskip("open_clip_train.scheduler")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    if cooldown is None:
        theirs = scheduler.cosine_lr(optimizer, 3e-4, 12, 100)
        spec = recipe(lr=3e-4, warmup_steps=12, steps=100)
    else:
        theirs = scheduler.const_lr_cooldown(optimizer, 3e-4, 12, 100, cooldown)
        spec = recipe(**{**COOLED, "lr": 3e-4, "warmup_steps": 12, "steps": 100}, cooldown_steps=cooldown)
    assert rates(spec, 100) == pytest.approx([theirs(step) for step in range(100)], abs=1e-18)


def test_a_schedule_that_is_ahead_misses_its_first_steps_and_waits_at_its_end() -> None:
    spec = recipe(lr=0.4, warmup_steps=4, steps=12)
    ahead = recipe(lr=0.4, warmup_steps=4, steps=12, schedule_ahead=3)
    assert rates(ahead, 12) == rates(spec, 13)[3:] + 2 * rates(spec, 13)[12:]
    assert rates(ahead, 12)[0] == 0.4


def test_the_logit_scale_follows_the_schedule_to_a_peak_of_its_own() -> None:
    spec = recipe(lr=0.4, logit_scale_lr=0.05, warmup_steps=4, steps=12)
    for step in range(12):
        lr, own = learning_rates(spec, step)
        assert own == pytest.approx(lr / 8)


@pytest.mark.parametrize("bounded", [True, False])
def test_each_parameter_gets_the_rate_of_its_group(bounded: bool) -> None:
    model = build(ModelSpec(name="shapes-vit"), seed=0, bounded=bounded)
    spec = recipe(lr=0.4, logit_scale_lr=0.05, warmup_steps=4, steps=12)
    optimizer = build_optimizer(model, spec)
    assert set_rates(optimizer, spec, 3) == (0.4, 0.05)
    rate = {id(tensor): group["lr"] for group in optimizer.param_groups for tensor in group["params"]}
    own = {name for name, tensor in model.named_parameters() if rate[id(tensor)] == 0.05}
    assert own == {"clip.logit_scale"} | ({"clip.logit_bias"} if not bounded else set())
    assert {rate[id(tensor)] for name, tensor in model.named_parameters() if name not in own} == {0.4}


def test_a_logit_scale_that_is_set_and_not_learnt_has_no_rate() -> None:
    model = build(ModelSpec(name="shapes-vit"), seed=0)
    model.logit_scale.requires_grad_(False)
    optimizer = build_optimizer(model, recipe())
    set_rates(optimizer, recipe(), 1)
    assert not any(model.logit_scale is each for group in optimizer.param_groups for each in group["params"])
    again = build_optimizer(model, recipe())
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[2]["params"] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"warmup_steps": 7}, "warmup_steps 7 must be less than steps 7"),
        (
            {**COOLED, "cooldown_steps": 9},
            "cooldown_steps 9 do not fit into the steps 10 behind warmup_steps 2",
        ),
        ({"cooldown_steps": 1}, "cooldown_steps 1 needs schedule constant_cooldown"),
    ],
)
def test_a_schedule_that_does_not_fit_into_the_run_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        recipe(**changes)


@pytest.mark.parametrize("name", ["shapes-rn", "shapes-vit"])
def test_norms_biases_positions_and_the_logit_scale_do_not_decay(
    name: Literal["shapes-rn", "shapes-vit"],
) -> None:
    model = build(ModelSpec(name=name), seed=0, bounded=False)
    groups = build_optimizer(model, recipe(weight_decay=0.3)).param_groups
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    named = dict(model.named_parameters())
    assert {id(parameter) for parameter in named.values()} == decay.keys()
    kept = {parameter for parameter, tensor in named.items() if decay[id(tensor)] == 0.0}
    decayed = named.keys() - kept
    assert {decay[id(named[parameter])] for parameter in decayed} == {0.3}
    norms = {
        f"{place}.{own}"
        for place, module in model.named_modules()
        if "Norm" in type(module).__name__
        for own, _ in module.named_parameters(recurse=False)
    }
    positions = {parameter for parameter in named if parameter.endswith("positional_embedding")}
    biases = {parameter for parameter in named if parameter.endswith("bias")}
    assert len(norms) > 8
    assert len(positions) == 2
    assert norms | positions | biases | {"clip.logit_scale", "clip.logit_bias"} <= kept
    assert {"clip.token_embedding.weight", "clip.text_projection", "clip.visual.conv1.weight"} <= decayed
