"""An arm's runs: only what is missing is trained, and exactly what was asked is exported."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rankclip import estimate, files, launching, pretrain
from rankclip.config import Arm
from rankclip.errors import DataError, InputError, Preempted, RunError
from rankclip.launch.group import workers
from rankclip.models.spec import ModelSpec
from rankclip.training.request import NONFINITE, STOP, TrainRequest
from tests.unit.training import tiny

ARM = Arm(objective=tiny.OBJECTIVE, overrides={"train.lr": 0.5})


class Tracked:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.root = Path()
        self.lines: dict[str, int] = {}
        self.ends: dict[str, str] = {}
        self.keys: dict[str, set[str]] = {}

    def open_run(self, name: str, key: str, *unused: object, **unused_too: object) -> SimpleNamespace:
        self.keys.setdefault(name, set()).add(key)
        return SimpleNamespace(
            follow=lambda path: self.lines.update({name: len(path.read_bytes()) if path.exists() else 0}),
            finish=lambda status: self.ends.update({name: status}),
        )


class Launched:
    """Stands for Ray: writes the files of a run, or fails where told."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.waves: list[list[str]] = []
        self.failing: set[str] = set()
        self.options: dict[str, Any] = {}
        self.gpus = False
        self.stopped = False
        self.session = contextlib.nullcontext

    def has_gpus(self) -> bool:
        return self.gpus

    def map_tasks(self, function: object, items: list[dict[str, Any]], **options: Any) -> list[str]:
        self.options = options
        self.waves.append([item["key"] for item in items])
        if self.stopped:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert options["stopped"]()
            assert all((TrainRequest.model_validate(item).folder / STOP).exists() for item in items)
            return []
        for item in items:
            self.keys.append(item["key"])
            if item["key"] not in self.failing:
                request = TrainRequest.model_validate(item)
                for name in pretrain.EXPORTED:
                    (request.folder / name).write_text(f"{name} of {item['key']}")
                files.write_json(request.folder / "record.json", {"arm": request.arm})
        options["on_poll"]()
        return [item["key"] for item in items]

    def values(self, outcomes: list[str]) -> None:
        if self.stopped:
            raise Preempted("saved; run the same command again")
        failed = self.failing & set(outcomes)
        if failed:
            raise RunError(f"{failed} failed")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Launched:
    monkeypatch.delenv("RANKCLIP_WORKERS", raising=False)
    monkeypatch.delenv("RANKCLIP_RETRIES", raising=False)
    fake = Launched()
    monkeypatch.setattr(launching, "launch", fake)
    monkeypatch.setattr(estimate, "line", lambda request: f"{request.key} takes a while")
    return fake


@pytest.fixture
def data(tmp_path: Path) -> Path:
    files.write_json(tmp_path / "data" / "shards" / "manifest.json", {"samples": 3})
    listed = {"shape": {"val": {"digest": "first"}}}
    files.write_json(tmp_path / "data" / "benchmarks" / "manifest.json", {"benchmarks": listed})
    return tmp_path / "data"


def requests(data: Path, seeds: tuple[int, ...] = (0, 1), name: str = "ranked") -> list[TrainRequest]:
    return pretrain.requests(name, ARM, tiny.MODEL, tiny.TRAIN, seeds, data, data.parent / "work")


def test_each_seed_is_a_request_with_the_overrides_of_its_arm(data: Path) -> None:
    found = requests(data)
    assert [request.key for request in found] == ["ranked/seed-0", "ranked/seed-1"]
    assert {request.train.lr for request in found} == {0.5}
    assert len({request.folder for request in found}) == 2
    assert found[0].shards_digest == files.sha256(data / "shards" / "manifest.json")
    assert all(path.is_absolute() for path in (found[0].shards, found[0].benchmarks, found[0].work))


def test_without_shards_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json is missing; make the shards"):
        requests(tmp_path)


def test_what_is_finished_is_not_trained_again(data: Path, launched: Launched) -> None:
    tracked = Tracked()
    pretrain.train(requests(data, (0,)), tracked)
    pretrain.train(requests(data, (0, 1)), tracked)
    pretrain.train(requests(data, (0, 1)), tracked)
    assert launched.keys == ["ranked/seed-0", "ranked/seed-1"]
    assert tracked.ends == {"ranked_s0": "FINISHED", "ranked_s1": "FINISHED"}
    assert all(tracked.lines.values())


