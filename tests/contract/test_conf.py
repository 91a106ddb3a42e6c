"""conf/, params.yaml and the schema agree, and the command line tells of a wrong value in one line."""

from __future__ import annotations

import functools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml

from rankclip import catalogue, cli, composition, config
from rankclip.models.spec import ModelName
from rankclip.objectives import Objective
from rankclip.sweep import plan, settings

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
CLIP = "objective: {name: clip, terms: [{name: contrastive, weight: {name: constant, value: 1.0}}]}"
BARE = "[{name: contrastive, weight: {name: constant, value: 1}}]"

LIST = f"source.path={ROOT / 'README.md'}"
OWN_LIST = ["data=list", LIST, "evaluation=digits", "train.validation=[digits]"]


def ranks(options: str) -> str:
    """The change that makes `rankclip` a ranking term alone, with these options."""
    return (
        f"arms.rankclip.objective.terms=[{{name: rank_in, weight: {{name: constant, value: 1}}, {options}}}]"
    )


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the command line in a folder that has this repository's conf/: exit code, output, errors."""
    (tmp_path / "conf").symlink_to(CONF)
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rankclip", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    yield call
    signal.signal(signal.SIGTERM, before)


def committed() -> config.Study:
    return config.load(ROOT / "params.yaml")


@pytest.mark.parametrize("study", composition.names("study", CONF))
def test_every_study_composes_and_is_named_as_its_file(study: str) -> None:
    assert composed(study).study.name == study


def composed(study: str) -> config.Study:
    """A study of `conf/`; one of a published list gets some file in its place."""
    return composition.compose(study, [] if study.startswith("shapes") else [LIST], CONF)


