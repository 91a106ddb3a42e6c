"""`rankclip compare` as it is typed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from rankclip import compare_cli, composition, config, files
from rankclip.compare import output
from rankclip.errors import InputError
from rankclip.report import ablation, claims, comparison, scores
from rankclip.report.scores import Subject
from tests.unit.report.conftest import make_study, roles_of

ARMS = ("clip", "rankclip", "rankclip_shuffled")
SEEDS = (0, 1, 2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the scored study shapes-smoke, active."""
    monkeypatch.setattr(compare_cli, "ROOT", tmp_path)
    made = make_study(tmp_path)
    for folder in ("results", "runs"):
        (tmp_path / folder / made.subject.name).rename(tmp_path / folder / "shapes-smoke")
    for arm in ARMS:
        for seed in SEEDS:
            terms = [{"name": "contrastive", "weight": 1.0}]
            how = {
                "objective": {"name": arm, "terms": terms},
                "train": {"lr": 0.001 if arm == "clip" else 0.002},
            }
            record = {"arm": arm, "seed": seed, "config": how}
            files.write_json(tmp_path / f"runs/shapes-smoke/{arm}/seed-{seed}/record.json", record)
    config.write(composition.compose("shapes-smoke"), tmp_path / config.PARAMS)
    return tmp_path


def typed(*words: object) -> str:
    app = typer.Typer()
    app.command()(compare_cli.compare)
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: object) -> str:
    with pytest.raises(InputError) as found:
        typed(*words)
    assert "\n" not in str(found.value)
    return str(found.value)


