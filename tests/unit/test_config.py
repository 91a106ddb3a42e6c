from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from rankclip import complaints, composition, config
from rankclip.errors import InputError

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return composition.compose("shapes-smoke", conf=CONF).dump()


def changed(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of a study's values with one other."""
    others = copy.deepcopy(values)
    config.assign(others, key.split("."), value)
    return others


def test_a_study_survives_its_file(values: dict[str, Any], tmp_path: Path) -> None:
    study = config.validate(values, "here")
    config.write(study, tmp_path / "params.yaml")
    assert config.load(tmp_path / "params.yaml") == study


def test_an_arm_changes_its_own_recipe_only(values: dict[str, Any]) -> None:
    override = {"train.lr": 0.5, "model.name": "shapes-vit"}
    study = config.validate(changed(values, "arms.clip.overrides", override), "here")
    own, other = (study.arms[name].recipe(study.model, study.train) for name in ("clip", "rankclip"))
    assert (own.train.lr, own.model.name) == (0.5, "shapes-vit")
    assert (other.train, other.model) == (study.train, study.model)
    assert own.train.model_copy(update={"lr": study.train.lr}) == study.train


def test_two_arms_may_differ_in_an_override_alone(values: dict[str, Any]) -> None:
    arm = values["arms"]["clip"] | {"overrides": {"train.lr": 0.5}}
    assert "tuned" in config.validate(changed(values, "arms.tuned", arm), "here").arms


def replaying(other: str) -> dict[str, Any]:
    """An arm of CLIP along the logit scale of another objective."""
    changes = [f"arms.other.objective={other}", "arms.other.overrides.train.lr=0.1"]
    study = composition.compose("shapes-smoke", changes, CONF).dump()
    objective = study["arms"]["clip"]["objective"] | {"name": "replay"}
    return {"objective": objective | {"replay": study["arms"]["other"]["objective"]}}


def test_two_arms_may_differ_in_what_they_replay_alone(values: dict[str, Any]) -> None:
    arms = values["arms"] | {"one": replaying("rankclip_i"), "two": replaying("rankclip_c")}
    assert list(config.validate(values | {"arms": arms}, "here").arms)[-2:] == ["one", "two"]


def test_another_name_for_what_is_replayed_makes_no_other_run(values: dict[str, Any]) -> None:
    renamed = replaying("rankclip_i")
    renamed["objective"]["replay"]["name"] = "another"
    arms = values["arms"] | {"one": replaying("rankclip_i"), "two": renamed}
    with pytest.raises(InputError, match=r"^here: arms\.two and arms\.one are the same run; remove one$"):
        config.validate(values | {"arms": arms}, "here")


def with_replay(values: dict[str, Any], **arms: dict[str, Any]) -> dict[str, Any]:
    """A study in which `mine` replays `rankclip`, with other or more arms; what is given replaces keys."""
    changed = {"mine": replaying("rankclip")}
    for name, keys in {"mine": {}, **arms}.items():
        changed[name] = {**values["arms"].get(name, changed["mine"]), **keys}
    return values | {"arms": values["arms"] | changed}


HOT = {"overrides": {"train.lr": 0.5, "train.log_every": 7}}


def test_a_replay_follows_the_run_of_the_arm_that_it_names(values: dict[str, Any]) -> None:
    whole = values["arms"]["rankclip"]["objective"]
    renamed = {"objective": whole | {"name": "another"}}
    config.validate(with_replay(values), "here")
    config.validate(with_replay(values, mine=HOT, rankclip=HOT), "here")
    # the arm may have the name or the objective, and one of several is enough: the others are a sweep
    config.validate(with_replay(values, rankclip=renamed), "here")
    config.validate(with_replay(values, hot=HOT | {"objective": whole}), "here")
    config.validate(with_replay(values, mine=HOT, hot=HOT | {"objective": whole}), "here")


@pytest.mark.parametrize("place", ["rankclip", "renamed"])
@pytest.mark.parametrize(
    ("mine", "other", "differ"),
    [
        ({}, HOT, r"train\.lr, train\.log_every"),
        (HOT, {}, r"train\.lr, train\.log_every"),
        ({}, {"overrides": {"model.name": "shapes-vit"}}, r"model\.name"),
        ({}, {"terms": slice(0, 2)}, "terms"),
        (HOT, {"terms": slice(0, 2), **HOT}, "terms"),
        (HOT, {"terms": slice(1, 3)}, r"terms, train\.lr, train\.log_every"),
    ],
)
def test_a_replay_of_another_run_than_the_arm_that_it_names_is_refused(
    values: dict[str, Any], place: str, mine: dict[str, Any], other: dict[str, Any], differ: str
) -> None:
    arm = copy.deepcopy(values["arms"]["rankclip"]) | {"overrides": other.get("overrides", {})}
    arm["objective"]["terms"] = arm["objective"]["terms"][other.get("terms", slice(None))]
    study = with_replay(values, mine=mine, **{place: arm})
    if place != "rankclip":
        del study["arms"]["rankclip"]
        study["report"] = values["report"] | {"treatment": place}
    told = (
        r"^here: arms\.mine\.objective\.replay is called 'rankclip', but is not the run of "
        rf"arms\.{place}: they differ in {differ}; give both arms the same overrides and terms, or "
        "the replay another name$"
    )
    with pytest.raises(InputError, match=told):
        config.validate(study, "here")


def test_a_replay_is_not_the_run_of_an_arm_that_itself_replays(values: dict[str, Any]) -> None:
    other = {"objective": replaying("siglip")["objective"] | {"name": "rankclip"}}
    with pytest.raises(InputError, match=r"not the run of arms\.rankclip: they differ in terms, replay;"):
        config.validate(with_replay(values, rankclip=other), "here")


def test_an_oracle_wants_a_source_that_knows_the_truth_also_for_a_replay(values: dict[str, Any]) -> None:
    source = {"name": "cc3m", "path": "list.tsv", "sha256": "0" * 64}
    listed = values | {"source": source, "route": config.route("cc3m")}
    assert config.validate(listed, "here").source.name == "cc3m"
    told = r"^here: arms\.mine\.objective: teacher oracle .* needs .* which source cc3m does not know"
    oracle = composition.compose("shapes-smoke", ["arms.mine.objective=rankclip_oracle"], CONF)
    for mine in (oracle.dump()["arms"]["mine"], replaying("rankclip_oracle")):
        wrong = values["arms"] | {"mine": mine}
        assert config.validate(values | {"arms": wrong}, "here").source.has_latents
        with pytest.raises(InputError, match=told):
            config.validate(listed | {"arms": wrong}, "here")


def test_the_places_that_an_arm_ranks_fit_its_own_batch(values: dict[str, Any]) -> None:
    arm = copy.deepcopy(values["arms"]["rankclip"])
    arm["objective"]["terms"][2]["top_k"] = 100
    assert "mine" in config.validate(changed(values, "arms.mine", arm), "here").arms
    small = arm | {"overrides": {"train.batch_size": 64}}
    with pytest.raises(InputError, match=r"^here: arms\.mine\.objective: top_k .* 100 pairs .* is 64"):
        config.validate(changed(values, "arms.mine", small), "here")


def test_an_override_that_breaks_a_rule_between_values_is_told(values: dict[str, Any]) -> None:
    wrong = changed(values, "arms.clip.overrides", {"train.steps": 10})
    with pytest.raises(
        InputError, match=r"arms.clip.overrides: train: warmup_steps 50 must be less than steps 10"
    ):
        config.validate(wrong, "here")


def test_an_override_below_a_value_keeps_the_name_of_its_arm(values: dict[str, Any]) -> None:
    wrong = changed(values, "arms.clip.overrides", {"train.lr.peak": 1})
    with pytest.raises(
        InputError, match=r"^here: arms\.clip\.overrides: train\.lr\.peak is unknown: lr is a value"
    ):
        config.validate(wrong, "here")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("shapes", "train.validation names shapes, which is no classification benchmark of"),
        ("retrieval", "train.validation names retrieval, which is no classification benchmark of"),
    ],
)
def test_a_validation_of_any_arm_is_on_a_classification_benchmark_of_the_study(
    values: dict[str, Any], named: str, told: str
) -> None:
    own = changed(values, "arms.clip.overrides", {"train.validation": ["shape", named]})
    with pytest.raises(InputError, match=f"^here: arms.clip.overrides: {told}"):
        config.validate(own, "here")
    with pytest.raises(InputError, match=f"^here: {told} .*; it has shape, .*, digits$"):
        config.validate(changed(values, "train.validation", ["shape", named]), "here")


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ({"baseline": "nope"}, r"report\.baseline = 'nope' is no arm; choose one of clip, rankclip, rank"),
        ({"treatment": "nope"}, r"report\.treatment = 'nope' is no arm; choose one of .*rankclip_shuffled$"),
        ({"control": "nope"}, r"report\.control = 'nope' is no arm; choose .*, or null for none"),
        ({"treatment": None, "control": None}, r"report\.treatment is missing; choose one of"),
        ({"treatment": None}, r"report\.treatment is missing; choose one of"),
        (
            {"baseline": "rankclip"},
            r"report: baseline, treatment and control must differ, got rankclip, rankc",
        ),
        (
            {"control": "clip"},
            r"report: baseline, treatment and control must differ, got clip, rankclip, clip",
        ),
    ],
)
def test_a_role_is_an_arm_of_the_study_and_no_arm_has_two(
    values: dict[str, Any], roles: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=f"^here: {told}"):
        config.validate(changed(values, "report", values["report"] | roles), "here")


