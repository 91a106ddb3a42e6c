from __future__ import annotations

from pathlib import Path

import pytest

from rankclip.estimate import rehearsal
from rankclip.estimate.rehearsal import Parts, rehearse, rehearsed
from rankclip.training.request import TrainRequest
from tests.one_thread import one_thread
from tests.unit.training import tiny

__all__ = ["one_thread"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny"))


def test_a_rehearsal_times_every_part_and_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "ENOUGH_S", 0.0)
    monkeypatch.setattr(rehearsal, "WINDOW", 1)
    request = rehearsed(tiny.request(data, tmp_path, diagnose_every=3))
    found = Parts.model_validate(rehearse({"request": request.dump(), "in_memory": True}))
    assert found.begun < found.ready < found.ended
    assert min(found.step_s, found.decode_s, found.validate_s, found.save_s) > 0.0
    assert list(tmp_path.iterdir()) == []


def test_where_memory_will_be_short_no_sample_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "ENOUGH_S", 0.0)
    monkeypatch.setattr(rehearsal, "WINDOW", 1)
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", "0")
    monkeypatch.setenv("RANKCLIP_CACHE_BYTES", "1")
    found = rehearse({"request": rehearsed(tiny.request(data, tmp_path)).dump(), "in_memory": False})
    assert found["decode_s"] == 0.0


def test_every_weight_is_what_it_is_at_the_end_and_no_run_is_followed(data: Path, tmp_path: Path) -> None:
    follower = tiny.objective("follower", [tiny.CONTRASTIVE], tiny.OBJECTIVE)
    request = rehearsed(tiny.request(data, tmp_path, objective=follower))
    asked = TrainRequest.model_validate(request.dump())  # as a worker does
    assert asked.followed is None
    assert rehearsal.start() / asked.train.steps == 0.9
