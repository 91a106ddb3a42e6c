from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankclip import composition
from rankclip.config import Arm, Study
from rankclip.errors import InputError
from rankclip.sweep import settings
from rankclip.sweep.spec import SweepSpec

CONF = Path(__file__).parents[3] / "conf"
STUDY = composition.compose("shapes-smoke", ["arms.mine.objective=clip_alpha_replay"], CONF)
RANKCLIP = STUDY.arms["rankclip"]

LR = {"name": "loguniform", "low": 1e-4, "high": 1e-2}
IN, CROSS = "objective.terms.rank_in.weight", "objective.terms.rank_cross.weight"


def choice(*values: Any, **conditions: Any) -> dict[str, Any]:
    return {"name": "choice", "values": list(values), **conditions}


def whole(low: int, high: int, **conditions: Any) -> dict[str, Any]:
    return {"name": "randint", "low": low, "high": high, **conditions}


def sweep(space: dict[str, Any], fixed: dict[str, Any] | None = None) -> SweepSpec:
    """A sweep of a space."""
    return SweepSpec.model_validate(
        {
            "question": "Which?",
            "arms": None,
            "space": space,
            "set": fixed or {},
            "aims": [{"metric": "val/mean_top1", "mode": "max"}],
            "search": {"name": "random", "seed": 0},
            "stopping": {"name": "none"},
            "trials": 4,
            "seed": 1000,
            "reruns": {"best": 1, "seeds": 2},
        }
    )


def check(space: dict[str, Any], arm: str = "rankclip", fixed: dict[str, Any] | None = None) -> None:
    settings.check(sweep(space, fixed), STUDY, {arm: STUDY.arms[arm]})


def alone(study: Study, arm: str) -> Study:
    """A study of one arm."""
    values = study.dump()
    roles = {"baseline": arm, "treatment": None, "control": None}
    arms = {arm: values["arms"][arm]}
    return Study.model_validate(values | {"arms": arms, "report": values["report"] | roles})


def test_a_trial_changes_objective_recipe_and_model_of_its_arm_alone() -> None:
    values = {f"{IN}.final": 0.5, "train.lr": 0.01, "model.name": "shapes-vit"}
    arm = settings.changed(RANKCLIP, values)
    recipe = arm.recipe(STUDY.model, STUDY.train)
    weights = {term.name: term.weight.largest for term in arm.objective.terms}
    assert weights == {"contrastive": 1.0, "rank_cross": 0.125, "rank_in": 0.5}
    assert (recipe.train.lr, recipe.model.name) == (0.01, "shapes-vit")
    assert RANKCLIP.overrides == {}


def test_a_value_replaces_the_arm_s_own_override() -> None:
    own = RANKCLIP.model_copy(update={"overrides": {"train.lr": 0.5, "train.eps": 1e-7}})
    assert settings.changed(own, {"train.lr": 0.01}).overrides == {"train.lr": 0.01, "train.eps": 1e-7}


def test_keys_may_have_the_same_value() -> None:
    spec = sweep({f"{IN}.final": LR | {"also": [f"{CROSS}.final"]}, "train.lr": LR})
    proposed = {f"{IN}.final": 0.004, "train.lr": 0.001}
    assert settings.spread(spec, proposed) == proposed | {f"{CROSS}.final": 0.004}


def test_a_trial_may_be_the_same_run_as_another_arm_of_the_study() -> None:
    teacher = {
        "objective.terms.rank_in.teacher": "shuffled",
        "objective.terms.rank_cross.teacher": "shuffled",
    }
    other = settings.changed(RANKCLIP, teacher)
    assert other.objective.terms == STUDY.arms["rankclip_shuffled"].objective.terms
    assert settings.fitting(STUDY, "rankclip", other) == other


