"""What is missing or wrong is named in one line with its remedy, and no report is written."""

import re

import pyarrow as pa
import pytest
from pydantic import ValidationError

from rankclip import files
from rankclip.errors import DataError, InputError, RankclipError
from rankclip.report.scores import Subject
from rankclip.report.spec import ReportSpec


def fails(study, pattern, error=DataError):
    """The report is refused in one line that matches, and writes nothing."""
    with pytest.raises(RankclipError, match=pattern) as caught:
        study.report()
    assert caught.type is error
    assert "\n" not in str(caught.value)
    assert not study.out.exists()


def test_an_arm_that_was_not_evaluated_is_named(study):
    study.results("rankclip").unlink()
    fails(study, r"rankclip.results\.parquet is missing; run `dvc repro evaluate@rankclip`")


def test_a_damaged_results_file_is_named(study):
    study.results("clip").write_bytes(b"PAR1 but not")
    fails(study, r"clip.results\.parquet cannot be read .*evaluate@clip")


def test_results_of_another_arm_are_refused(study):
    study.write_rows("clip", study.rows("rankclip"))
    fails(study, "holds results of rankclip, not only of clip")


def test_a_seed_that_was_not_evaluated_is_named(study):
    study.write_rows("rankclip", [row for row in study.rows("rankclip") if row["seed"] != 1])
    fails(study, "results of rankclip lack seed 1 .*evaluate@rankclip")


def test_an_arm_without_any_test_score_is_named(study):
    study.write_rows("rankclip", [row for row in study.rows("rankclip") if row["split"] == "val"])
    fails(study, "results of rankclip lack seed 0, 1, 2 of the test splits")


def test_a_benchmark_that_one_seed_lacks_is_named(study):
    rows = [row for row in study.rows("clip") if (row["benchmark"], row["seed"]) != ("digits", 2)]
    study.write_rows("clip", rows)
    fails(study, "results of clip lack top1 on digits of seed 2")


def test_a_score_that_stands_twice_is_refused(study):
    rows = study.rows("clip")
    study.write_rows("clip", [*rows, rows[-1]])
    fails(study, "results of clip hold .* twice")


@pytest.mark.parametrize("value", [float("nan"), None])
def test_a_score_that_is_no_number_is_refused(study, value):
    rows = study.rows("clip")
    rows[-1]["value"] = value
    study.write_rows("clip", rows)
    fails(study, "of clip, seed 2, is (nan|None)")


def test_arms_tested_on_different_data_are_not_compared(study):
    study.write_rows("rankclip", [{**row, "data_digest": "other"} for row in study.rows("rankclip")])
    fails(study, "rankclip was not tested on the same shape as the others: data other, not data-shape;")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("templates_digest", "prompts"),
        ("classes_digest", "class names"),
        ("precision", "precision"),
        ("resize", ""),
    ],
)
def test_arms_that_were_not_measured_alike_are_not_compared(study, column, words):
    study.write_rows("rankclip", [{**row, column: "other"} for row in study.rows("rankclip")])
    fails(study, f"rankclip was not tested on the same shape as the others: {words}.* other, not .*evaluate@")


def test_results_of_an_earlier_training_are_refused(study):
    record = files.read_json(study.run("clip", 1) / "record.json")
    files.write_json(study.run("clip", 1) / "record.json", {**record, "steps": 400})
    fails(study, "results of clip, seed 1, are of step 200 but the run's weights are of step 400")


def test_results_are_of_the_step_of_the_weights_that_were_kept(study):
    path = study.run("clip", 1) / "record.json"
    record = files.read_json(path)
    files.write_json(path, {**record, "steps": 900, "weights_step": 300})
    fails(study, "are of step 200 but the run's weights are of step 300")
    files.write_json(path, {**record, "steps": 900, "weights_step": 200})
    assert study.report()


def test_predictions_that_do_not_give_the_scores_are_refused(study):
    rows = files.read_table(study.predictions("clip")).to_pylist()
    wrong = [{**row, "value": 1.0 - row["value"]} for row in rows]
    files.write_table(study.predictions("clip"), pa.Table.from_pylist(wrong))
    fails(study, "40 predictions of seed 0 on shape have mean .* but the results say")


def test_no_benchmark_with_the_headline_metric_names_the_known_ones(study):
    study.spec = ReportSpec(baseline="clip", headline_metric="top5")
    fails(study, "no benchmark reports top5 .*only .*mean_per_class, .*top1")


def test_a_missing_run_is_named(study):
    (study.run("rankclip_shuffled", 2) / "record.json").unlink()
    fails(study, r"seed-2.record\.json is missing; run `dvc repro pretrain@rankclip_shuffled`")


def test_a_torn_curve_names_its_line(study):
    path = study.run("clip", 0) / "metrics.jsonl"
    path.write_text(path.read_text()[:-20])
    fails(study, r"line 24 of .*metrics\.jsonl is not a JSON object with a step")


@pytest.mark.parametrize("lost", ["ledger.parquet", "ledger.json", "shards/index.parquet"])
def test_a_missing_data_file_is_named(study, lost):
    (study.data / lost).unlink()
    fails(study, f"{re.escape(lost.split('/')[-1])} is missing")


def test_an_input_row_without_its_reason_stops_the_report(study):
    rows = files.read_table(study.data / "ledger.parquet").to_pylist()
    files.write_table(study.data / "ledger.parquet", pa.Table.from_pylist(rows[:-1]))
    fails(study, "has 12 rows, 12 of them distinct, for 13 input rows")


def test_an_input_row_with_two_reasons_stops_the_report(study):
    rows = files.read_table(study.data / "ledger.parquet").to_pylist()
    files.write_table(study.data / "ledger.parquet", pa.Table.from_pylist([*rows[:-1], rows[0]]))
    fails(study, "has 13 rows, 12 of them distinct, for 13 input rows")


def test_a_sample_that_the_ledger_does_not_accept_stops_the_report(study):
    rows = files.read_table(study.data / "ledger.parquet").to_pylist()
    rows[0]["reason"] = "decode"
    files.write_table(study.data / "ledger.parquet", pa.Table.from_pylist(rows))
    fails(study, "holds 7 samples but .* accepts 6")


@pytest.mark.parametrize(
    ("arms", "seeds", "words"),
    [
        ((), (1,), "no arm"),
        (("a",), (), "no seed"),
        (("a", "a"), (1,), "arm twice"),
        (("a",), (1, 1), "seed twice"),
    ],
)
def test_a_study_without_arms_or_seeds_or_with_doubles_is_refused(arms, seeds, words):
    with pytest.raises(InputError, match=words):
        Subject("toy", "", True, seeds, arms)


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": 95.0},
        {"baseline": ""},
        {"contact_images": -1},
        {"colour": "red"},
        {"headline_metric": "loss"},
        {"headline_protocol": "five_captions"},
        {"treatment": "clip"},
        {"treatment": "rankclip", "control": "rankclip"},
    ],
)
def test_the_spec_refuses_what_has_no_meaning(wrong):
    with pytest.raises(ValidationError):
        ReportSpec(**{"baseline": "clip", **wrong})
