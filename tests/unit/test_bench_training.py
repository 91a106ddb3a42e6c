"""The measurements of training compare like with like, on a few pairs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import accelerated, captioned, trainers, training
from bench.trainers import Job
from rankclip.models.open_clip import tokenize
from rankclip.models.spec import ModelSpec
from tests.one_thread import one_thread

__all__ = ["one_thread"]

VIT = ModelSpec(name="shapes-vit")
STEPS, BATCH = 3, 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioned.write(tmp_path_factory.mktemp("captioned"), 2 * BATCH, captioned.CC)


def lengths(words: tuple[int, int]) -> torch.Tensor:
    """Tokens of the captions of 200 pictures."""
    tokens = tokenize(VIT, [captioned.caption(k, words) for k in range(200)])
    return tokens.argmax(dim=1) + 1


def test_captions_are_as_long_as_they_are_said_to_be() -> None:
    assert (lengths(captioned.CC).min(), lengths(captioned.CC).max()) == (7, 27)
    assert set(lengths(captioned.LONG).tolist()) == {77}
    assert set((accelerated.captions(500).argmax(dim=1) + 1).tolist()) == set(range(7, 34))


@pytest.mark.filterwarnings("ignore")  # open_clip leaves files open
@pytest.mark.parametrize("trainer", ["ours", "open_clip"])
def test_a_trainer_takes_the_steps_that_it_is_asked_for(
    data: Path, trainer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("open_clip_train.main.setup_logging", lambda *unused: None)
    job = Job(str(data), trainer, batch_size=BATCH, steps=STEPS, threads=1, loaders=0)
    found = trainers.run(job)
    gc.collect()
    assert len(found.stamps) == STEPS
    assert found.stamps == sorted(found.stamps)
    assert found.peak_mib > 100


def test_speed_is_that_of_the_steps_that_count() -> None:
    stamps = [0.0, 50.0, 51.0, 52.0, 54.0]
    assert trainers.pairs_per_s(stamps, 8, warm=1) == 3 * 8 / 4.0


def test_a_run_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"Job\(.*failed \(1\)"):
        trainers.in_process(Job(str(tmp_path)))


@pytest.mark.parametrize(("trainer", "arm"), [("open_clip", "clip"), ("ours", "clip"), ("ours", "rankclip")])
def test_a_step_of_the_gpu_measurement_runs(trainer: str, arm: str) -> None:
    case = accelerated.Case(trainer, "shapes-vit", BATCH, arm=arm, device="cpu", warm=1, steps=1)
    found = accelerated.run(case)
    assert found.samples_per_s > 0
    assert found.tflops > 0
    assert found.peak_mib is None


def test_both_trainers_of_the_gpu_measurement_begin_with_the_same_loss() -> None:
    case = accelerated.Case("ours", "shapes-vit", BATCH, device="cpu")
    mine, theirs = (kind(case, torch.device("cpu")) for kind in (accelerated.Ours, accelerated.Theirs))
    own = mine.model(mine.pixels, mine.tokens)
    other = theirs.trained(*theirs.batch)
    for ours, name in zip(own, ("image_features", "text_features", "logit_scale"), strict=True):
        torch.testing.assert_close(ours, other[name], rtol=1e-4, atol=1e-5)


def test_a_ratio_is_that_of_medians_with_the_least_and_the_most_of_rounds() -> None:
    found = {"rounds": {"ours": [20.0, 30.0], "open_clip": [10.0, 20.0]}}
    ratio = training.as_fast(found, "ours", "open_clip")
    assert (ratio["of_medians"], ratio["least"], ratio["most"]) == (1.8, 1.5, 2.0)


def test_targets_say_what_is_asked_and_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"open_clip": 10.0, "ours": 15.0, "ours, rankclip": 12.0, "alone": 20.0, "ray": 16.0}
    rates |= {"ray, tracked": 12.8, "two workers": 30.0, "alone, two threads": 40.0}

    def measured(jobs: Mapping[str, Any], plan: training.Plan) -> dict[str, Any]:
        return {"jobs": dict(jobs), "rounds": {name: [rates[name]] * 2 for name in jobs}}

    monkeypatch.setattr(training, "measured", measured)
    told = training.beside(training.QUICK)["targets"] | training.started(training.QUICK)["targets"]
    assert [row["found"] for row in told.values()] == [1.5, 1.25, 1.25]
    assert [next(iter(row)) for row in told.values()] == ["at_least", "at_most", "at_most"]