def test_a_trial_need_not_follow_the_arm_whose_name_its_replay_has() -> None:
    mine = settings.changed(STUDY.arms["mine"], {"train.lr": 0.01, f"objective.replay.{IN[10:]}.final": 0.5})
    assert settings.fitting(STUDY, "mine", mine) == mine
    assert mine.objective.replay is not None
    assert mine.objective.replay.terms[2].weight.largest == 0.5
    assert mine.objective.terms == STUDY.arms["clip"].objective.terms


@pytest.mark.parametrize("arm", ["clip", "rankclip_shuffled", "mine"])
def test_the_roles_of_a_report_do_not_matter_to_a_trial(arm: str) -> None:
    for study in (STUDY, alone(STUDY, arm)):
        assert settings.fitting(study, arm, study.arms[arm]) == study.arms[arm]
        settings.check(sweep({"train.lr": LR}), study, {arm: study.arms[arm]})


def test_a_trial_that_the_study_may_not_have_is_told_with_its_key() -> None:
    arm = settings.changed(RANKCLIP, {"train.lr": -1})
    with pytest.raises(InputError) as raised:
        settings.fitting(STUDY, "rankclip", arm)
    assert str(raised.value) == "arm rankclip: train.lr = -1: must be greater than 0"


def test_every_end_is_tried_alone_and_then_with_every_other() -> None:
    space = sweep(
        {"train.lr": LR, "train.eps": choice(1, 2, 3), "train.warmup_steps": whole(5, 9, step=2)}
    ).space
    tried = list(settings.corners(space))
    assert tried[:7] == [
        *({"train.lr": 1e-4}, {"train.lr": 1e-2}),
        *({"train.eps": 1}, {"train.eps": 2}, {"train.eps": 3}),
        *({"train.warmup_steps": 5}, {"train.warmup_steps": 9}),
    ]
    assert len(tried[7:]) == 2 * 3 + 2 * 2 + 3 * 2
    assert {"train.eps": 3, "train.warmup_steps": 9} in tried


def test_a_key_under_conditions_is_tried_where_they_hold() -> None:
    space = {
        "train.schedule": choice("cosine", "constant_cooldown"),
        "train.weights": choice("last", "best", when={"train.schedule": ["constant_cooldown"]}),
        "train.cooldown_steps": whole(1, 9, when={"train.weights": ["best"]}),
    }
    under = {"train.schedule": "constant_cooldown"}
    tried = list(settings.corners(sweep(space).space))
    assert tried[2:6] == [
        under | {"train.weights": "last"},
        under | {"train.weights": "best"},
        under | {"train.weights": "best", "train.cooldown_steps": 1},
        under | {"train.weights": "best", "train.cooldown_steps": 9},
    ]
    for values in tried:
        assert ("train.cooldown_steps" not in values) or values["train.weights"] == "best"
        assert ("train.weights" not in values) or values["train.schedule"] == "constant_cooldown"


