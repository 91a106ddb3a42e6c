"""Whole runs: interrupted or not they end with the same weights and the same curve."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rankclip import distributed, files, lifecycle
from rankclip.errors import DataError, InputError, RunError
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import load_encoder
from rankclip.objectives.batch import Batch
from rankclip.training import checkpoint, loop, run
from rankclip.training.batch_norm import batch_norms
from rankclip.training.loop import Training, random_seed
from rankclip.training.meter import MEASURED
from rankclip.training.parallel import refuse
from rankclip.training.request import TrainRequest
from rankclip.training.step import shuffle_of
from tests.unit.training import tiny


def curve(request: TrainRequest) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what a clock says."""
    lines = (request.folder / run.METRICS).read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name not in MEASURED} for line in lines
    ]


def weights(request: TrainRequest) -> bytes:
    return (request.folder / run.WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainRequest:
    request = tiny.request(tiny_data, tmp_path_factory.mktemp("undisturbed"))
    run.train_run(request.dump())
    return request


def train_until(line: int, request: TrainRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends a run as a crash would, just after it wrote its `line`-th line and before what follows."""
    append, written = run._append, []

    def appending(path: Path, report: dict[str, Any]) -> int:
        written.append(append(path, report))
        if len(written) == line:
            raise KeyboardInterrupt
        return written[-1]

    with monkeypatch.context() as patch:
        patch.setattr(run, "_append", appending)
        with pytest.raises(KeyboardInterrupt):
            run.train_run(request.dump())


def test_the_curve_has_a_line_for_each_log_validation_and_checkpoint(undisturbed: TrainRequest) -> None:
    lines = curve(undisturbed)
    assert [line["step"] for line in lines] == [2, 3, 4, 5, 6, 7]
    assert [line["step"] for line in lines if "val/mean_top1" in line] == [5, 7]
    assert [line["epoch"] for line in lines] == [0, 1, 1, 2, 2, 3]
    expected = {"step", "epoch", "loss", "contrastive", "rank_cross", "rank_in", "logit_scale", "lr"}
    expected |= {"quarantined", "lr_logit_scale", "gradient_norm"}
    assert expected == {name for name in lines[0] if not name.startswith("val/")}
    assert all(math.isfinite(value) for line in lines for value in line.values())


def test_a_finished_run_can_be_evaluated_and_is_not_trained_again(
    undisturbed: TrainRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert undisturbed.finished
    assert not checkpoint.steps(undisturbed.folder)
    record = json.loads((undisturbed.folder / "record.json").read_text())
    assert (record["arm"], record["seed"], record["steps"]) == ("arm", 4, 7)
    assert record["counts"] == {
        "samples": tiny.IMAGES, "pairs_seen": 56, "dropped_each_epoch": 4, "quarantined": 0, "left_out": 0
    }  # fmt: skip
    assert load_encoder(undisturbed.folder).encode_texts(["a circle"]).shape == (1, 64)
    monkeypatch.setattr(run, "_train", None)
    checkpoint.path(undisturbed.folder, 7).touch()  # killed between the record and the end
    done = run.train_run(undisturbed.dump())
    assert done == {"key": "arm/seed-4", "folder": str(undisturbed.folder), "steps": 7}
    assert not checkpoint.steps(undisturbed.folder)


def test_training_changes_every_weight(undisturbed: TrainRequest) -> None:
    before = build(undisturbed.model, undisturbed.seed).clip.state_dict()
    after = load_file(undisturbed.folder / run.WEIGHTS)
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_two_trainings_with_one_seed_give_equal_tensors_and_another_seed_others(
    undisturbed: TrainRequest, tiny_data: Path, tmp_path: Path
) -> None:
    again, other = (tiny.request(tiny_data, tmp_path, seed=seed) for seed in (4, 5))
    run.train_run(again.dump())
    run.train_run(other.dump())
    assert weights(again) == weights(undisturbed)
    assert curve(again) == curve(undisturbed)
    assert weights(other) != weights(undisturbed)


@pytest.mark.parametrize(
    "line", [1, 2, 4, 6], ids=["no checkpoint", "at a save", "between saves", "at the end"]
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    undisturbed: TrainRequest, tiny_data: Path, tmp_path: Path, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tiny.request(tiny_data, tmp_path)
    train_until(line, request, monkeypatch)
    assert not request.finished
    saved = checkpoint.load(request.folder)
    assert (saved.step if saved else 0) == {1: 0, 2: 0, 4: 3, 6: 6}[line]
    torch.manual_seed(99)  # another process has other random numbers
    run.train_run(request.dump())
    assert weights(request) == weights(undisturbed)
    assert curve(request) == curve(undisturbed)


KILLED = """
import json, os, signal, sys
from rankclip.training import run

append, written = run._append, []

def appending(path, report):
    length = append(path, report)
    written.append(length)
    if len(written) == 4:
        with path.open("ab") as file:
            file.write(b'{"step": 5, "lo')  # as a crash within a write leaves it
        os.kill(os.getpid(), signal.SIGKILL)
    return length

run._append = appending
run.train_run(json.loads(sys.argv[1]))
"""


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    undisturbed: TrainRequest, tiny_data: Path, tmp_path: Path
) -> None:
    request = tiny.request(tiny_data, tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, json.dumps(request.dump())], check=False)
    assert done.returncode == -signal.SIGKILL
    run.train_run(request.dump())
    assert weights(request) == weights(undisturbed)
    assert curve(request) == curve(undisturbed)


def test_a_curve_that_lost_its_beginning_is_refused(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tiny.request(tiny_data, tmp_path)
    train_until(4, request, monkeypatch)
    (request.folder / run.METRICS).write_bytes(b"")
    with pytest.raises(DataError, match=r"metrics\.jsonl has 0 bytes, its checkpoint tells of \d+; delete"):
        run.train_run(request.dump())


def test_the_curve_is_on_the_disk_before_the_checkpoint_that_counts_on_it(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tiny.request(tiny_data, tmp_path)
    metrics, flushed, saved = request.folder / run.METRICS, [], []

    def fsync(descriptor: int) -> None:
        if metrics.exists() and os.fstat(descriptor).st_ino == metrics.stat().st_ino:
            flushed.append(metrics.stat().st_size)

    def save(folder: Path, state: checkpoint.Checkpoint, keep: int) -> None:
        saved.append(state.metrics_bytes)
        assert flushed[-1] == state.metrics_bytes

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(checkpoint, "save", save)
    run.train_run(request.dump())
    assert len(saved) == 3


def test_a_folder_in_which_another_process_trains_is_refused(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tiny.request(tiny_data, tmp_path)
    monkeypatch.setattr(lifecycle, "lock", functools.partial(lifecycle.lock, wait_s=0.1))
    with lifecycle.lock(request.folder), pytest.raises(RunError, match="is in use by process"):
        run.train_run(request.dump())
    assert not (request.folder / run.METRICS).exists()


def test_the_relabelling_follows_from_seed_and_step() -> None:
    first = shuffle_of(50, seed=3, step=7)
    assert torch.equal(first, shuffle_of(50, seed=3, step=7))
    assert torch.equal(first.sort().values, torch.arange(50))
    assert not torch.equal(first, shuffle_of(50, seed=3, step=8))
    assert not torch.equal(first, shuffle_of(50, seed=4, step=7))


def test_cpu_workers_cannot_share_batch_norm_and_are_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {
        name: build(ModelSpec.model_validate({"name": name}), 0) for name in ("shapes-rn", "shapes-vit")
    }
    for model in models.values():
        refuse(8, model)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(InputError, match=r"batch norm, which 2 CPU workers cannot share.*RANKCLIP_WORKERS=1"):
        refuse(8, models["shapes-rn"])
    refuse(8, models["shapes-vit"])
    with pytest.raises(InputError, match=r"train\.batch_size 7 does not split over 2 workers"):
        refuse(7, models["shapes-vit"])


def test_every_batch_norm_is_found_also_the_synchronised_one() -> None:
    norms = [nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.BatchNorm3d(3), nn.SyncBatchNorm(3)]
    model = nn.Sequential(nn.LayerNorm(3), nn.Sequential(*norms), nn.GroupNorm(1, 3))
    assert batch_norms(model) == norms


def test_a_batch_that_the_data_cannot_fill_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="20 samples do not fill a batch of 21"):
        Training(tiny.request(tiny_data, tmp_path, batch_size=21))


def test_the_digest_of_a_run_follows_its_science_and_not_its_name(tiny_data: Path, tmp_path: Path) -> None:
    request = tiny.request(tiny_data, tmp_path)
    renamed = request.model_copy(update={"arm": "other", "key": "other/seed-4", "work": Path("/elsewhere")})
    assert renamed.content_digest == request.content_digest
    changes: list[dict[str, Any]] = [{"seed": 5}, {"lr": 2e-3}, {"model": ModelSpec(name="shapes-vit")}]
    others = {tiny.request(tiny_data, tmp_path, **change).content_digest for change in changes}
    others.add(request.model_copy(update={"shards_digest": "1"}).content_digest)
    assert len(others | {request.content_digest}) == 5


def test_random_numbers_of_a_step_are_its_own_whatever_was_drawn_before(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, step = [], loop.train_step

    def drawing(*given: Any, **options: Any) -> Any:
        drawn.append(torch.rand(()).item())
        return step(*given, **options)

    monkeypatch.setattr(loop, "train_step", drawing)
    request = tiny.request(tiny_data, tmp_path)
    train_until(4, request, monkeypatch)
    torch.manual_seed(99)
    run.train_run(request.dump())
    before, after = drawn[:5], drawn[5:]  # five steps, two of them again, from the checkpoint of step 3
    assert after[:2] == before[3:]
    assert len(set(drawn)) == 7
    seeds = {random_seed(seed, step, rank) for seed in range(3) for step in range(50) for rank in range(4)}
    assert len(seeds) == 600


def test_a_worker_with_other_code_than_the_driver_refuses(tiny_data: Path, tmp_path: Path) -> None:
    asked = tiny.request(tiny_data, tmp_path).model_copy(update={"code": "other"})
    with pytest.raises(RunError, match=r"arm/seed-4: the code here .* is not the driver's \(other\)"):
        Training(asked)


def test_a_validation_set_that_is_not_the_listed_one_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    asked = tiny.request(tiny_data, tmp_path).model_copy(update={"validation": {"shape": "other"}})
    with pytest.raises(DataError, match=r"wds_shape .* is not what its manifest lists \(other\)"):
        Training(asked)


def test_a_checkpoint_of_another_model_is_one_clear_error(tiny_data: Path, tmp_path: Path) -> None:
    asked = tiny.request(tiny_data, tmp_path)
    other = Training(tiny.request(tiny_data, tmp_path / "other", model=ModelSpec(name="shapes-vit")))
    asked.folder.mkdir(parents=True)
    other.request.folder.mkdir(parents=True)
    other.step = 3
    other.save(0)
    checkpoint.path(other.request.folder, 3).rename(checkpoint.path(asked.folder, 3))
    with pytest.raises(DataError, match=r"is a checkpoint of another model than shapes-rn .*delete it"):
        Training(asked)


def test_diagnostics_join_the_curve_where_they_are_due_and_change_no_weight(
    undisturbed: TrainRequest, tiny_data: Path, tmp_path: Path
) -> None:
    request = tiny.request(tiny_data, tmp_path, diagnose_every=3)
    run.train_run(request.dump())
    lines = {line["step"]: line for line in curve(request)}
    diagnosed = [
        step for step, line in lines.items() if any(name.startswith("diagnostics/") for name in line)
    ]
    assert diagnosed == [3, 6, 7]
    for name in ("contrastive/value", "rank_in/gradient_norm", "rank_cross/cosine_contrastive"):
        assert math.isfinite(lines[6][f"diagnostics/{name}"])
    # its teacher is the shuffled one already, so it is its own control
    assert not any(name.endswith("cosine_shuffled") for line in lines.values() for name in line)
    assert lines[3]["diagnostics/rank_in/value"] == pytest.approx(lines[3]["rank_in"], rel=1e-5)
    assert all(math.isfinite(value) for line in lines.values() for value in line.values())
    assert weights(request) == weights(undisturbed)
    plain = [{k: v for k, v in line.items() if not k.startswith("diagnostics/")} for line in lines.values()]
    assert plain == curve(undisturbed)


def test_diagnostics_are_of_the_batch_that_the_step_is_made_of(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def watching(terms: dict[str, object], controls: dict[str, Any], batch: Batch) -> dict[str, float]:
        looked.append(
            (sorted(terms), {name: term.teacher for name, term in controls.items()}, len(batch.image))
        )
        return {"rank_in/value": 1.5}

    monkeypatch.setattr("rankclip.training.step.diagnose", watching)
    ranking = [{"name": "rank_cross", "teacher": "oracle"}, {"name": "rank_in", "teacher": "shuffled"}]
    objective = tiny.objective("mixed", [tiny.CONTRASTIVE, *ranking])
    request = tiny.request(
        tiny_data, tmp_path, objective=objective, diagnose_every=5, log_every=7, micro_batch=3
    )
    run.train_run(request.dump())
    assert looked == [(["contrastive", "rank_cross", "rank_in"], {"rank_cross": "shuffled"}, 8)] * 2
    assert {line["step"] for line in curve(request) if line.get("diagnostics/rank_in/value") == 1.5} == {5, 7}


def test_siglip_trains_its_bias_and_its_model_is_read_again(tiny_data: Path, tmp_path: Path) -> None:
    request = tiny.request(tiny_data, tmp_path, objective=tiny.objective("siglip", [{"name": "sigmoid"}]))
    run.train_run(request.dump())
    trained = load_file(request.folder / run.WEIGHTS)
    assert trained["logit_bias"].shape == ()
    assert trained["logit_bias"] != -10.0
    encoder = load_encoder(request.folder)
    assert encoder.encode_texts(["a circle", "a square"]).shape == (2, 64)
    assert torch.equal(encoder.model.clip.get_parameter("logit_bias"), trained["logit_bias"])


def test_an_interrupted_siglip_run_keeps_its_bias(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = tiny.objective("siglip", [{"name": "sigmoid"}])
    whole, broken = (tiny.request(tiny_data, tmp_path / name, objective=objective) for name in ("a", "b"))
    run.train_run(whole.dump())
    train_until(4, broken, monkeypatch)
    run.train_run(broken.dump())
    assert weights(broken) == weights(whole)


@pytest.mark.parametrize(
    ("model", "micro_batch", "said"),
    [
        ("shapes-rn", 3, "statistics of micro-batches of 3 pairs, not of all 8"),
        ("shapes-rn", 8, None),
        ("shapes-rn", None, None),
        ("shapes-vit", 3, None),
    ],
)
def test_the_record_says_where_batch_norm_saw_less_than_the_batch(
    tiny_data: Path, tmp_path: Path, model: str, micro_batch: int | None, said: str | None
) -> None:
    spec = ModelSpec.model_validate({"name": model})
    request = tiny.request(tiny_data, tmp_path, model=spec, micro_batch=micro_batch, steps=3)
    run.train_run(request.dump())
    assert files.read_json(request.folder / "record.json").get("batch_norm") == said


def test_pieces_change_nothing_for_a_model_without_batch_norm(tiny_data: Path, tmp_path: Path) -> None:
    vit = ModelSpec(name="shapes-vit")
    whole, pieces = (tiny.request(tiny_data, tmp_path, model=vit, micro_batch=size) for size in (None, 3))
    for request in (whole, pieces):
        run.train_run(request.dump())
    for one, other in zip(curve(whole), curve(pieces), strict=True):
        assert other == pytest.approx(one, rel=1e-4)
    assert whole.content_digest != pieces.content_digest