@pytest.mark.parametrize("study", composition.names("study", CONF))
def test_a_study_of_a_published_list_knows_what_is_normal_and_removes_nothing(study: str) -> None:
    if study.startswith("shapes"):
        return
    chosen = composed(study)
    expected = chosen.source.expected
    assert expected is not None
    assert (chosen.curate.remove, chosen.route.crawl) == ((), (chosen.source.name,))
    assert chosen.train.steps % (expected.pairs // chosen.train.batch_size) == 0, "whole epochs"
    low, high = expected.survival
    assert low * expected.rows <= expected.pairs <= high * expected.rows


@pytest.mark.parametrize("model", composition.names("model", CONF))
def test_every_model_of_conf_can_be_chosen(model: str) -> None:
    assert composition.compose("shapes-smoke", [f"model={model}"], CONF).model.name == model


def test_every_model_that_there_is_can_be_chosen_by_its_name() -> None:
    assert set(composition.names("model", CONF)) == set(get_args(ModelName))


@pytest.mark.parametrize("objective", composition.names("objective", CONF))
def test_every_objective_of_conf_is_called_as_its_file_and_can_be_an_arm(objective: str) -> None:
    mine = arm(objective)
    assert (mine.objective.name, mine.overrides) == (objective, {"train.lr": 0.003})


NAMED = {
    *("clip", "siglip", "cyclip", "cyclip_i", "cyclip_c", "rankclip", "rankclip_c", "rankclip_i"),
    *("rankclip_released", "soft_clip", "multi_positive", "clip_smoothed"),
    *("rankclip_shuffled", "rankclip_oracle", "clip_alpha_replay", "rankclip_soft", "rankclip_consensus"),
    "rankclip_listnet",
}


@functools.cache
def arm(name: str) -> config.Arm:
    """An arm of this objective, by its learning rate another run than those of the smoke study."""
    changes = [f"arms.mine.objective={name}", "arms.mine.overrides.train.lr=3e-3"]
    if name == "clip_alpha_replay":  # has the recipe of the arm that it follows
        changes.append("arms.rankclip.overrides.train.lr=3e-3")
    return composition.compose("shapes-smoke", changes, CONF).arms["mine"]


def objective(name: str) -> Objective:
    return arm(name).objective


def test_every_objective_that_the_method_names_is_in_conf() -> None:
    assert set(composition.names("objective", CONF)) == NAMED


def test_no_two_objectives_are_the_same_run() -> None:
    changes = [f"arms.{name}.objective={name}" for name in NAMED]
    assert set(composition.compose("shapes-smoke", changes, CONF).arms) == NAMED


@pytest.mark.parametrize("name", sorted(name for name in NAMED if name.startswith("rankclip_")))
def test_a_variant_of_rankclip_differs_from_it_in_what_its_name_says_alone(name: str) -> None:
    variant, changed = objective(name), name.removeprefix("rankclip_")
    whole = {term.name: term for term in objective("rankclip").terms}
    kept = {"c": {"rank_cross"}, "i": {"rank_in"}}.get(changed, {"rank_cross", "rank_in"})
    assert {term.name for term in variant.terms} == {"contrastive"} | kept
    for term in variant.terms:
        fields = type(term).model_fields
        other = {
            key: getattr(term, key) for key in fields if getattr(term, key) != getattr(whole[term.name], key)
        }
        if term.name == "contrastive" or changed in ("c", "i"):
            assert other == {}
        elif changed == "released":
            assert (other.pop("weight").largest, other) == (0.125, {"numerics": "released"})
        elif changed == "listnet":
            assert other == {"surrogate": "listnet"}
        else:
            assert other == {"teacher": changed}


def test_the_ranking_terms_have_one_ramp_and_the_released_ones_that_of_64_epochs() -> None:
    weights = {name: [term.weight for term in objective(name).terms[1:]] for name in NAMED if "rank" in name}
    assert all(len(set(map(repr, each))) == 1 for each in weights.values())
    assert weights["rankclip_released"][0].dump() == {"name": "released", "epochs": 64, "final": 0.125}


def test_the_replay_is_of_rankclip_as_it_is_trained() -> None:
    replay = objective("clip_alpha_replay")
    assert replay.replay == objective("rankclip")
    assert replay.terms == objective("clip").terms


def test_the_study_of_controls_is_the_smoke_study_with_more_arms_and_steps() -> None:
    smoke, controls = (composition.compose(name, conf=CONF) for name in ("shapes-smoke", "shapes-controls"))
    whole = {"study", "arms", "train"}
    assert controls.model_dump(exclude=whole) == smoke.model_dump(exclude=whole)
    lengths = {"steps", "warmup_steps", "validate_every", "checkpoint_every", "diagnose_every"}
    assert controls.train.model_dump(exclude=lengths) == smoke.train.model_dump(exclude=lengths)
    assert not controls.study.claims
    assert controls.study.seeds == smoke.study.seeds == (0, 1, 2)
    assert dict(list(controls.arms.items())[:3]) == smoke.arms
    assert [name for name, arm in controls.arms.items() if arm.objective.name != name or arm.overrides] == []
    assert list(controls.arms)[3:] == [
        *("rankclip_oracle", "rankclip_released", "clip_alpha_replay", "rankclip_i", "rankclip_c")
    ]


@pytest.mark.parametrize("study", ["shapes-smoke", "shapes-controls", "shapes"])
def test_every_sweep_can_begin_with_every_arm_as_it_is(study: str) -> None:
    made = composed(study)
    for name in composition.names("sweep", CONF):
        spec = plan.read(name, conf=CONF)
        searched = [arm for arm in spec.arms or made.arms if arm in made.arms]
        present = {arm: settings.present(spec.of(arm), made, made.arms[arm]) for arm in searched}
        assert [arm for arm, values in present.items() if not values] == [], name
        assert present


def test_params_hides_no_default() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert committed().dump() == values


def test_params_is_the_smoke_study_as_conf_says_it(tmp_path: Path) -> None:
    study = composition.compose("shapes-smoke", conf=CONF)
    config.write(study, tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_the_smoke_study_claims_nothing() -> None:
    assert not composition.compose("shapes-smoke", conf=CONF).study.claims


def test_a_study_compares_at_least_three_seeds() -> None:
    for name in composition.names("study", CONF):
        assert len(composed(name).study.seeds) >= 3


def test_the_configuration_needs_no_large_package() -> None:
    heavy = "{'torch', 'open_clip', 'pyarrow', 'ray', 'mlflow', 'hydra', 'numpy', 'PIL', 'img2dataset'}"
    code = f"import sys, rankclip.config, rankclip.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_studies_of_the_question_on_shapes_have_one_world_and_one_recipe() -> None:
    asked, tuned, vague = (composed(f"shapes{name}") for name in ("", "-tuned", "-ambiguity-3"))
    assert (tuned.source, tuned.train) == (asked.source, asked.train)
    assert (vague.source, vague.train) == (asked.source.model_copy(update={"ambiguity": 0.3}), asked.train)
    assert all(vague.arms[arm] == tuned.arms[arm] for arm in vague.arms)
    assert tuned.arms["clip_alpha_replay"].objective.replay == tuned.arms["rankclip"].objective
    strong, oracle, shuffled = (
        tuned.arms[arm] for arm in ("rankclip_strong", "rankclip_oracle", "rankclip_shuffled_tuned")
    )
    assert strong.overrides == oracle.overrides == shuffled.overrides
    weights = [[term.weight for term in arm.objective.terms] for arm in (strong, oracle, shuffled)]
    assert weights[0] == weights[1] == weights[2]


def test_use_makes_a_study_active_with_its_changes(run: Run) -> None:
    code, out, err = run("use", "shapes-smoke", "train.lr=2e-3", "model=shapes-vit", "study.seeds=[3, 4]")
    study = config.load()
    assert (code, err) == (0, "")
    assert "shapes-smoke is active: 3 arms x 2 seeds" in out
    assert (study.train.lr, study.model.name, study.study.seeds) == (0.002, "shapes-vit", (3, 4))
    assert run("check")[0] == 0


def test_use_says_how_often_the_pairs_of_a_published_list_are_seen(run: Run) -> None:
    assert "RN50, 29.9 epochs of the 345,000 pairs expected." in run("use", "cc3m-500k-rn50", LIST)[1]
    more = "source.expected.pairs=460000"
    assert "22.4 epochs of the 460,000 pairs" in run("use", "cc3m-500k-rn50", LIST, more)[1]


def test_use_gives_an_arm_another_objective_and_a_replay_by_name(run: Run) -> None:
    code, _, err = run(
        "use",
        "shapes-smoke",
        "arms.rankclip.objective=siglip",
        "arms.mine.objective=cyclip",
        "arms.mine.objective.replay=rankclip_i",
    )
    arms = config.load().arms
    assert (code, err) == (0, "")
    assert arms["rankclip"].objective == objective("siglip")
    assert (arms["mine"].objective.name, arms["mine"].objective.replay) == ("cyclip", objective("rankclip_i"))


WRONG = {
    "an unknown study": ("nope", [], ["study 'nope'", "shapes-controls, shapes-smoke, shapes-tuned"]),
    "an unknown model of conf": ("shapes-smoke", ["model=nope"], ["model 'nope'", "shapes-rn, shapes-vit"]),
    "an unknown model": (
        "shapes-smoke",
        ["model.name=nope"],
        ["model.name = 'nope'", "'shapes-rn'", "'RN50'"],
    ),
    "an unknown objective": (
        "shapes-smoke",
        ["arms.clip.objective=nope"],
        ["objective 'nope'", "clip, clip_alpha_replay", "rankclip, rankclip_c", "soft_clip"],
    ),
    "an objective without an arm": ("shapes-smoke", ["objective=clip"], ["arms.NAME.objective=clip"]),
    "an unknown term": (
        "shapes-smoke",
        ["arms.clip.objective.terms=[{name: nope, weight: {name: constant, value: 1}}]"],
        [
            "arms.clip.objective.terms.0.name = 'nope'",
            "'contrastive', 'sigmoid', 'cyclic_in', 'cyclic_cross', 'rank_cross', 'rank_in', 'soft_target', "
            "'multi_positive'",
        ],
    ),
    "an unknown schedule": (
        "shapes-smoke",
        ["arms.clip.objective.terms=[{name: contrastive, weight: {name: cosine}}]"],
        ["arms.clip.objective.terms.0.weight.name = 'cosine'", "'constant', 'linear', 'released'"],
    ),
    "a number for a schedule": (
        "shapes-smoke",
        ["arms.clip.objective.terms=[{name: contrastive, weight: 0.5}]"],
        ["arms.clip.objective.terms.0.weight = 0.5", "must be a section", "`name`"],
    ),
    "an unknown teacher": (
        "shapes-smoke",
        [ranks("teacher: me")],
        ["arms.rankclip.objective.terms.0.teacher = 'me'", "'oracle', 'consensus' or 'soft'"],
    ),
    "a misspelt option of a term": (
        "shapes-smoke",
        [ranks("decai: log")],
        ["arms.rankclip.objective.terms.0.decai", "did you mean decay?"],
    ),
    "a temperature of no kind": (
        "shapes-smoke",
        [ranks("temperature: hot")],
        ["arms.rankclip.objective.terms.0.temperature = 'hot': must be 'shared' or 'detached', or a number"],
    ),
    "a temperature below zero": (
        "shapes-smoke",
        [ranks("temperature: -2")],
        ["terms.0.temperature = -2: must be 'shared' or 'detached', or greater than 0"],
    ),
    "a temperature that is true": (
        "shapes-smoke",
        [ranks("temperature: true")],
        ["terms.0.temperature = True: must be 'shared' or 'detached', or a number"],
    ),
    "half a place": (
        "shapes-smoke",
        [ranks("top_k: 2.5")],
        ["arms.rankclip.objective.terms.0.top_k = 2.5: must be an integer"],
    ),
    "an option of another surrogate": (
        "shapes-smoke",
        [ranks("surrogate: listnet, decay: log")],
        ["objective.terms.0: surrogate = 'listnet' has no positions for decay = 'log'; use surrogate"],
    ),
    "an option that the released numerics have not": (
        "shapes-smoke",
        [ranks("numerics: released, diagonal: false")],
        ["terms.0: numerics = 'released' has no diagonal = False; use numerics = 'exact'"],
    ),
    "more places than pairs": (
        "shapes-smoke",
        [ranks("top_k: 128, diagonal: false")],
        ["arms.rankclip.objective", "needs 129 pairs a batch", "train.batch_size is 128"],
    ),
    "all of a label smoothed": (
        "shapes-smoke",
        [
            "arms.mine.objective=clip_smoothed",
            "arms.mine.objective.terms=[{name: contrastive, label_smoothing: 1, "
            "weight: {name: constant, value: 1}}]",
        ],
        ["arms.mine.objective.terms.0.label_smoothing = 1: must be less than 1"],
    ),
    "a smoothed clip": (
        "shapes-smoke",
        ["arms.mine.objective=clip_smoothed", "arms.mine.objective.name=clip"],
        ["arms.mine.objective", "with label_smoothing 0.1 it needs a name"],
    ),
    "a clip with a replay": (
        "shapes-smoke",
        ["arms.mine.objective=clip", "arms.mine.objective.replay=rankclip"],
        ["arms.mine.objective", "with a replay it needs a name"],
    ),
    "a replay of itself": (
        "shapes-smoke",
        ["arms.mine.objective=clip_alpha_replay", "arms.mine.objective.replay=clip"],
        ["arms.mine.objective", "replays its own terms"],
    ),
    "a replay of a replay": (
        "shapes-smoke",
        ["arms.mine.objective=siglip", "arms.mine.objective.replay=clip_alpha_replay"],
        ["arms.mine.objective", "'clip_alpha_replay' is itself a replay"],
    ),
    "a misspelt key of a replay": (
        "shapes-smoke",
        ["arms.mine.objective=clip_alpha_replay", "arms.mine.objective.replay.nam=clip"],
        ["unknown key arms.mine.objective.replay.nam", "did you mean name?", "name, terms, replay"],
    ),
    "a wrong weight in a replay": (
        "shapes-smoke",
        [
            "arms.mine.objective=clip_alpha_replay",
            "arms.mine.objective.replay.terms=[{name: rank_in, weight: {name: released, epochs: 0}}]",
        ],
        ["arms.mine.objective.replay.terms.0.weight.epochs = 0: must be greater than 0"],
    ),
    "a replay of an arm with another recipe": (
        "shapes-smoke",
        ["arms.mine.objective=clip_alpha_replay", "arms.rankclip.overrides.train.lr=2e-3"],
        [
            "arms.mine.objective.replay is called 'rankclip'",
            "not the run of arms.rankclip",
            "in train.lr; give",
        ],
    ),
    "a replay of no objective": (
        "shapes-smoke",
        ["arms.mine.objective=clip_alpha_replay", "arms.mine.objective.replay=rankclipp"],
        ["objective 'rankclipp' is unknown"],
    ),
    "an oracle where nothing is known": (
        "shapes-smoke",
        [*OWN_LIST, "arms.mine.objective=rankclip_oracle"],
        ["arms.mine.objective", "teacher oracle", "which source cc3m does not know"],
    ),
    "an unknown source": ("shapes-smoke", ["source.name=nope"], ["source.name = 'nope'", "'shapes', 'cc3m'"]),
    "a misspelt key": (
        "shapes-smoke",
        ["train.batchsize=8"],
        ["train.batchsize = 8", "did you mean batch_size?"],
    ),
    "a misspelt section": ("shapes-smoke", ["trian.lr=1"], ["unknown key trian", "did you mean train?"]),
    "a misspelt key of an objective": (
        "shapes-smoke",
        ["arms.clip.objective.terms=[{name: contrastive, weight: {name: constant, valu: 1}}]"],
        ["arms.clip.objective.terms.0.weight.valu", "value"],
    ),
    "a key below a value": ("shapes-smoke", ["train.lr.peak=1"], ["train.lr.peak", "lr is a value"]),
    "a key below a list": ("shapes-smoke", ["study.seeds.0=1"], ["study.seeds.0", "seeds is a list"]),
    "a negative rate": ("shapes-smoke", ["train.lr=-1"], ["train.lr = -1", "greater than 0"]),
    "an infinite rate": ("shapes-smoke", ["train.lr=.inf"], ["train.lr = inf", "finite"]),
    "text for a number": ("shapes-smoke", ["train.lr=fast"], ["train.lr = 'fast'", "must be a number"]),
    "half a step": ("shapes-smoke", ["train.steps=1.5"], ["train.steps = 1.5", "must be an integer"]),
    "a number for a section": ("shapes-smoke", ["curate=3"], ["curate = 3", "min_side"]),
    "an unknown choice": (
        "shapes-smoke",
        ["train.captions=row"],
        ["train.captions = 'row' is no slot", "raw, detail, objects, background, style"],
    ),
    "a name that is no folder's": (
        "shapes-smoke",
        ["study.name=../x"],
        ["study.name = '../x'", "must match"],
    ),
    "the same seed twice": ("shapes-smoke", ["study.seeds=[0, 0]"], ["seeds [0, 0]"]),
    "no arm": ("shapes-smoke", ["arms={}"], ["arms = {}", "1 or more"]),
    "an arm that adds no term to CLIP": (
        "shapes-smoke",
        [f"arms.rankclip.objective.terms={BARE}"],
        ["arms.rankclip.objective", "'rankclip' adds no term to CLIP"],
    ),
    "the same run twice": (
        "shapes-smoke",
        [f"arms.again={{{CLIP}}}"],
        ["arms.again and arms.clip are the same run"],
    ),
    "the same run under an override that changes nothing": (
        "shapes-smoke",
        [f"arms.again={{{CLIP}, overrides: {{train.lr: 0.001}}}}"],
        ["arms.again and arms.clip are the same run"],
    ),
    "an override of no key": (
        "shapes-smoke",
        ["arms.clip.overrides.train.lrr=1"],
        ["arms.clip.overrides", "train.lrr = 1", "did you mean lr?"],
    ),
    "an override out of range": (
        "shapes-smoke",
        ["arms.clip.overrides.train.lr=0"],
        ["arms.clip.overrides", "train.lr = 0", "greater than 0"],
    ),
    "an override of another section": (
        "shapes-smoke",
        ["arms.clip.overrides={curate.min_side: 3}"],
        ["arms.clip.overrides", "curate", "model, train"],
    ),
    "a validation on what is not measured": (
        "shapes-smoke",
        ["train.validation=[shapes]"],
        ["train.validation names shapes", "composition"],
    ),
    "a validation on what has no classes": (
        "shapes-smoke",
        ["train.validation=[shape, retrieval]"],
        ["train.validation names retrieval", "no classification benchmark", "composition"],
    ),
    "a validation of one arm on what is not measured": (
        "shapes-smoke",
        ["arms.clip.overrides={train.validation: [shapes]}"],
        ["arms.clip.overrides", "train.validation names shapes", "composition"],
    ),
    "an override below a value": (
        "shapes-smoke",
        ["arms.clip.overrides.train.lr.peak=1"],
        ["study shapes-smoke: arms.clip.overrides: train.lr.peak", "lr is a value"],
    ),
    "a role of no arm": (
        "shapes-smoke",
        ["report.control=shuffled"],
        ["report.control = 'shuffled' is no arm", "clip, rankclip, rankclip_shuffled"],
    ),
    "an arm in two roles": (
        "shapes-smoke",
        ["report.baseline=rankclip"],
        ["baseline, treatment and control must differ"],
    ),
    "a headline of no metric": (
        "shapes-smoke",
        ["report.headline_metric=top7"],
        ["report.headline_metric = 'top7'", "'top1'", "'mean_per_class'"],
    ),
    "a headline of no protocol": (
        "shapes-smoke",
        ["report.headline_protocol=linear_probe"],
        ["report.headline_protocol = 'linear_probe'", "'zero_shot'"],
    ),
    "a list that is not there": (
        "shapes-smoke",
        ["data=list", "source.path=nowhere.tsv"],
        ["source.path nowhere.tsv is not a file"],
    ),
    "a list without a path": ("shapes-smoke", ["data=list"], ["source.path is missing"]),
    "a digest that is none": (
        "shapes-smoke",
        ["data=list", "source.path=nowhere.tsv", "source.sha256=abc"],
        ["source.sha256 = 'abc'"],
    ),
    "the same benchmark twice": (
        "shapes-smoke",
        ["evaluation.benchmarks=[{name: shape, images: 20}, {name: shape, images: 40}]"],
        ["benchmark shape is listed more than once"],
    ),
    "a change that is none": ("shapes-smoke", ["train.lr"], ["'train.lr' is not key=value"]),
    "a date that is none": ("shapes-smoke", ["study.name=2026-13-45"], ["2026-13-45' is not YAML; quote it"]),
    "a change with a key twice": (
        "shapes-smoke",
        ["arms.clip.overrides={train.lr: 1e-3, train.lr: 2e-3}"],
        ["the value of 'arms.clip.overrides=", "train.lr stands twice; keep one"],
    ),
    "a change that is not YAML": ("shapes-smoke", ["study.seeds=[0"], ["'study.seeds=[0' is not YAML"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_study_is_refused_in_one_line_and_changes_nothing(case: str, run: Run) -> None:
    study, changes, told = WRONG[case]
    code, out, err = run("use", study, *changes)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("rankclip: error: ")
    assert [words for words in told if words not in err] == []
    assert not Path("params.yaml").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, ["params.yaml is missing here", "rankclip use STUDY"]),
        ("", ["params.yaml holds no sections", "rankclip use STUDY"]),
        ("study: [1\nsource: 2\n", ["params.yaml, line 2 is not YAML", "rankclip use STUDY"]),
        ("study: \x07", ["params.yaml cannot be read", "rankclip use STUDY"]),
        ("study: 3", ["params.yaml: study = 3", "name, question, claims, seeds"]),
        ("!!python/object/apply:os.getcwd []", ["params.yaml, line 1 is not YAML"]),
    ],
    ids=["missing", "empty", "not YAML", "binary", "no section", "code"],
)
def test_a_params_file_that_is_no_study_is_refused_in_one_line(
    text: str | None, told: list[str], run: Run
) -> None:
    if text is not None:
        Path("params.yaml").write_text(text)
    code, out, err = run("check")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert [words for words in told if words not in err] == []


def test_the_installed_command_and_a_stage_refuse_alike(tmp_path: Path) -> None:
    for command in (["rankclip", "check"], ["stages.curate", "--data", "data", "--work", "work"]):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}", "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith("rankclip: error: params.yaml is missing here")


@pytest.mark.parametrize("command", ["pretrain", "evaluate"])
def test_a_command_that_was_not_told_what_to_do_says_how(command: str, run: Run) -> None:
    code, _, err = run(command)
    assert (code, err.count("\n")) == (2, 1)
    assert f"`rankclip {command} --pending`" in err


@pytest.mark.parametrize("what", get_args(catalogue.What))
def test_a_list_says_one_short_line_on_each(what: str, run: Run) -> None:
    run("use", "shapes-smoke")
    code, out, _ = run("list", what)
    if what == "runs":
        assert [line.split() for line in out.splitlines()][2:4] == [["rankclip_shuffled", "0"], ["clip", "1"]]
        return
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert code == 0
    assert [line for line in lines if len(line) < 2] == []
    assert len({line for _, line in lines}) == len(lines) > 1
    assert max(map(len, out.splitlines())) <= 110
    known = {"objectives": "rankclip", "models": "shapes-rn", "studies": "shapes", "benchmarks": "digits"}
    known |= {
        "data": "cc12m",
        "captions": "dreamlip-cc3m",
        "recipes": "rankclip-released",
        "sweeps": "rank-weights",
        "arms": "cyclip_equal_budgets_shapes",
    }
    assert known[what] in dict(lines)


@pytest.mark.parametrize(
    ("name", "key", "command"),
    [
        ("sweep/temperature", "  train.max_alpha", ["sweep", "temperature", "--dry-run"]),
        ("objective/rankclip", "    weight", ["use", "shapes-smoke"]),
        ("arm/found", "objective", ["use", "shapes-smoke", "arms.mine=found"]),
    ],
)
def test_a_key_that_stands_twice_in_a_file_of_conf_is_named_with_its_line(
    name: str, key: str, command: list[str], run: Run
) -> None:
    run("use", "shapes-smoke")
    Path("conf").unlink()
    shutil.copytree(CONF, "conf")
    file = Path("conf", f"{name}.yaml")
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text("objective: {name: clip}\n")
    lines = file.read_text().splitlines()
    number = next(at for at, line in enumerate(lines, 1) if line.startswith(f"{key}:"))
    file.write_text("\n".join([*lines[:number], *lines[number - 1 :]]))
    code, out, err = run(*command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"rankclip: error: {file}, line {number + 1} ")
    assert key.strip() in err


def test_outside_the_repository_a_study_is_not_looked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = run("use", "shapes")
    assert (code, err.count("\n")) == (2, 1)
    assert "run this in the repository" in err