WRONG: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "an unknown key": (
        "rankclip",
        {"train.lrr": LR},
        {},
        "arm rankclip: unknown key train.lrr = 0.0001; did you mean lr? the keys there are batch_size, ",
    ),
    "a key below a value": (
        "rankclip",
        {"train.lr.peak": LR},
        {},
        "arm rankclip: train.lr.peak is unknown: lr is a value; remove what follows it",
    ),
    "an unknown term": (
        "clip",
        {f"{IN}.final": LR},
        {},
        f"arm clip: {IN}.final is unknown: no entry of terms is named 'rank_in'; choose one of contrastive",
    ),
    "a key of another schedule": (
        "rankclip",
        {f"{IN}.value": LR},
        {},
        f"arm rankclip: unknown key {IN}.value = 0.0001; the keys there are name, initial, final, start, end",
    ),
    "a low end": (
        "rankclip",
        {"train.weight_decay": {"name": "uniform", "low": -1, "high": 1}},
        {},
        "arm rankclip: train.weight_decay = -1.0: must be greater than or equal to 0",
    ),
    "a high end": (
        "rankclip",
        {"train.ema_decay": {"name": "uniform", "low": 0, "high": 2}},
        {},
        "arm rankclip: train.ema_decay = 2.0: must be less than 1",
    ),
    "a value of the objective": (
        "rankclip",
        {f"{IN}.final": choice(0.1, -0.5)},
        {},
        f"arm rankclip: {IN}.final = -0.5: must be greater than or equal to 0",
    ),
    "a value of a replay": (
        "mine",
        {"objective.replay.terms.rank_in.weight.final": choice(0.1, -0.5)},
        {},
        "arm mine: objective.replay.terms.rank_in.weight.final = -0.5: must be greater than or equal to 0",
    ),
    "the last choice": (
        "rankclip",
        {"model.name": choice("shapes-rn", "shapes-vit", "ResNet")},
        {},
        "arm rankclip: model.name = 'ResNet': must be 'shapes-rn', 'shapes-vit', ",
    ),
    "text for a number": (
        "rankclip",
        {"train.lr": choice(0.001, "fast")},
        {},
        "arm rankclip: train.lr = 'fast': must be a number",
    ),
    "parts of steps": (
        "rankclip",
        {"train.batch_size": {"name": "uniform", "low": 2.5, "high": 100}},
        {},
        "arm rankclip: train.batch_size = 2.5: must be an integer",
    ),
    "a key with the same value": (
        "rankclip",
        {f"{IN}.end": choice(0.5, also=["train.patch_dropout", "train.clip_norms"])},
        {},
        "arm rankclip: unknown key train.clip_norms = 0.5; did you mean clip_norm? the keys there are ",
    ),
    "a rule between keys": (
        "rankclip",
        {"train.warmup_steps": whole(10, 520)},
        {},
        "arm rankclip with train.warmup_steps = 520: warmup_steps 520 must be less than steps 520",
    ),
    "a rule between a key and what is set": (
        "rankclip",
        {"train.warmup_steps": whole(10, 300)},
        {"train.steps": 260},
        "arm rankclip with train.warmup_steps = 300: warmup_steps 300 must be less than steps 260",
    ),
    "a rule that the winner breaks": (
        "rankclip",
        {"train.warmup_steps": whole(10, 600)},
        {"train.steps": 1000},
        "arm rankclip without `set`, as a winner is, with train.warmup_steps = 600: "
        "warmup_steps 600 must be less than steps 520",
    ),
    "a rule between two searched keys": (
        "rankclip",
        {
            "train.schedule": choice("constant_cooldown"),
            "train.cooldown_steps": whole(0, 400),
            "train.warmup_steps": whole(0, 400),
        },
        {},
        "arm rankclip with train.cooldown_steps = 400",
    ),
    "a key under a condition": (
        "rankclip",
        {
            "train.schedule": choice("cosine", "constant_cooldown"),
            "train.cooldown_steps": whole(0, 600, when={"train.schedule": ["constant_cooldown"]}),
        },
        {},
        "arm rankclip with train.schedule = 'constant_cooldown', train.cooldown_steps = 600: "
        "cooldown_steps 600 do not fit into the steps 520 behind warmup_steps 50",
    ),
    "a batch too small for a choice": (
        "rankclip",
        {"objective.terms.rank_in.top_k": choice(None, 200)},
        {},
        "arm rankclip with objective.terms.rank_in.top_k = 200: top_k of 'rankclip' needs 200 pairs a batch",
    ),
    "an unknown key that is set": (
        "rankclip",
        {"train.lr": LR},
        {"train.stepss": 10},
        "arm rankclip: unknown key train.stepss = 10; did you mean steps?",
    ),
    "a value that is set": (
        "rankclip",
        {"train.lr": LR},
        {"train.steps": 10},
        "arm rankclip with train.steps = 10: warmup_steps 50 must be less than steps 10",
    ),
    "another objective under its name": (
        "clip",
        {"objective.terms.contrastive.label_smoothing": choice(0.0, 0.1)},
        {},
        "arm clip with objective.terms.contrastive.label_smoothing = 0.1: `clip` is the contrastive term",
    ),
}