def test_a_study_may_do_without_a_control_and_with_one_arm_alone(values: dict[str, Any]) -> None:
    without = changed(values, "report", {"baseline": "clip", "treatment": "rankclip"})
    assert config.validate(without, "here").report.control is None
    alone = changed(changed(values, "report", {"baseline": "clip"}), "arms", {"clip": values["arms"]["clip"]})
    assert config.validate(alone, "here").report.treatment is None


def test_a_complaint_says_how_many_more_there_are(values: dict[str, Any]) -> None:
    wrong = changed(changed(values, "study.claims", "x"), "curate.min_side", 0)
    with pytest.raises(InputError) as raised:
        config.validate(wrong, "here")
    assert str(raised.value) == "here: study.claims = 'x': must be a boolean (and 1 more)"


def test_a_complaint_names_the_key_as_the_file_has_it(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^here: source\.zipf = -1: "):
        config.validate(changed(values, "source.zipf", -1), "here")
    benchmarks = [{"name": "shape", "images": 20}, {"name": "digits", "images": 1}]
    with pytest.raises(InputError, match=r"^here: evaluation\.benchmarks\.1\.images = 1: "):
        config.validate(changed(values, "evaluation.benchmarks", benchmarks), "here")


def test_an_arm_called_as_a_term_keeps_its_name_in_a_complaint(values: dict[str, Any]) -> None:
    arm = {"objective": {"name": "clip", "terms": []}}
    with pytest.raises(InputError, match=r"arms\.contrastive\.objective\.terms = \[\]: must have 1 or more"):
        config.validate(changed(values, "arms.contrastive", arm), "here")


def test_a_value_that_may_be_of_two_kinds_is_one_complaint_that_names_both(values: dict[str, Any]) -> None:
    wrong = copy.deepcopy(values)
    wrong["arms"]["rankclip"]["objective"]["terms"][1]["temperature"] = "hot"
    key = "arms.rankclip.objective.terms.1.temperature"
    with pytest.raises(InputError) as raised:
        config.validate(wrong, "here")
    assert str(raised.value) == f"here: {key} = 'hot': must be 'shared' or 'detached', or a number"
    wrong["arms"]["rankclip"]["objective"]["terms"][1]["temperature"] = 0
    wrong["arms"]["rankclip"]["objective"]["terms"][2]["temperature"] = None
    with pytest.raises(InputError) as raised:
        config.validate(wrong, "here")
    told = f"here: {key} = 0: must be 'shared' or 'detached', or greater than 0 (and 1 more)"
    assert str(raised.value) == told


def test_a_complaint_within_a_replay_names_the_key_as_the_file_has_it(values: dict[str, Any]) -> None:
    arm = replaying("rankclip_i")
    arm["objective"]["replay"]["terms"][1]["weight"]["final"] = -1
    with pytest.raises(
        InputError, match=r"^here: arms\.rank_in\.objective\.replay\.terms\.1\.weight\.final = -1: "
    ):
        config.validate(changed(values, "arms.rank_in", arm), "here")


def test_a_long_value_is_cut() -> None:
    assert complaints.shown("x" * 100) == "'" + "x" * 56 + "..."


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("train.lr=2e-3", "train.lr", 0.002),
        ("train.betas=[9e-1, 0.98]", "train.betas", [0.9, 0.98]),
        ("a={x: 1e-3}", "a", {"x": 0.001}),
        ("study.name=1e3x", "study.name", "1e3x"),
        ("study.name=e3", "study.name", "e3"),
        ("x='12'", "x", "12"),
        ('x="1e-3"', "x", "1e-3"),
        ("x=['12', 12, +1.5E2, -.5e1]", "x", ["12", 12, 150.0, -5.0]),
        ("x=12", "x", 12),
        ("x=-1.5", "x", -1.5),
        ("x=1.2.3", "x", "1.2.3"),
        ("a=b=c", "a", "b=c"),
        ("a=", "a", None),
        ("a=true", "a", True),
    ],
)
def test_a_change_is_a_key_and_a_yaml_value_where_exponents_are_numbers(
    change: str, key: str, value: Any
) -> None:
    assert composition.parse(change) == (key, value)