def test_mlflow_is_told_now_and_then_and_of_everything_in_the_end(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(pretrain.time, "monotonic", lambda: clock[0])
    tracked, asked = Tracked(), requests(data, (0,))
    curve = asked[0].folder / "metrics.jsonl"
    files.write_text(curve, "1\n")

    def add() -> None:
        curve.write_text(curve.read_text() + "2\n")

    with pretrain.following(asked, asked, tracked) as poll:
        poll()
        assert tracked.lines == {"ranked_s0": 2}
        add()
        poll()
        assert tracked.lines == {"ranked_s0": 2}
        clock[0] += pretrain.TRACK_EVERY_S
        poll()
        assert tracked.lines == {"ranked_s0": 4}
        add()
    assert tracked.lines == {"ranked_s0": 6}


def test_of_equal_runs_one_is_trained(data: Path, launched: Launched) -> None:
    pretrain.train([*requests(data, (0,)), *requests(data, (0,), name="twin")], Tracked())
    assert len(launched.keys) == 1


def test_a_failed_run_is_an_error_and_the_others_are_kept(data: Path, launched: Launched) -> None:
    tracked = Tracked()
    launched.failing = {"ranked/seed-0"}
    with pytest.raises(RunError, match="seed-0"):
        pretrain.train(requests(data), tracked)
    assert tracked.ends == {"ranked_s0": "FAILED", "ranked_s1": "FINISHED"}
    launched.failing, launched.keys = set(), []
    pretrain.train(requests(data), tracked)
    assert launched.keys == ["ranked/seed-0"]


def test_when_the_driver_is_to_end_the_runs_are_asked_to_save_and_the_next_driver_goes_on(
    data: Path, launched: Launched
) -> None:
    tracked, asked = Tracked(), of_arms(data, replay=REPLAY, leader=LEADER)
    launched.stopped = True
    with pytest.raises(Preempted, match="run the same command again"):
        pretrain.train(asked, tracked)
    assert len(launched.waves) == 1  # nor was what follows begun
    assert set(tracked.ends.values()) == {"KILLED"}
    launched.stopped = False
    pretrain.train(asked, tracked)
    assert set(tracked.ends.values()) == {"FINISHED"}
    assert not [request.key for request in asked if (request.folder / STOP).exists()]


def test_runs_of_several_workers_come_one_after_the_other_whatever_becomes_of_one(
    data: Path, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, int]] = []

    def train_group(function: object, item: dict[str, Any], count: int, *given: object, **named: Any) -> None:
        begun.append((item["key"], count))
        if item["seed"] == 0:
            raise RunError(f"{item['key']} failed: rank 1 is lost")

    monkeypatch.setattr(launched, "train_group", train_group, raising=False)
    monkeypatch.setenv("RANKCLIP_WORKERS", "2")
    asked = [
        each.model_copy(update={"model": ModelSpec(name="shapes-vit")}) for each in requests(data, (0, 1, 2))
    ]
    keys = [each.key for each in asked]
    with pytest.raises(RunError, match=r"^ranked/seed-0 failed: rank 1 is lost; what finished is kept$"):
        launching.start(asked, None, lambda: None, lambda: False)
    assert begun == [(key, 2) for key in keys]
    with pytest.raises(Preempted, match=r"^ranked/seed-1: was not begun before we stopped"):
        launching.start(asked[1:], None, lambda: None, lambda: True)
    assert len(begun) == 3