@pytest.mark.parametrize(("arm", "space", "fixed", "told"), WRONG.values(), ids=WRONG)
def test_a_space_that_does_not_fit_an_arm_is_one_line_with_arm_key_and_value(
    arm: str, space: dict[str, Any], fixed: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as raised:
        check(space, arm, fixed)
    line = str(raised.value)
    assert line.startswith(told)
    assert line.count(f"arm {arm}") == 1
    assert "overrides" not in line
    assert "\n" not in line


def test_a_rule_between_two_searched_keys_is_told_with_both() -> None:
    space = {"train.warmup_steps": whole(0, 400), "train.cooldown_steps": whole(0, 400)}
    arm = settings.changed(RANKCLIP, {"train.schedule": "constant_cooldown"})
    with pytest.raises(InputError) as raised:
        settings.check(sweep(space), STUDY, {"rankclip": arm})
    assert str(raised.value) == (
        "arm rankclip with train.warmup_steps = 400, train.cooldown_steps = 400: "
        "cooldown_steps 400 do not fit into the steps 520 behind warmup_steps 400"
    )


def test_a_space_must_fit_every_arm() -> None:
    spec = sweep({f"{IN}.final": LR})
    settings.check(spec, STUDY, {"rankclip": RANKCLIP})
    with pytest.raises(InputError, match=r"^arm clip: "):
        settings.check(spec, STUDY, {"rankclip": RANKCLIP, "clip": STUDY.arms["clip"]})


OF_ALL_ARMS = "equal-budgets"
"""The sweep that names arms of `shapes` which the smoke study has not."""


@pytest.mark.parametrize(
    ("study", "name"),
    [("shapes", name) for name in composition.names("sweep", CONF)]
    + [("shapes-smoke", name) for name in composition.names("sweep", CONF) if name != OF_ALL_ARMS],
)
def test_a_shipped_sweep_fits_the_shipped_studies_of_shapes(study: str, name: str) -> None:
    spec = SweepSpec.model_validate(composition.value_of((CONF / "sweep" / f"{name}.yaml").read_text()))
    made = composition.compose(study, conf=CONF)
    settings.check(spec, made, {name: made.arms[name] for name in spec.arms or made.arms})


def test_the_present_values_are_those_the_arm_is_trained_with() -> None:
    space = {
        f"{IN}.final": {"name": "loguniform", "low": 0.01, "high": 0.125},
        f"{IN}.end": choice(0.1, 0.6667, also=[f"{CROSS}.end"]),
        "objective.terms.rank_in.top_k": choice(10, None),
        "train.lr": LR,
        "train.batch_size": whole(64, 256, step=64),
        "model.name": choice("shapes-vit", "shapes-rn"),
    }
    arm = RANKCLIP.model_copy(update={"overrides": {"train.batch_size": 64}})
    found = settings.present(sweep(space), STUDY, arm)
    assert found == {
        f"{IN}.final": 0.125,
        f"{IN}.end": 0.6667,
        "objective.terms.rank_in.top_k": None,
        "train.lr": 0.001,
        "train.batch_size": 64,
        "model.name": "shapes-rn",
    }
    assert list(found) == list(space)


def test_the_present_values_of_a_replay_are_found() -> None:
    key = "objective.replay.terms.rank_in.weight.final"
    spec = sweep({key: {"name": "uniform", "low": 0, "high": 1}})
    assert settings.present(spec, STUDY, STUDY.arms["mine"]) == {key: 0.125}
    assert settings.present(spec, STUDY, RANKCLIP) is None


NOT_IN_THE_SPACE = {
    "a range above it": {"train.lr": {"name": "uniform", "low": 0.0011, "high": 1}},
    "a range below it": {"train.lr": {"name": "loguniform", "low": 1e-5, "high": 9e-4}},
    "other choices": {"train.lr": choice(0.01, 0.1)},
    "steps beside it": {"train.warmup_steps": whole(1, 101, step=25)},
    "no number": {"train.logit_scale_lr": LR},
    "a term that it has not": {"objective.terms.cyclic_in.weight.value": LR},
    "a key that its schedule has not": {f"{IN}.value": LR},
    "keys that differ": {f"{IN}.final": LR | {"high": 1.0, "also": [f"{IN}.end"]}},
}


@pytest.mark.parametrize("space", NOT_IN_THE_SPACE.values(), ids=NOT_IN_THE_SPACE)
def test_an_arm_that_is_not_in_the_space_has_no_present_values(space: dict[str, Any]) -> None:
    assert settings.present(sweep(space), STUDY, RANKCLIP) is None


def test_the_ends_of_a_range_are_in_it() -> None:
    for low, high in ((1e-3, 1.0), (1e-5, 1e-3)):
        for name in ("uniform", "loguniform"):
            spec = sweep({"train.lr": {"name": name, "low": low, "high": high}})
            assert settings.present(spec, STUDY, RANKCLIP) == {"train.lr": 1e-3}
    spec = sweep({"train.warmup_steps": whole(0, 50, step=25)})
    assert settings.present(spec, STUDY, RANKCLIP) == {"train.warmup_steps": 50}


def test_the_present_values_are_those_with_what_the_sweep_sets() -> None:
    space = {"train.warmup_steps": whole(10, 20), f"{IN}.final": choice(0.125, also=[f"{CROSS}.final"])}
    assert settings.present(sweep(space), STUDY, RANKCLIP) is None
    arm = settings.changed(RANKCLIP, {"train.warmup_steps": 15})
    found = {"train.warmup_steps": 15, f"{IN}.final": 0.125}
    assert settings.present(sweep(space, {"train.steps": 260}), STUDY, arm) == found
    others = {IN: {"name": "constant", "value": 0.125}}
    assert settings.present(sweep(space, others), STUDY, arm) is None


def test_a_key_whose_condition_the_arm_does_not_fulfil_is_not_asked_for() -> None:
    space = {
        "train.schedule": choice("constant_cooldown", "cosine"),
        "train.cooldown_steps": whole(10, 100, when={"train.schedule": ["constant_cooldown"]}),
        "train.warmup_steps": whole(10, 100, when={"train.schedule": ["cosine"]}),
    }
    found = settings.present(sweep(space), STUDY, RANKCLIP)
    assert found == {"train.schedule": "cosine", "train.warmup_steps": 50}


@given(
    st.fixed_dictionaries(
        {
            f"{IN}.final": st.floats(0.01, 1.0),
            "train.lr": st.floats(1e-4, 1e-2),
            "train.batch_size": st.integers(1, 8).map(lambda count: 32 * count),
            "train.schedule": st.sampled_from(["cosine", "constant_cooldown"]),
        }
    )
)
def test_what_a_trial_has_are_the_present_values_of_its_arm(values: dict[str, Any]) -> None:
    space = {
        f"{IN}.final": {"name": "loguniform", "low": 0.01, "high": 1.0, "also": [f"{CROSS}.final"]},
        "train.lr": LR,
        "train.batch_size": whole(32, 256, step=32),
        "train.schedule": choice("cosine", "constant_cooldown"),
    }
    spec = sweep(space)
    arm = settings.changed(RANKCLIP, settings.spread(spec, values))
    assert settings.present(spec, STUDY, arm) == values
    assert Arm.model_validate(arm.dump()) == arm


def test_a_space_is_checked_without_any_large_package() -> None:
    heavy = "{'torch', 'open_clip', 'pyarrow', 'ray', 'mlflow', 'hydra', 'numpy', 'PIL', 'optuna'}"
    modules = "rankclip.sweep.spec, rankclip.sweep.settings, rankclip.sweep.ledger"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
