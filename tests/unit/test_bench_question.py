"""The tables of the question on `shapes`, from rows of which the answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import question, question_plots, question_tables
from bench.question_tables import ARMS, Scores

GAIN = {"rankclip": 0.02, "rankclip_oracle": 0.05, "cyclip": -0.03}
"""Over the tuned CLIP, by arm."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scores of all arms and worlds: an arm's gain, a seed's own level, and a gain of RankCLIP that grows."""
    rows = []
    for share in (0.0, 0.1, 0.3, 0.6):
        for arm in ARMS if share == 0.1 else ("clip", "rankclip", "rankclip_shuffled", "rankclip_oracle"):
            for seed in range(5):
                noise = 0.001 * ((seed * 7 + ARMS.index(arm) * 3) % 5)
                grown = share * 0.1 if arm == "rankclip" else 0.0
                top1 = 0.5 - 0.2 * share + 0.01 * seed + GAIN.get(arm, 0.0) + grown + noise
                cells = {("mean", "top1"): top1, ("shape", "top1"): top1, ("run", "alpha"): 14.0}
                cells |= {("retrieval", f"{way}_r1"): 0.3 for way in ("image_to_text", "text_to_image")}
                rows += [
                    {
                        "ambiguity": share,
                        "arm": arm,
                        "seed": seed,
                        "benchmark": at,
                        "metric": what,
                        "value": value,
                    }
                    for (at, what), value in cells.items()
                ]
    question.write(tmp_path / question_tables.SCORES, rows)
    trial = {"arm": "clip", "trial": 0, "state": "finished", "step": 1200}
    question.write(tmp_path / question_tables.TRIALS, [trial, {**trial, "state": "stopped", "step": 133}])
    setting = {"arm": "clip", "setting": "as it is", "winner": "False", "seed": 1001, "val/mean_top1": 0.4}
    won = {**setting, "setting": "trial-001", "winner": "True", "val/mean_top1": 0.45, "train.lr": 0.00051234}
    question.write(tmp_path / question_tables.SETTINGS, [{**setting, "train.lr": ""}, won])
    return tmp_path


@pytest.fixture
def found(folder: Path) -> Scores:
    return question_tables.read(folder)


def test_each_question_has_its_difference_and_all_are_corrected_together(found: Scores) -> None:
    lines = question_tables.contrasts(found).splitlines()[2:]
    assert len(lines) == len(question_tables.CONTRASTS)
    assert lines[6].startswith("| Could any ranking help here? | `rankclip_oracle` - `clip` | +5.")
    for line in lines:
        alone, together = (float(cell) for cell in line.split("|")[-3:-1])
        assert together >= alone


def test_the_change_over_worlds_is_that_of_the_rows(found: Scores) -> None:
    grown = question_tables.slope(found, "rankclip", "clip")
    assert 100 * grown.mean == pytest.approx(6.0, abs=1e-6)
    assert 100 * question_tables.slope(found, "rankclip_oracle", "clip").mean == pytest.approx(0, abs=1e-6)
    assert question_tables.ambiguity(found).splitlines()[-1].startswith("| change from 0 to 0.6 |  | +6.0 (")


def test_the_tuning_of_an_arm_is_told_with_its_work_and_its_choice(folder: Path, found: Scores) -> None:
    told = question_tables.tables(found, folder)["tuning"]
    assert told.splitlines()[2] == "| `clip` | 1 of 2 | 1,333 | 40.0 | 45.0 | lr 0.000512 |"


def test_tables_replace_what_stands_between_their_marks() -> None:
    page = "a\n<!-- arms -->\nold\n<!-- end -->\nb\n<!-- tuning -->\n<!-- end -->\n"
    assert question.with_tables(page, {"arms": "new", "tuning": "x"}) == (
        "a\n<!-- arms -->\nnew\n<!-- end -->\nb\n<!-- tuning -->\nx\n<!-- end -->\n"
    )
    with pytest.raises(SystemExit, match="has 0 places for missing"):
        question.with_tables(page, {"missing": ""})


def test_before_its_runs_are_scored_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="results has none of shapes-tuned, shapes-ambiguity-0, "):
        question.main(["collect"])


def test_both_plots_are_drawn(folder: Path, found: Scores) -> None:
    question_plots.draw(found, folder)
    assert all((folder / name).stat().st_size > 5000 for name in ("arms.png", "ambiguity.png"))
