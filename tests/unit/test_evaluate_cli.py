"""`rankclip evaluate` as it is typed."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from rankclip import cli, evaluate_cli, files, lifecycle
from rankclip.data.benchmarks import places, write
from rankclip.errors import InputError, RunError
from rankclip.evaluation import asked_sets, checkpoint_scores, results, verification
from rankclip.evaluation.checkpoint_scores import CheckpointScores
from rankclip.evaluation.published import Published
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.evaluation.verification import Check, Plan
from rankclip.models.spec import ModelSpec
from tests.unit.exchange.trained import write_run

DIGITS = EvaluationSpec.model_validate({"benchmarks": [{"name": "digits", "images": 20, "side": 16}]})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, a set and no study."""
    monkeypatch.setattr(evaluate_cli, "ROOT", tmp_path)
    monkeypatch.setenv(places.PLACE, str(tmp_path / "public"))
    monkeypatch.setenv("RANKCLIP_DEVICE", "cpu")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens at the port for discarding
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    write.run(DIGITS.benchmarks, DIGITS, tmp_path / "sets")
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", ModelSpec(name="shapes-vit"))
    return tmp_path


def typed(*words: object) -> str:
    done = CliRunner().invoke(cli.app, ["evaluate", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_run_is_scored_shown_and_written(here: Path) -> None:
    said = typed(here / "run", "--benchmarks", here / "sets/wds_digits", "--out", here / "out")
    assert "digits  zero_shot  top1 " in said
    assert "fp32 on cpu; bicubic, shortest to 32, middle" in said
    ours = json.loads((here / "out/scores.json").read_text())
    (theirs,) = (here / "out/clip_benchmark").glob("*.json")
    (top1,) = (row["value"] for row in ours["results"] if row["metric"] == "top1")
    assert json.loads(theirs.read_text())["metrics"]["acc1"] == top1
    table = files.read_table(here / "out" / results.RESULTS).to_pylist()
    assert {row["precision"] for row in table} == {"fp32"}
    assert len(files.read_table(here / "out" / results.PREDICTIONS)) == 20


def test_a_second_call_reads_what_the_first_embedded(here: Path) -> None:
    words = (here / "run", "--benchmarks", here / "sets/wds_digits")
    typed(*words, "--json", here / "one.json")
    kept = {path: path.stat().st_mtime_ns for path in (here / "work/evaluate").rglob("*.safetensors")}
    typed(*words, "--json", here / "two.json")
    assert kept
    assert kept == {path: path.stat().st_mtime_ns for path in (here / "work/evaluate").rglob("*.safetensors")}
    assert (here / "one.json").read_bytes() == (here / "two.json").read_bytes()


def test_kept_rows_are_deleted_when_told_so_and_nothing_else(here: Path) -> None:
    typed(here / "run", "--benchmarks", f" {here / 'sets/wds_digits'} ,", "--json", here / "one.json")
    of_study = here / "work/shapes/scores"
    (of_study / "embeddings/0").mkdir(parents=True)
    (of_study / "embeddings/0/rows.safetensors").write_bytes(bytes(2_000_000))
    (of_study / "results.parquet").write_bytes(b"kept")
    assert typed("--forget").startswith(f"2 MB of rows deleted from {here / 'work'}; ")
    assert not list((here / "work").rglob("*.safetensors"))
    assert (of_study / "results.parquet").exists()
    typed(here / "run", "--benchmarks", here / "sets/wds_digits", "--json", here / "two.json")
    assert (here / "one.json").read_bytes() == (here / "two.json").read_bytes()
    with lifecycle.lock(of_study):
        (of_study / "embeddings").mkdir()
        with pytest.raises(RunError, match=f"{of_study} is in use by process"):
            typed("--forget")


def test_what_cannot_be_written_in_the_end_is_said_in_a_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, value: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(files, "write_json", refuse)
    with pytest.raises(
        RunError, match=r"one\.json cannot be written \(.*Permission denied.*; name another place"
    ):
        typed(here / "run", "--benchmarks", here / "sets/wds_digits", "--json", here / "one.json")


def test_an_interrupted_call_says_what_is_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*words: object, **options: object) -> CheckpointScores:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_scores, "score", interrupted)
    words = ["evaluate", str(here / "run"), "--benchmarks", str(here / "sets/wds_digits")]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 130
    assert done.output == "stopped; what is embedded is kept: the same command goes on from there\n"