@pytest.mark.parametrize(
    ("device", "there", "asked"),
    [("auto", True, 1), ("auto", False, 0), ("cpu", True, 0), ("cuda", False, 1)],
)
def test_a_run_has_a_gpu_where_there_are_any_and_it_may(
    device: str, there: bool, asked: int, data: Path, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_DEVICE", device)
    monkeypatch.setenv("RANKCLIP_RETRIES", "5")
    launched.gpus = there
    pretrain.train(requests(data, (0,)), Tracked())
    assert launched.options["gpus"] == asked
    assert launched.options["tries"] == 6


@pytest.mark.usefixtures("launched")
def test_what_the_runs_of_an_arm_take_is_said_once_before_they_start(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = of_arms(data, other=ARM, leader=LEADER)
    pretrain.train(asked, Tracked())
    said = [line for line in capsys.readouterr().err.splitlines() if "takes a while" in line]
    assert sorted(said) == ["leader/seed-0 takes a while", "other/seed-0 takes a while"]
    pretrain.train(asked, Tracked())
    assert "takes a while" not in capsys.readouterr().err


REPLAY = Arm(objective=tiny.objective("clip_alpha_replay", [tiny.CONTRASTIVE], replay=tiny.OBJECTIVE))
LEADER = Arm(objective=tiny.OBJECTIVE)


def of_arms(data: Path, **arms: Arm) -> list[TrainRequest]:
    work = data.parent / "work"
    by_arm = [
        pretrain.requests(name, arm, tiny.MODEL, tiny.TRAIN, (0, 1), data, work) for name, arm in arms.items()
    ]
    return [request for turn in zip(*by_arm, strict=True) for request in turn]


def test_a_followed_run_is_trained_first_and_is_the_run_of_its_arm(data: Path, launched: Launched) -> None:
    tracked = Tracked()
    pretrain.train(of_arms(data, replay=REPLAY, other=ARM, leader=LEADER), tracked)
    assert sorted(launched.waves[0]) == ["leader/seed-0", "leader/seed-1", "other/seed-0", "other/seed-1"]
    assert launched.waves[1:] == [["replay/seed-0", "replay/seed-1"]]
    assert set(tracked.ends.values()) == {"FINISHED"}
    assert len(tracked.ends) == 6


def test_a_replay_alone_trains_what_it_follows_and_the_arm_adopts_it(
    data: Path, tmp_path: Path, launched: Launched
) -> None:
    tracked, asked = Tracked(), of_arms(data, replay=REPLAY)
    pretrain.train(asked, tracked)
    followed = [f"replay/seed-{seed}/follows-rankclip_shuffled" for seed in (0, 1)]
    assert launched.waves == [followed, ["replay/seed-0", "replay/seed-1"]]
    assert sorted(tracked.ends) == [
        f"{arm}_s{seed}" for arm in ("rankclip_shuffled", "replay") for seed in (0, 1)
    ]
    assert set(tracked.ends.values()) == {"FINISHED"}
    pretrain.export(asked, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["seed-0", "seed-1"]
    leaders = of_arms(data, rankclip_shuffled=LEADER)
    pretrain.train([*asked, *leaders], tracked)
    assert len(launched.waves) == 2
    # the same run in MLflow too, whoever asked for it
    assert tracked.keys["rankclip_shuffled_s0"] == {f"rankclip_shuffled/seed-0/{leaders[0].content_digest}"}


def test_a_replay_whose_leader_failed_is_not_started_and_the_others_are(
    data: Path, launched: Launched
) -> None:
    tracked = Tracked()
    launched.failing = {"leader/seed-0"}
    asked = of_arms(data, replay=REPLAY, leader=LEADER)
    with pytest.raises(RunError, match="leader/seed-0"):
        pretrain.train(asked, tracked)
    assert launched.waves[1:] == [["replay/seed-1"]]
    assert {name for name, end in tracked.ends.items() if end == "FAILED"} == {"leader_s0", "replay_s0"}
    launched.failing = set()
    pretrain.train(asked, tracked)
    assert launched.waves[2:] == [["leader/seed-0"], ["replay/seed-0"]]


def test_a_finished_replay_asks_for_nothing(data: Path, launched: Launched) -> None:
    asked = of_arms(data, replay=REPLAY)
    pretrain.train(asked, Tracked())
    for request in asked:
        assert request.followed is not None
        shutil.rmtree(request.followed.folder)
    launched.waves.clear()
    pretrain.train(asked, Tracked())
    assert launched.waves == []


@pytest.mark.usefixtures("launched")
def test_exactly_the_runs_asked_for_are_exported(data: Path, tmp_path: Path) -> None:
    pretrain.train(requests(data, (0, 1, 2)), Tracked())
    files.write_text(requests(data)[1].folder / NONFINITE, "a batch that was left out")
    pretrain.export(requests(data, (0, 2)), tmp_path / "out")
    pretrain.export(requests(data, (0, 1)), tmp_path / "out")
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    names = sorted(pretrain.EXPORTED)
    assert found == sorted(
        [f"seed-{seed}/{name}" for seed in (0, 1) for name in names] + [f"seed-1/{NONFINITE}"]
    )
    assert (tmp_path / "out" / "seed-1" / "metrics.jsonl").read_text() == "metrics.jsonl of ranked/seed-1"


def test_a_renamed_arm_adopts_its_runs_under_its_new_name(
    data: Path, tmp_path: Path, launched: Launched
) -> None:
    pretrain.train(requests(data), Tracked())
    trained = len(launched.keys)
    renamed = requests(data, name="renamed")
    pretrain.train(renamed, Tracked())
    pretrain.export(renamed, tmp_path / "out")
    assert len(launched.keys) == trained
    assert files.read_json(tmp_path / "out" / "seed-0" / "record.json")["arm"] == "renamed"


def test_another_validation_set_is_another_run(data: Path) -> None:
    before = requests(data)[0].content_digest
    listed = {"shape": {"val": {"digest": "second"}}}
    files.write_json(data / "benchmarks" / "manifest.json", {"benchmarks": listed})
    assert requests(data)[0].content_digest != before


def test_a_benchmark_to_validate_on_that_was_not_made_is_named(data: Path) -> None:
    files.write_json(data / "benchmarks" / "manifest.json", {"benchmarks": {}})
    with pytest.raises(DataError, match=r"manifest.json lacks shape; make the benchmarks"):
        requests(data)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_number_of_workers_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_WORKERS", text)
    with pytest.raises(InputError, match=r"RANKCLIP_WORKERS=.* is not a positive whole number"):
        workers()
