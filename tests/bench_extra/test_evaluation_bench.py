"""The measurement beside CLIP_benchmark runs, and says what it claims, on a little of everything."""

from __future__ import annotations

import pytest

pytest.importorskip("clip_benchmark", reason="asks for the extra `bench`")

from bench import evaluation
from rankclip.evaluation.scores import Measured


@pytest.mark.parametrize("start", ["from_rows", "from_scores", "both_protocols"])
def test_recalls_are_compared_in_time_and_in_value(start: str) -> None:
    found = evaluation.recall(40, 16, rounds=1)
    assert found["equal"] is True
    assert set(found[start]["median_s"]) == {"ours", "CLIP_benchmark"}
    assert found[start]["times_faster"]["CLIP_benchmark"]["of_medians"] > 0


@pytest.mark.parametrize("wrong", ["image_to_text_r1", "text_to_image_r10"])
def test_a_recall_that_differs_is_not_called_the_same(wrong: str) -> None:
    theirs = {f"{side}_retrieval_recall@{k}": 0.5 for side in ("text", "image") for k in (1, 5, 10)}
    names = [f"{way}_r{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]
    assert evaluation.same([Measured(name, "five_captions", 0.5) for name in names], theirs)
    other = [Measured(name, "five_captions", 0.5001 if name == wrong else 0.5) for name in names]
    assert not evaluation.same(other, theirs)


def test_classifiers_are_compared_in_time_and_in_value() -> None:
    found = evaluation.classifier("shapes-rn", 3, 4, rounds=1)
    assert found["largest_difference"] < 1e-6
    assert min(found["median_s"].values()) > 0


def test_a_batch_in_pieces_has_the_rows_of_the_whole() -> None:
    found = evaluation.together("shapes-rn", 4, rounds=1)
    assert found["largest_difference"] < 1e-6
    assert min(found["median_s"].values()) > 0


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
def test_a_suite_is_timed_from_files_and_again_from_what_was_embedded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "TASKS", ("shape", "retrieval"))
    found = evaluation.tasks("shapes-rn", 12, 10, rounds=1)
    assert len(found["median_s"]) == 4
    assert set(found["times_faster"]) == {"CLIP_benchmark", "CLIP_benchmark, one process"}
    assert min(found["median_s"].values()) > 0
