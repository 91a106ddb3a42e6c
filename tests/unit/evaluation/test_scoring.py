"""Scoring a run as a task of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rankclip import files
from rankclip.data.benchmarks import benchmark_folder, write
from rankclip.errors import DataError, RunError
from rankclip.evaluation import results, score_request, scoring
from rankclip.evaluation.reference import NoiseEncoder
from rankclip.evaluation.score_request import ScoreRequest
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.models import trained
from tests.unit.evaluation.known import Pretended

SPEC = EvaluationSpec.model_validate({"benchmarks": [{"name": "digits", "images": 20, "side": 16}]})

Make = Callable[..., ScoreRequest]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Checkpoints load as noise; the run folders that were loaded."""
    loaded: list[Path] = []

    def load_encoder(run: Path, device: str, precision: str) -> Pretended:
        loaded.append(run)
        return Pretended(dimensions=8)

    monkeypatch.setattr(trained, "load_encoder", load_encoder)
    return loaded


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a run and the benchmarks; gives the request to score it."""
    write.run(SPEC.benchmarks, SPEC, tmp_path / "benchmarks")

    def request(weights: bytes = b"weights", seed: int = 0, **record: object) -> ScoreRequest:
        run = tmp_path / "runs" / f"seed-{seed}"
        run.mkdir(parents=True, exist_ok=True)
        (run / "model.safetensors").write_bytes(weights)
        known = {"arm": "clip", "seed": seed, "steps": 40, "config": {"lr": 0.001}}
        files.write_json(run / "record.json", known | record)
        return score_request.request(
            run, SPEC, tmp_path / "benchmarks", tmp_path / "work", tmp_path / "public"
        )

    return request


def test_a_request_is_plain_json_with_absolute_paths(make: Make) -> None:
    asked = make()
    sent = json.loads(json.dumps(asked.dump()))
    assert ScoreRequest.model_validate(sent) == asked
    assert sent["key"] == "clip/seed-0"
    assert all(Path(sent[name]).is_absolute() for name in ("run", "benchmarks", "work"))


def test_scoring_writes_both_splits_and_says_where(make: Make, loads: list[Path]) -> None:
    asked = make()
    said = json.loads(json.dumps(scoring.score_run(asked.dump())))
    assert (said["arm"], said["seed"], said["folder"]) == ("clip", 0, str(asked.folder))
    rows = files.read_table(asked.folder / results.RESULTS).to_pylist()
    assert {(row["benchmark"], row["split"]) for row in rows} == {("digits", "val"), ("digits", "test")}
    assert {row["checkpoint_digest"] for row in rows} == {files.sha256(asked.run / "model.safetensors")}
    assert asked.finished


def test_a_finished_run_is_not_scored_again(make: Make, loads: list[Path]) -> None:
    asked = make()
    for _ in range(2):
        scoring.score_run(asked.dump())
    assert loads == [asked.run]


def test_a_run_whose_scoring_was_cut_short_is_scored_again(make: Make, loads: list[Path]) -> None:
    asked = make()
    scoring.score_run(asked.dump())
    (asked.folder / "record.json").unlink()
    scoring.score_run(asked.dump())
    assert len(loads) == 2
    assert asked.finished


def test_what_changes_a_score_changes_where_it_lies(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make().folder
    assert make().folder == first
    assert make(weights=b"others").folder != first
    assert make(config={"lr": 0.1}).folder != first
    assert make(arm="rankclip").folder != first
    assert make(seed=1).folder != first
    other = EvaluationSpec.model_validate({"benchmarks": [{"name": "digits", "images": 30, "side": 16}]})
    assert make().model_copy(update={"evaluation": other}).folder != first
    assert make().model_copy(update={"benchmarks_digest": "others"}).folder != first
    monkeypatch.setattr(score_request, "CODE", score_request.CODE[:-1])
    assert make().folder != first


def test_the_error_of_a_checkpoint_of_another_model_reaches_the_caller_as_one_line(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_encoder(run: Path, device: str, precision: str) -> NoiseEncoder:
        raise DataError(f"{run / 'model.safetensors'} is a checkpoint of another model")

    monkeypatch.setattr(trained, "load_encoder", load_encoder)
    asked = make()
    with pytest.raises(DataError, match="is a checkpoint of another model") as raised:
        scoring.score_run(asked.dump())
    assert "\n" not in str(raised.value)
    assert not asked.finished


def test_an_unfinished_run_is_refused(make: Make, tmp_path: Path) -> None:
    asked = make()
    (asked.run / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors is missing; train it again"):
        score_request.request(asked.run, SPEC, asked.benchmarks, asked.work, asked.public)
    (asked.run / "record.json").unlink()
    with pytest.raises(DataError, match=r"record\.json is missing; train it again"):
        score_request.request(asked.run, SPEC, asked.benchmarks, asked.work, asked.public)


def test_a_record_that_is_not_of_a_run_is_refused(make: Make) -> None:
    asked = make()
    files.write_json(asked.run / "record.json", {"arm": "clip"})
    with pytest.raises(DataError, match="is not the record of a run"):
        score_request.request(asked.run, SPEC, asked.benchmarks, asked.work, asked.public)


def test_benchmarks_that_were_not_made_are_named(make: Make) -> None:
    asked = make()
    more = EvaluationSpec.model_validate(
        {"benchmarks": [{"name": "digits", "images": 20, "side": 16}, {"name": "shape", "images": 12}]}
    )
    with pytest.raises(DataError, match=r"manifest\.json lacks shape; make the benchmarks"):
        score_request.request(asked.run, more, asked.benchmarks, asked.work, asked.public)


def test_a_benchmark_that_its_manifest_does_not_list_is_not_scored(make: Make, loads: list[Path]) -> None:
    asked = make()
    manifest = asked.benchmarks / "manifest.json"
    listed = files.read_json(manifest)
    listed["benchmarks"]["digits"]["test"]["digest"] = "another"
    files.write_json(manifest, listed)
    again = score_request.request(asked.run, SPEC, asked.benchmarks, asked.work, asked.public)
    with pytest.raises(DataError, match=r"wds_digits/test .* is not what the manifest lists \(another\)"):
        scoring.score_run(again.dump())
    assert not again.finished


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_what_changed_since_it_was_asked_for_is_not_scored_under_its_old_digest(
    make: Make, loads: list[Path], name: str
) -> None:
    asked = make()
    folder = asked.run if name == "model.safetensors" else asked.benchmarks
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(DataError, match=rf"{name} was changed while clip/seed-0 waited to be scored"):
        scoring.score_run(asked.dump())
    assert loads == []
    assert not asked.finished


def listed(asked: ScoreRequest, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the manifest."""
    manifest = asked.benchmarks / "manifest.json"
    content = files.read_json(manifest)
    change(content)
    files.write_json(manifest, content)