def test_a_set_that_is_not_here_is_left_out_and_said(here: Path) -> None:
    wanted = f"{here / 'sets/wds_digits'},imagenet1k"
    said = typed(here / "run", "--benchmarks", wanted, "--json", here / "scores.json")
    assert "left out: imagenet1k is not in the folder of public sets" in said
    assert "pull imagenet1k" in json.loads((here / "scores.json").read_text())["missing"]["imagenet1k"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to score: `rankclip evaluate CHECKPOINT`"),
        (["run", "--pending"], "say what to score"),
        (["run"], r"params\.yaml is missing here, so no study says which; name --benchmarks"),
        (["run", "--benchmarks", "imagenet1k"], "no benchmark that was asked for is here"),
        (["run", "--benchmarks", "cars,carz"], "'carz' is unknown; did you mean cars"),
        (["run", "--benchmarks", " ,"], "--benchmarks ' ,' names none"),
        (["run", "--benchmarks", "SETS", "--shots", "1,x"], r"--shots '1,x': 'x' is no number"),
        (["run", "--benchmarks", "SETS", "--shots", "4"], "--shots 4: none of these sets has a train split"),
        (
            ["run", "--benchmarks", "SETS", "--model", "RN50"],
            "run says itself which model it is; leave out --model RN50",
        ),
        (
            ["run", "--benchmarks", "SETS", "--out", "FILE"],
            "--out .*params: .*params is no folder; name another",
        ),
        (["run", "--benchmarks", "SETS", "--json", "FILE/x"], "--json .*params: .*params is no folder"),
        (
            ["run", "--benchmarks", "SETS", "--json", "SETS"],
            r"wds_digits is a folder; give a file, .*scores\.json",
        ),
        (["--pending", "--out", "x"], "--out belongs to `rankclip evaluate CHECKPOINT`"),
        (["--forget", "--precision", "bf16"], "--precision belongs to `rankclip evaluate CHECKPOINT`"),
        (["--verify-published", "--shots", "1"], "--shots belongs to"),
        (
            ["RN50-quickgelu:cc12m", "--benchmarks", "SETS"],
            "the weights RN50-quickgelu:cc12m are not kept here, and",
        ),
        (["RN50:nosuch", "--benchmarks", "SETS"], "RN50 has no pretrained weights 'nosuch'"),
        (["nothing", "--benchmarks", "SETS"], "'nothing' is no folder and no file"),
        (["--verify-published"], "no set is here of which open_clip published numbers"),
    ],
)
def test_what_cannot_be_done_is_one_line(here: Path, words: list[str], said: str) -> None:
    (here / "params").write_text("a file")
    known = {"SETS": f"{here}/sets/wds_digits", "run": f"{here}/run", "FILE": f"{here}/params"}
    filled = [known.get(word, f"{here}/params/x" if word == "FILE/x" else word) for word in words]
    with pytest.raises(InputError, match=said) as raised:
        typed(*filled)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("error", "right"), [(0.0009, True), (0.0011, False)])
def test_published_numbers_must_come_out(
    here: Path, error: float, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(here / "run", "--benchmarks", here / "sets/wds_digits", "--json", here / "scores.json")
    ours = json.loads((here / "scores.json").read_text())["results"]
    (top1,) = (row["value"] for row in ours if row["metric"] == "top1")
    row = Published(
        *("CLIP", "shapes-vit", "CC12M", "mine", None, "digits", "top1", "zero_shot"),
        *(top1 + error, "a table", "", ""),
    )
    plan = Plan((Check("shapes-vit", "mine", (row,)),), {"cars": "cars is not here"})
    monkeypatch.setattr(verification, "plan", lambda missing: plan)
    scored = evaluate_cli._scored

    def run_for_tag(tag: str, *rest: Any, **how: Any) -> CheckpointScores:
        assert tag == "shapes-vit:mine"
        return scored(str(here / "run"), *rest, **how)

    monkeypatch.setattr(evaluate_cli, "_scored", run_for_tag)
    folders = {"digits": here / "sets/wds_digits"}
    monkeypatch.setattr(asked_sets, "find", lambda names, root: asked_sets.AskedSets(folders))
    if right:
        said = typed("--verify-published")
        assert "left out: cars is not here" in said
        assert "agrees" in said
    else:
        with pytest.raises(RunError, match=r"1 published numbers do not come out within 0\.1 points"):
            typed("--verify-published")
