"""A sweep of conf/ as it is about to run: what is refused before anything is spent, what a trial is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rankclip import composition
from rankclip.errors import InputError
from rankclip.sweep import plan as plans
from rankclip.sweep import reruns
from rankclip.sweep.ledger import State, Trial
from rankclip.sweep.plan import Plan

CONF = Path(__file__).parents[3] / "conf"
CROSS, IN = (f"objective.terms.rank_{which}.weight" for which in ("cross", "in"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the lists of data of the smoke study, and no more of them."""
    data = tmp_path / "data" / "shapes-smoke"
    for part, listed in (
        ("shards", {}),
        (
            "benchmarks",
            {"benchmarks": {name: {"val": {"digest": name}} for name in ("shape", "colour", "composition")}},
        ),
    ):
        (data / part).mkdir(parents=True)
        (data / part / "manifest.json").write_text(json.dumps(listed))
    return tmp_path


def planned(root: Path, *changes: str, name: str = "rank-weights", study: str = "shapes-smoke") -> Plan:
    return Plan(name, plans.read(name, changes, CONF), composition.compose(study, conf=CONF), root)


STUDY_OF = {"equal-budgets": "shapes"}
"""The study whose arms a sweep names, where it is not the smoke study."""


@pytest.mark.parametrize("name", composition.names("sweep", CONF))
def test_every_sweep_of_conf_fits_its_study(name: str, root: Path) -> None:
    study = STUDY_OF.get(name, "shapes-smoke")
    if study != "shapes-smoke":
        shutil.copytree(root / "data" / "shapes-smoke", root / "data" / study)
    plan = planned(root, name=name, study=study)
    plans.check(plan)
    assert set(plan.arms) <= set(plan.study.arms)


def test_a_key_may_be_searched_for_some_arms_alone(root: Path) -> None:
    own = [f"space.{key}.arms=[rankclip]" for key in (f"{CROSS}.final", f"{IN}.final", f"{CROSS}.end")]
    rate = "space.train.lr={name: loguniform, low: 0.001, high: 0.01}"
    plan = planned(root, "arms=[clip,rankclip]", *own, rate)
    plans.check(plan)
    assert list(plan.spec.of("clip").space) == ["train.lr"]
    assert plan.spec.of("rankclip") == plan.spec
    with pytest.raises(InputError, match="space has no key for arm clip; give it one, or leave it out"):
        plans.check(planned(root, "arms=[clip,rankclip]", *own))


def test_a_trial_is_the_arm_with_its_values_at_the_sweeps_seed_validated_at_every_rung(root: Path) -> None:
    plan = planned(root, "train.steps=90", "train.warmup_steps=5")
    request = plan.of_trial(Trial("rankclip", 7, {f"{CROSS}.final": 0.5, f"{CROSS}.end": 0.1}))
    weights = {term.name: term.weight for term in request.objective.terms}
    assert (request.key, request.seed) == ("rankclip/trial-007", 1000)
    assert (weights["rank_cross"].final, weights["rank_in"].final) == (0.5, 0.125)
    assert (weights["rank_cross"].end, weights["rank_in"].end) == (0.1, 0.1)
    assert (request.train.steps, request.train.validate_every, request.train.checkpoint_every) == (90, 10, 10)
    assert request.train.lr == plan.study.train.lr


def test_other_settings_are_another_run_and_another_sweep_another_folder(root: Path) -> None:
    plan = planned(root)
    one, other = (plan.of_trial(Trial("rankclip", at, {f"{IN}.final": 0.1 * (at + 1)})) for at in (0, 1))
    assert one.folder != other.folder
    assert plan.folder == planned(root).folder != planned(root, "search.seed=3").folder
    (root / "data" / "shapes-smoke" / "shards" / "manifest.json").write_text('{"other": 1}')
    assert planned(root).folder != plan.folder


def test_more_trials_and_other_re_runs_go_on_with_a_sweep(root: Path) -> None:
    assert planned(root, "trials=40", "reruns.seeds=5").folder == planned(root).folder