def test_a_missing_set_is_left_out_and_stands_in_the_record(make: Make, loads: list[Path]) -> None:
    asked = make()
    more = {"benchmarks": [*SPEC.dump()["benchmarks"], {"name": "imagenet1k"}]}
    listed(asked, lambda content: content["missing"].update(imagenet1k="fetch it"))
    wanted = score_request.request(
        asked.run, EvaluationSpec.model_validate(more), asked.benchmarks, asked.work, asked.public
    )
    scoring.score_run(wanted.dump())
    record = files.read_json(wanted.folder / "record.json")
    assert record["config"]["missing"] == {"imagenet1k": "fetch it"}
    assert record["counts"]["missing"] == 1
    rows = files.read_table(wanted.folder / results.RESULTS).to_pylist()
    assert {row["benchmark"] for row in rows} == {"digits"}


def test_a_public_set_is_read_where_it_lies_and_on_test_alone(
    make: Make, loads: list[Path], tmp_path: Path
) -> None:
    asked = make()
    (tmp_path / "public").mkdir()
    (asked.benchmarks / "wds_digits").rename(tmp_path / "public" / "wds_digits")

    def published(content: dict[str, Any]) -> None:
        content["benchmarks"]["digits"]["public"] = True
        del content["benchmarks"]["digits"]["val"]

    listed(asked, published)
    wanted = score_request.request(asked.run, SPEC, asked.benchmarks, asked.work, asked.public)
    scoring.score_run(wanted.dump())
    rows = files.read_table(wanted.folder / results.RESULTS).to_pylist()
    assert {row["split"] for row in rows} == {"test"}


def test_what_a_probe_learns_on_must_be_listed_too(make: Make, loads: list[Path]) -> None:
    asked = make()
    folder = asked.benchmarks / "wds_digits"
    samples = benchmark_folder.read_split(folder, "val").samples
    benchmark_folder.write_split(folder, "train", samples)
    with pytest.raises(DataError, match=r"wds_digits/train .* is not what the manifest lists \(nothing\)"):
        scoring.score_run(asked.dump())
    about = benchmark_folder.describe(folder, "train")
    entry = {"images": about.images, "captions": 0, "digest": about.digest}
    listed(asked, lambda content: content["benchmarks"]["digits"].update(train=entry))
    again = score_request.request(asked.run, SPEC, asked.benchmarks, asked.work, asked.public)
    scoring.score_run(again.dump())
    protocols = files.read_table(again.folder / results.RESULTS).column("protocol").to_pylist()
    assert {"zero_shot", "linear_probe_cyclip", "linear_probe_logistic"} <= set(protocols)


def test_what_was_embedded_is_read_by_the_scores_of_another_evaluation(
    make: Make, loads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = make()
    scoring.score_run(asked.dump())
    monkeypatch.setattr(Pretended, "image_features", None)
    again = asked.model_copy(update={"seed": 5})
    scoring.score_run(again.dump())
    one, other = (
        files.read_table(each.folder / results.RESULTS).column("value").to_pylist() for each in (asked, again)
    )
    assert one == other


def test_where_the_machine_works_is_no_part_of_what_is_measured(make: Make) -> None:
    asked = make()
    assert asked.model_copy(update={"device": "cpu"}).folder == asked.folder
    assert asked.model_copy(update={"public": Path("/elsewhere")}).folder == asked.folder


def test_a_worker_with_other_code_than_the_driver_refuses_to_score(make: Make, loads: list[Path]) -> None:
    asked = make().model_copy(update={"code": "other"})
    with pytest.raises(RunError, match=r"is not the driver's \(other\)"):
        scoring.score_run(asked.dump())


def test_a_score_is_of_the_step_whose_weights_were_kept(make: Make, loads: list[Path]) -> None:
    asked = make(weights_step=30)
    assert asked.step == 30
    scoring.score_run(asked.dump())
    rows = files.read_table(asked.folder / results.RESULTS).to_pylist()
    assert {row["step"] for row in rows} == {30}


def test_a_study_is_scored_in_float32_wherever_its_workers_are(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[tuple[str, str]] = []

    def load_encoder(run: Path, device: str, precision: str) -> NoiseEncoder:
        asked_for.append((device, precision))
        raise DataError("enough")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(trained, "load_encoder", load_encoder)
    with pytest.raises(DataError, match="enough"):
        scoring.score_run(make().dump())
    assert asked_for == [("cuda", "fp32")]