def test_an_override_keeps_its_dots() -> None:
    assert composition.path_of("arms.mine.overrides.train.lr") == ["arms", "mine", "overrides", "train.lr"]
    assert composition.path_of("arms.mine.overrides") == ["arms", "mine", "overrides"]
    assert composition.path_of("train.lr") == ["train", "lr"]


def test_a_conf_that_does_not_compose_is_told(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "broken.yaml").write_text("defaults:\n  - /data: nowhere\n")
    (tmp_path / "config.yaml").write_text("defaults:\n  - study: broken\n  - _self_\n")
    with pytest.raises(InputError, match="does not compose") as raised:
        composition.compose("broken", conf=tmp_path)
    assert "nowhere" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_pattern_of_tars_that_is_no_text_is_a_complaint_about_its_key(tmp_path: Path) -> None:
    (tmp_path / "a.tar").touch()
    changes = ["data=webdataset", f"source.place={tmp_path}", "source.tars=5"]
    with pytest.raises(InputError, match=r"source\.tars") as raised:
        composition.compose("shapes-smoke", changes, CONF)
    assert "\n" not in str(raised.value)


def test_an_entry_of_a_list_is_reached_by_its_name() -> None:
    values: dict[str, Any] = {"terms": [{"name": "contrastive"}, {"name": "rank_in", "weight": {"value": 1}}]}
    config.assign(values, ["terms", "rank_in", "weight", "value"], 2)
    config.assign(values, ["terms", "rank_in", "top_k"], 10)
    assert values["terms"] == [
        {"name": "contrastive"},
        {"name": "rank_in", "weight": {"value": 2}, "top_k": 10},
    ]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("terms.1.top_k", "no entry of terms is named '1'; choose one of contrastive"),
        ("terms.contrastive", "terms is a list; give it whole, or a key of one entry"),
        ("seeds.0.x", "no entry of seeds is named '0'; give the list whole"),
        ("lr.peak", "lr is a value; remove what follows it"),
        ("lr.peak.more", "lr is a value; remove what follows it"),
    ],
)
def test_a_path_that_leads_nowhere_is_named(path: str, reason: str) -> None:
    values: dict[str, Any] = {"terms": [{"name": "contrastive"}], "seeds": [0, 1], "lr": 1}
    with pytest.raises(InputError, match=f"^{path} is unknown: {reason}"):
        config.assign(values, path.split("."), 3)
