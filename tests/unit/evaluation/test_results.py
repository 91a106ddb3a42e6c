"""Results as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankclip import files
from rankclip.errors import DataError
from rankclip.evaluation import results, suite
from rankclip.evaluation.conditions import Conditions
from rankclip.evaluation.reference import NoiseEncoder
from rankclip.evaluation.scores import Scores
from rankclip.evaluation.store import Store
from rankclip.spec import digest
from tests.unit.evaluation.known import CLASSES, TEMPLATES, Known

NAMES = ["letters", "pairs"]
HOW = Conditions("fp32", "none", "cpu")


def identity(seed: int) -> results.RunIdentity:
    return results.RunIdentity("clip", seed, 40, f"checkpoint {seed}", "config")


def score(known: Known, seed: int) -> Scores:
    store = Store(NoiseEncoder(dimensions=4, seed=seed))
    sets = {name: known.folder / f"wds_{name}" for name in NAMES}
    return suite.evaluate(store, sets, "val") + suite.evaluate(store, sets, "test")


def test_every_number_of_a_run_is_one_row_with_its_provenance(known: Known) -> None:
    scores = score(known, 3)
    table = results.results_table(identity(3), scores, HOW)
    assert table.schema == results.RESULTS_SCHEMA
    rows = table.to_pylist()
    keys = {(row["benchmark"], row["split"], row["metric"], row["protocol"]) for row in rows}
    assert len(keys) == len(rows) == len(scores.rows)
    assert {(row["arm"], row["seed"], row["step"]) for row in rows} == {("clip", 3, 40)}
    assert {row["checkpoint_digest"] for row in rows} == {"checkpoint 3"}
    assert len({row["data_digest"] for row in rows}) == 4


def test_predictions_reproduce_the_metric_they_belong_to(known: Known) -> None:
    scores = score(known, 0)
    table = results.predictions_table(identity(0), scores)
    assert table.schema == results.PREDICTIONS_SCHEMA
    groups: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for row in table.to_pylist():
        key = (row["benchmark"], row["split"], row["metric"], row["protocol"])
        groups.setdefault(key, []).append(row)
    measured = {
        (row.benchmark, row.split, row.measured.metric, row.measured.protocol): row.measured.value
        for row in scores.rows
        if row.measured.items is not None
    }
    assert groups.keys() == measured.keys()
    assert ("pairs", "test", "text_to_image_r1", "one_caption") in measured
    for key, rows in groups.items():
        assert sum(row["value"] for row in rows) / len(rows) == pytest.approx(measured[key])
        assert [row["item"] for row in rows] == list(range(len(rows)))


def test_equal_scores_give_equal_bytes(known: Known, tmp_path: Path) -> None:
    for name in ("one", "two"):
        results.write_scores(tmp_path / name, identity(1), score(known, 1), HOW)
    for file in (results.RESULTS, results.PREDICTIONS):
        assert files.sha256(tmp_path / "one" / file) == files.sha256(tmp_path / "two" / file)


def test_merging_keeps_every_run_and_averages_test_scores_over_seeds(known: Known, tmp_path: Path) -> None:
    scores = {seed: score(known, seed) for seed in (0, 1)}
    for seed, of in scores.items():
        results.write_scores(tmp_path / str(seed), identity(seed), of, HOW)
    counts = results.merge([tmp_path / "0", tmp_path / "1"], tmp_path / "out")
    table = files.read_table(tmp_path / "out" / results.RESULTS)
    assert counts["results"] == len(table) == sum(len(of.rows) for of in scores.values())
    assert table.column("seed").to_pylist() == sorted(table.column("seed").to_pylist())
    summary = files.read_json(tmp_path / "out" / results.METRICS)
    for benchmark, metric in (("letters", "top1"), ("pairs", "text_to_image_r1")):
        both = [of.value(benchmark, metric, "test") for of in scores.values()]
        assert summary[benchmark][metric] == pytest.approx(sum(both) / 2)
    assert summary["mean"] == {"top1": summary["letters"]["top1"]}


def test_a_metric_of_two_protocols_is_not_averaged_over_them(known: Known) -> None:
    scores = score(known, 0)
    summary = results.metrics_summary(results.results_table(identity(0), scores, HOW))
    found = {
        row.measured.protocol: row.measured.value
        for row in scores.rows
        if (row.split, row.measured.metric) == ("test", "image_to_text_r5")
    }
    assert summary["pairs"]["image_to_text_r5"] == found["five_captions"]
    assert summary["pairs"]["image_to_text_r5/one_caption"] == found["one_caption"]


def test_each_number_names_its_class_names_prompts_and_conditions(known: Known) -> None:
    rows = results.results_table(identity(0), score(known, 0), HOW).to_pylist()
    letters, pairs = ({row["classes_digest"] for row in rows if row["benchmark"] == name} for name in NAMES)
    assert (letters, pairs) == ({digest(list(CLASSES))}, {digest([])})
    assert {row["templates_digest"] for row in rows if row["benchmark"] == "letters"} == {
        digest(list(TEMPLATES))
    }
    assert {(row["precision"], row["resize"]) for row in rows} == {("fp32", "none")}


def test_a_lost_part_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"results\.parquet is missing; delete its folder and run"):
        results.merge([tmp_path / "nothing"], tmp_path / "out")


def test_scores_without_items_give_an_empty_table_of_predictions() -> None:
    table = results.predictions_table(identity(0), Scores())
    assert table.schema == results.PREDICTIONS_SCHEMA
    assert len(table) == 0