def numbers(*words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(typed(*words, "--json"))
    return found


def edit(path: Path, **columns: object) -> None:
    """Rewrites results with other values in some columns."""
    rows = [row | columns for row in files.read_table(path / "results.parquet").to_pylist()]
    files.write_table(path / "results.parquet", pa.Table.from_pylist(rows))


def test_every_arm_of_the_active_study_is_compared_by_default(here: Path) -> None:
    said = typed().splitlines()
    assert said[0] == "top-1, test split: percent, mean over 3 seeds (95 % interval)"
    assert said[1].split() == list(ARMS)
    assert [line.split("   ")[0] for line in said[2:6]] == [
        "mean over benchmarks",
        "shape",
        "composition",
        "digits",
    ]
    assert said[7].startswith("minus clip: points, equal seeds (95 % interval); p corrected for ")
    assert said[8].split() == list(ARMS[1:])


def test_the_numbers_are_the_reports(here: Path) -> None:
    subject = Subject("toy", "", True, SEEDS, ARMS)
    results = here / "results" / "shapes-smoke"
    measured = scores.read_scores(scores.read_results(results, subject), subject, "zero_shot")
    spec = roles_of(ARMS)
    table = comparison.compare(spec, ablation.Roles(*ARMS), subject, measured, results).table
    expected = {(row.arm, row.benchmark): row for row in claims.main(table) if row.metric == "top1"}
    found = {(row["arm"], row["benchmark"]): row for row in numbers()["rows"]}
    assert found.keys() == expected.keys()
    for at, row in expected.items():
        assert found[at]["mean"] == row.level.mean
        assert found[at]["low"] == row.level.low
        if at[0] != "clip":
            told = found[at]["difference"]
            assert (told["mean"], told["low"], told["p"]) == (
                row.difference.mean,
                row.difference.low,
                row.difference.p,
            )
            assert (told["p_adjusted"], told["stands"]) == (row.p_adjusted, row.sure)


def test_rows_are_written_in_the_form_of_the_reports_table(here: Path) -> None:
    typed("--csv", here / "rows.csv")
    with (here / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ablation.HEADER
    assert {row["arm"] for row in rows} == set(ARMS)


def test_one_seed_has_no_interval_and_it_is_said(here: Path) -> None:
    said = typed("runs/shapes-smoke/clip/seed-0", "runs/shapes-smoke/rankclip/seed-0")
    assert "mean over 1 seed\n" in said
    assert "One seed an arm: every difference may be the seed's" in said
    assert "(" not in said.split("\n\n")[1].split("\n", 1)[1]


def test_seeds_that_not_all_have_are_left_out_and_it_is_said(here: Path) -> None:
    said = typed("runs/shapes-smoke/clip/seed-0", here / "runs/shapes-smoke/clip/seed-2", "rankclip")
    assert "mean over 2 seeds" in said
    assert "Only seeds that all have are compared: clip has 0, 2; rankclip has 0, 1, 2." in said


def test_runs_without_a_common_seed_are_no_pairs(here: Path) -> None:
    said = refused("runs/shapes-smoke/clip/seed-0", "runs/shapes-smoke/rankclip/seed-1")
    assert "no seed is common to all, so nothing can be paired: clip has 0; rankclip has 1" in said


def test_runs_are_found_by_what_they_were_trained_with(here: Path) -> None:
    assert numbers("train.lr=0.002")["arms"] == ["rankclip", "rankclip_shuffled"]
    assert numbers("objective=clip", "objective=rankclip", "seed=1", "seed=2")["seeds"] == [1, 2]
    assert numbers("objective.terms.contrastive.weight=1")["arms"] == list(ARMS)
    assert refused("train.lr=3") == "no run of study shapes-smoke has train.lr=3; train.lr is 0.001, 0.002"


def test_an_arm_that_is_unknown_is_refused_with_those_there_are(here: Path) -> None:
    assert refused("nope").startswith(
        "nope is no arm and no folder; the arms of study shapes-smoke are clip, rankclip, rankclip_shuffled; "
    )
    (here / "empty").mkdir()
    assert refused("empty").startswith(
        "empty holds no results.parquet and is no run's folder; give runs/STUDY/"
    )


def test_nothing_or_not_everything_being_scored_is_told(here: Path) -> None:
    shutil.rmtree(here / "results/shapes-smoke/rankclip")
    assert typed().endswith("Not scored yet: rankclip; run `rankclip repro`.\n")
    assert refused("rankclip") == "arm rankclip of study shapes-smoke is not scored yet; run `rankclip repro`"
    shutil.rmtree(here / "results")
    assert refused().startswith("nothing of study shapes-smoke is scored yet; run `rankclip repro`")


def test_differences_are_taken_to_the_reports_baseline_or_to_another(here: Path) -> None:
    assert numbers("rankclip", "clip")["baseline"] == "clip"
    assert numbers("rankclip", "rankclip_shuffled")["baseline"] == "rankclip"
    assert numbers("--baseline", "rankclip")["baseline"] == "rankclip"
    assert refused("--baseline", "nope") == (
        "--baseline nope is not compared here; choose clip, rankclip, rankclip_shuffled"
    )


def test_a_metric_or_a_set_that_is_unknown_is_refused_with_those_there_are(here: Path) -> None:
    assert refused("--metric", "r1").endswith("choose 'image_to_text_r1', 'text_to_image_r1'")
    assert refused("--metric", "nope").endswith("'text_to_image_ndcg10'")
    assert "--benchmarks: nope is not scored here; choose shape, composition, digits, captions" in refused(
        "--benchmarks", "shape,nope"
    )


def test_the_mean_is_over_the_benchmarks_that_were_asked_for(here: Path) -> None:
    found = {
        (row["arm"], row["benchmark"]): row["mean"] for row in numbers("--benchmarks", "shape,digits")["rows"]
    }
    assert found["clip", "mean"] == pytest.approx((found["clip", "shape"] + found["clip", "digits"]) / 2)
    alone = [row["benchmark"] for row in numbers("--benchmarks", "shape")["rows"]]
    assert set(alone) == {"shape"}


def test_another_metric_and_the_validation_split_can_be_read(here: Path) -> None:
    said = typed("--metric", "image_to_text_r1", "--split", "val")
    assert said.startswith("image to text, R@1, val split: percent, ")
    assert "captions" in said
    edit(here / "results/shapes-smoke/clip", split="test")
    assert refused("--split", "val").endswith("has no scores of clip on the val split")


def test_studies_are_compared_on_what_both_measured_on_the_same_data(here: Path) -> None:
    other = here / "results/other/clip"
    shutil.copytree(here / "results/shapes-smoke/clip", other)
    rows = files.read_table(other / "results.parquet").to_pylist()
    changed = [row | ({} if row["benchmark"] == "digits" else {"data_digest": "feed"}) for row in rows]
    files.write_table(other / "results.parquet", pa.Table.from_pylist(changed))
    found = numbers("clip", "results/other")
    assert found["arms"] == ["clip", "clip (other/clip)"]
    assert {row["benchmark"] for row in found["rows"]} == {"digits"}
    assert found["notes"][0] == (
        "Left out: shape, not of the same data (data-shape clip, feed clip (other/clip)); composition, not "
        "of the same data (data-composition clip, feed clip (other/clip))."
    )
    edit(other, data_digest="feed")
    assert refused("clip", "results/other", "--benchmarks", "shape") == (
        "nothing can be paired: shape, not of the same data (data-shape clip, feed clip (other/clip)); "
        "compare arms of one study, or score them on the same sets"
    )


def test_folders_of_equal_names_are_told_apart_by_their_paths(here: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(here / "results/shapes-smoke/clip", here / name / "scores/clip")
    found = numbers("a/scores/clip", "b/scores/clip")
    assert found["arms"] == [f"clip ({here / name}/scores/clip)" for name in ("a", "b")]


def test_a_set_that_not_all_have_is_left_out(here: Path) -> None:
    path = here / "results/shapes-smoke/clip/results.parquet"
    rows = [row for row in files.read_table(path).to_pylist() if row["benchmark"] != "shape"]
    files.write_table(path, pa.Table.from_pylist(rows))
    assert "Left out: shape, of which clip has no score." in typed()


def test_folders_need_no_active_study(here: Path) -> None:
    (here / config.PARAMS).unlink()
    assert numbers("results/shapes-smoke/clip", here / "results/shapes-smoke/rankclip")["baseline"] == "clip"
    assert refused("clip").startswith(f"{here / config.PARAMS} is missing here")


def test_arms_that_do_not_fit_stand_below(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []
    monkeypatch.setattr(output, "lines", lambda found, width: compared.append(found) or [])
    typed()
    monkeypatch.undo()
    wide = list(output.lines(compared[0]))
    narrow = list(output.lines(compared[0], 70))
    tables = [line for line in narrow if line.startswith((" ", "mean over", "shape"))]
    assert max(map(len, tables)) <= 70
    assert len(narrow) > len(wide)
    assert all(any(word in line for line in narrow) for word in " ".join(wide).split())