def test_settings_that_clash_three_at_a_time_are_told_of_the_trial_that_has_them(root: Path) -> None:
    steps = "{name: randint, low: 0, high: 150}"
    changes = "train.schedule=constant_cooldown", "train.steps=200", f"space.train.warmup_steps={steps}"
    plan = planned(root, *changes, f"space.train.cooldown_steps={steps}")
    with pytest.raises(
        InputError, match="cooldown_steps 120 do not fit into the steps 200 behind warmup_steps"
    ):
        plan.of_trial(Trial("rankclip", 0, {"train.warmup_steps": 100, "train.cooldown_steps": 120}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            f"space.{CROSS}.final.arms=[foo]",
            r"space\.objective.*\.final\.arms: foo is none of study shapes-smoke",
        ),
        ("trials=x", r"sweep rank-weights: trials = 'x': must be an integer"),
        ("trails=3", r"unknown key trails = 3; did you mean trials\?"),
        ("arms=[foo]", r"arms: foo is none of study shapes-smoke; choose clip, rankclip, rankclip_shuffled"),
        (
            "aims=[{metric: val/foo/top1, mode: max}]",
            r"val/foo/top1 is nothing that runs .* choose val/mean_top1, ",
        ),
        ("stopping.name=pbt", r"pbt changes settings while a trial trains"),
        ("space.train.steps={name: randint, low: 100, high: 500}", r"space has train\.steps, but trials are"),
        ("train.validate_every=7", r"set has train\.validate_every, but trials validate at their rungs"),
        ("seed=0", r"in common with the study"),
        ("train.steps=50", r"warmup_steps 50 must be less than steps 50"),
        (
            "space.train.lr={name: uniform, low: 1, high: 0.5}",
            r"low 1 is not below high 0\.5: the range is empty",
        ),
        ("space.train.lr={name: uniform, low: a, high: b}", r"space\.train\.lr.* 'a'"),
        ("space.train.lrr={name: uniform, low: 0.1, high: 1}", r"train\.lrr"),
        ("train.stepz=3", r"train\.stepz.*did you mean steps\?"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_spent(change: str, said: str, root: Path) -> None:
    with pytest.raises(InputError, match=said) as raised:
        plans.check(planned(root, change))
    assert "\n" not in str(raised.value)


def test_a_condition_must_be_searched_for_the_same_arms(root: Path) -> None:
    conditional = "{name: uniform, low: 0.1, high: 1, when: {" + CROSS + ".end: [1.0]}}"
    with pytest.raises(
        InputError, match=r"space\.train\.lr\.when: .*end is searched for \['rankclip'\] alone"
    ):
        planned(root, f"space.{CROSS}.end.arms=[rankclip]", f"space.train.lr={conditional}")


def test_too_few_steps_for_the_rungs_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="5 steps of arm rankclip are too few for 3 rungs"):
        plans.check(planned(root, "train.steps=5", "train.warmup_steps=1"))


def test_an_unknown_sweep_is_told_which_there_are(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"sweep 'x' is unknown; choose one of equal-budgets, fair-baseline, "
    ):
        planned(root, name="x")


def test_a_change_reaches_into_a_searched_key(root: Path) -> None:
    plan = planned(root, f"space.{CROSS}.final.low=0.05", "stopping.rungs=2")
    assert plan.spec.space[f"{CROSS}.final"].low == 0.05
    assert plan.spec.stopping.rungs == 2


def test_only_the_best_finished_trials_keep_their_weights(root: Path) -> None:
    plan = planned(root, "reruns.best=1")
    states: list[tuple[State, float]] = [
        ("finished", 0.2),
        ("finished", 0.4),
        ("finished", 0.3),
        ("stopped", 0.9),
    ]
    trials = [
        Trial(
            "rankclip", at, {f"{IN}.final": 0.1 * (at + 1)}, state, ({"step": 520, "val/mean_top1": value},)
        )
        for at, (state, value) in enumerate(states)
    ]
    folders = [plan.of_trial(trial).folder for trial in trials]
    for folder in folders:
        folder.mkdir(parents=True)
        for name in ("model.safetensors", "record.json", "metrics.jsonl"):
            (folder / name).touch()
    reruns.delete_weights(plan, trials)
    assert [(folder / "model.safetensors").exists() for folder in folders] == [False, True, False, True]
    assert [(folder / "record.json").exists() for folder in folders] == [False, True, False, True]
    assert all((folder / "metrics.jsonl").exists() for folder in folders)
