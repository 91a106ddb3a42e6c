"""Searches on a real Ray, whatever becomes of their trials: each is accounted for and leaves nothing."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from rankclip import launch, lifecycle
from rankclip.errors import RunError
from rankclip.launch import guard
from rankclip.sweep.ledger import Trial
from rankclip.sweep.tuning import ArmSearch, search
from rankclip.sweep.tuning.hooks import Follower, Proposer
from rankclip.training import checkpoint, run
from rankclip.training.request import STOP
from rankclip.training.run import WEIGHTS
from tests import forked
from tests.unit.sweep.searched import ALONE, ARM, ASHA, Searched, spec, steps
from tests.unit.training import tiny


def train_alone(rank: int, request: dict[str, Any]) -> None:
    run.train_run(request)


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RANKCLIP_RETRIES", "1")
        patch.setenv("HOME", str(home))
        with launch.session(dashboard=True):
            yield home


@pytest.fixture
def begin(ray_session: Path, tiny_data: Path, tmp_path: Path) -> Callable[..., Searched]:
    def made(stopping: dict[str, Any], *rates: float, **changes: Any) -> Searched:
        found = Searched(spec(stopping, trials=max(1, len(rates))), tiny_data, tmp_path, **changes)
        found.propose(rates)
        return found

    return made


def processes() -> list[psutil.Process]:
    """Those of Ray that work on trials."""
    found = []
    for process in guard.marked(os.environ[guard.MARK]):
        if "train_trial" in " ".join(process.cmdline()) or "ImplicitFunc" in " ".join(process.cmdline()):
            found.append(process)
    return found


def assert_left(searched: Searched, trials: int) -> None:
    """Of ended trials nothing is held, and no checkpoint is kept."""
    for number in range(trials):
        if not searched.folder_of(number).exists():
            continue
        assert not checkpoint.steps(searched.folder_of(number))
        with lifecycle.lock(searched.folder_of(number), wait_s=0.5):
            pass
    wait_for_cpus()


def wait_for_cpus() -> None:
    import ray

    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.1)


def test_trials_end_well_early_or_on_purpose_and_the_next_in_the_same_process_is_as_in_a_fresh_one(
    begin: Callable[..., Searched], ray_session: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    searched = begin(ASHA, 0.004, 0.001, 1e30, 0.005)
    pids: set[int] = set()
    folders: set[Path] = set()

    def look(trial: Trial) -> None:
        pids.update(process.pid for process in processes())
        folders.update(Path(os.environ[guard.MARK]).glob("rankclip-tune-*"))

    trials = searched.run(changed=look)
    assert [trial.state for trial in trials] == ["finished", "stopped", "failed", "finished"]
    assert [steps(trial) for trial in trials] == [[2, 4, 8], [2], [], [2, 4, 8]]
    assert "NaN or infinity" in trials[2].error
    assert "\n" not in trials[2].error
    assert [searched.starts(number) for number in range(4)] == [1, 1, 1, 1]
    assert trials[0].seconds > 0
    assert [(searched.folder_of(number) / WEIGHTS).exists() for number in range(4)] == [
        True, False, False, True
    ]  # fmt: skip
    assert len(pids) == 1
    assert [folder.exists() for folder in folders] == [False]  # and gone with Ray where we are killed
    assert_left(searched, 4)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert not [path.name for path in ray_session.iterdir() if path.name != ".cache"]

    again = searched.request(trials[3]).model_copy(update={"work": searched.folder / "fresh"})
    forked.run(train_alone, 1, again.dump())
    ours = (searched.folder_of(3) / WEIGHTS).read_bytes()
    assert ours == (again.folder / WEIGHTS).read_bytes()


def test_a_trial_whose_process_dies_goes_on_and_is_given_up_after_as_many_tries_as_may_be(
    begin: Callable[..., Searched],
) -> None:
    searched = begin(ASHA, 0.004, 0.005, 0.006)
    (searched.folder_of(2) / "metrics.jsonl").mkdir(parents=True)
    killed: list[tuple[int, int]] = []

    def kill(trial: Trial) -> None:
        again = trial.number == 0 and steps(trial) == [2] and not killed
        if not trial.ended and (again or trial.number == 1):
            killed.append((trial.number, len(trial.reports)))
            for process in processes():
                process.kill()

    trials = searched.run(changed=kill)
    assert [trial.state for trial in trials] == ["finished", "failed", "failed"]
    assert [steps(trial) for trial in trials] == [[2, 4, 8], [], []]
    assert killed == [(0, 1), (1, 0), (1, 0)]
    assert trials[1].error == "its process died each time (killed, or out of memory?)"
    assert trials[2].error.startswith("IsADirectoryError: ")
    assert [searched.starts(number) for number in range(3)] == [2, 2, 2]
    searched.folder_of(2).joinpath("metrics.jsonl").rmdir()
    assert_left(searched, 3)


def test_when_told_to_end_trials_save_and_leave_and_the_next_search_goes_on_from_there(
    begin: Callable[..., Searched],
) -> None:
    searched = begin({"name": "median", "rungs": 2, "least": 9}, 0.003, 0.004, 0.005, steps=160)
    searched.ledger.end(searched.ledger.trials[ARM, 0], "finished")

    def asked_in_the_middle(trial: Trial) -> None:
        if steps(trial) == [80]:
            os.kill(os.getpid(), signal.SIGUSR1)  # Tune takes this one, whatever it is told

    with launch.stoppable(lambda: None) as told:
        first = searched.run(done=lambda: "told" if told.is_set() else "", changed=asked_in_the_middle)
        assert told.is_set()
    assert [trial.state for trial in first] == ["finished", "proposed", "proposed"]
    saved = checkpoint.steps(searched.folder_of(1))
    assert 80 < saved[-1] < 160
    wait_for_cpus()
    assert searched.starts(2) == 0
    second = searched.run()
    assert [trial.state for trial in second] == ["finished"] * 3
    assert [steps(trial) for trial in second] == [[], [80, 160], [80, 160]]
    assert not searched.folder_of(0).exists()
    assert second[1].seconds > 0
    assert_left(searched, 3)


def test_every_point_of_a_grid_is_tried_to_its_end_where_nothing_is_to_be_stopped(
    ray_session: Path, tiny_data: Path, tmp_path: Path
) -> None:
    aims = [{"metric": "val/mean_top1", "mode": "max"}, {"metric": "elapsed_s", "mode": "min"}]
    asked = spec({"name": "none"}, trials=2, aims=aims)
    searched = Searched(asked.model_copy(update={"trials": 5}), tiny_data, tmp_path)
    trials = searched.run()
    assert sorted(trial.values["train.lr"] for trial in trials) == [0.001, 0.002]
    assert [set(trial.reports[0]) for trial in trials] == [{"step", "val/mean_top1", "elapsed_s"}] * 2
    assert {trial.state for trial in trials} == {"finished"}


@pytest.mark.usefixtures("ray_session")
def test_a_trial_whose_settings_do_not_fit_together_fails_alone(
    begin: Callable[..., Searched],
) -> None:
    searched = begin(ASHA, 0.004)

    def refused(trial: Trial) -> Any:
        if trial.state != "proposed" or trial.values:
            raise RunError("no such setting")
        return searched.request(trial)

    asked = ArmSearch(searched.spec, ARM, searched.ledger, refused, ALONE)
    search(asked)
    [trial] = searched.ledger.of(ARM)
    assert (trial.state, trial.error) == ("failed", "no such setting")


def test_what_the_caller_raises_when_it_is_told_of_a_trial_ends_the_search_and_not_the_trial(
    tiny_data: Path, tmp_path: Path
) -> None:
    searched = Searched(spec(ASHA), tiny_data, tmp_path)
    searched.propose([0.004])

    def broken(trial: Trial) -> None:
        raise RunError("the tracker is gone")

    asked = ArmSearch(searched.spec, ARM, searched.ledger, searched.request, ALONE, changed=broken)
    proposer = Proposer(asked)
    follower = Follower(asked, proposer)
    proposer.suggest("as Tune calls it")
    trial = SimpleNamespace(trial_id="as Tune calls it", last_result={"step": searched.steps})
    follower.on_trial_start(0, [trial], trial)
    follower.on_trial_complete(0, [trial], trial)  # in which Tune would take an error for the trial's
    with pytest.raises(RunError, match=r"^the tracker is gone$"):
        follower.on_step_end(0, [trial])
    assert [each.state for each in searched.ledger.of(ARM)] == ["finished"]
    pickle.dumps((proposer, follower))  # Tune does, whatever the caller holds


def test_a_trial_that_begins_when_all_are_to_leave_is_asked_to_leave_too(
    tiny_data: Path, tmp_path: Path
) -> None:
    searched = Searched(spec(ASHA), tiny_data, tmp_path)
    searched.propose([0.004, 0.005])
    ends: list[str] = []
    asked = ArmSearch(
        searched.spec, ARM, searched.ledger, searched.request, ALONE, done=lambda: "".join(ends)
    )
    proposer = Proposer(asked)
    follower = Follower(asked, proposer)
    trials = [SimpleNamespace(trial_id=name, last_result={"left": True}) for name in ("a", "b")]
    for trial in trials:
        proposer.suggest(trial.trial_id)
    follower.on_trial_start(0, trials, trials[0])
    ends.append("no time is left")
    follower.on_step_end(0, trials)
    asked_to = [searched.folder_of(number) / STOP for number in range(2)]
    assert [file.exists() for file in asked_to] == [True, False]
    follower.on_trial_start(0, trials, trials[1])
    follower.on_step_end(0, trials)
    assert [file.exists() for file in asked_to] == [True, True]
    assert proposer.suggest("c") == Proposer.FINISHED
    for trial in trials:
        follower.on_trial_complete(0, trials, trial)
    assert [each.state for each in searched.ledger.of(ARM)] == ["proposed", "proposed"]


def test_a_trial_that_was_stopped_just_when_all_are_to_leave_has_ended(
    tiny_data: Path, tmp_path: Path
) -> None:
    searched = Searched(spec(ASHA), tiny_data, tmp_path)
    searched.propose([0.004])
    asked = ArmSearch(searched.spec, ARM, searched.ledger, searched.request, ALONE, done=lambda: "no time")
    left = Proposer(asked)
    left.given["a"] = (searched.ledger.trials[ARM, 0], searched.request(searched.ledger.trials[ARM, 0]))
    trial = SimpleNamespace(trial_id="a", last_result={"step": 2})
    Follower(asked, left).on_trial_complete(0, [trial], trial)
    assert [each.state for each in searched.ledger.of(ARM)] == ["stopped"]
