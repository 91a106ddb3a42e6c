"""What the report claims, what it warns of, and what it says it could not measure or detect."""

import csv
import math
import re
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from rankclip import files
from rankclip.errors import DataError
from rankclip.evaluation.statistics.power import smallest_difference
from rankclip.report import noise
from rankclip.report.spec import ReportSpec

SETS = ("shape", "composition", "digits")
RECALL = "image_to_text_r1"


def read(study, name):
    with (study.out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def change(study, changed, arms=None):
    """Rewrites the results, `changed(row)` giving the new rows of one, and predictions of the same means."""
    for arm in arms or study.subject.arms:
        rows = [new for row in study.rows(arm) for new in changed(row)]
        study.write_rows(arm, rows)
        top1 = [row for row in rows if row["metric"] == "top1" and row["split"] == "test"]
        items = [
            {name: row[name] for name in ("arm", "seed", "step", "benchmark", "split", "protocol", "metric")}
            | {"item": item, "target": item // 5, "prediction": 0, "value": min(1.0, max(0.0, share))}
            for row in top1
            for item, share in enumerate(np.arange(row["value"] * 40, row["value"] * 40 - 40, -1))
        ]
        files.write_table(study.predictions(arm), pa.Table.from_pylist(items))


def holm(p):
    """Holm's adjusted p-values, the slow way."""
    return [min(1.0, max(min(1.0, sum(other >= q for other in p) * q) for q in p if q <= each)) for each in p]


def test_each_family_of_comparisons_is_corrected_by_itself(reported):
    families = defaultdict(list)
    for row in read(reported, "ablation.csv"):
        assert (row["p"] == "nan") == (row["arm"] == "clip") == (row["p_adjusted"] == "nan")
        if row["arm"] != "clip":
            families[row["family"]].append(row)
    assert {name: len(rows) for name, rows in families.items()} == {
        "headline": 1,
        "benchmarks": 1 + 2 * (len(SETS) + 3),
        "others": 2 * (len(SETS) + 1),
    }
    for rows in families.values():
        expected = holm([float(row["p"]) for row in rows])
        assert [float(row["p_adjusted"]) for row in rows] == pytest.approx(expected)
    (only,) = families["headline"]
    assert (only["arm"], only["benchmark"], only["p"]) == ("rankclip", "mean", only["p_adjusted"])


def test_bold_stands_after_correction_and_dotted_only_by_itself(study):
    page = study.report()
    kinds = {"sure": 0, "alone": 0}
    for row in read(study, "ablation.csv"):
        if row["family"] in ("headline", "benchmarks") and row["arm"] != "clip":
            kinds["sure"] += float(row["p_adjusted"]) < 0.05
            kinds["alone"] += float(row["p"]) < 0.05 <= float(row["p_adjusted"])
    assert kinds["sure"]
    assert kinds["alone"]
    first = page.split("<h3>Differences")[0]
    for kind, count in kinds.items():
        assert first.count(f'class="n {kind}"') == 2 * count
    named = re.search(r"<li>Of 13 comparisons on benchmarks, (.*?) leave zero out alone", page)[1]
    assert len(named.split(";")) == kinds["alone"]


def test_without_correction_every_difference_stands_by_itself(study):
    study.spec = ReportSpec(**{**study.spec.dump(), "correction": "none"})
    page = study.report()
    assert all(row["p"] == row["p_adjusted"] for row in read(study, "ablation.csv"))
    assert 'class="n alone"' not in page
    assert "among many, some do so by chance" in page


def test_what_only_describes_is_shown_in_its_unit_and_never_claimed(study):
    def with_geometry(row):
        yield row
        if (row["benchmark"], row["metric"]) == ("captions", RECALL):
            gap = 0.8 + 0.1 * (row["arm"] == "rankclip") + 0.0001 * row["value"]
            yield row | {"metric": "modality_gap", "protocol": "geometry", "value": gap}
            yield row | {"metric": "image_to_text_median_rank", "value": 12.5 + row["value"] / 1e3}

    change(study, with_geometry)
    page = study.report()
    rows = [row for row in read(study, "ablation.csv") if row["protocol"] == "geometry"]
    assert {(row["family"], row["p_adjusted"]) for row in rows} == {("described", "nan")}
    assert float(next(row["p"] for row in rows if row["arm"] == "rankclip")) < 1e-3
    assert '<td class="n">0.8</td>' in page
    assert '<td class="n">+0.1</td>' in page
    assert '<td class="n">12.5</td>' in page


def test_one_metric_under_several_protocols_is_kept_apart(study):
    def with_probe(row):
        yield row
        if row["metric"] == "top1":
            yield row | {
                "protocol": "linear_probe_cyclip",
                "value": row["value"] + 0.3,
                "data_digest": "both",
            }

    change(study, with_probe)
    study.report()
    means = {
        (row["arm"], row["protocol"]): float(row["mean"])
        for row in read(study, "ablation.csv")
        if row["benchmark"] == "mean"
    }
    assert len(means) == 6
    for arm in study.subject.arms:
        assert means[arm, "linear_probe_cyclip"] == pytest.approx(means[arm, "zero_shot"] + 0.3)
    level = files.read_json(study.out / "headline.json")["mean_top1"]["clip"]["mean"]
    assert level == pytest.approx(means["clip", "zero_shot"])
    assert "top-1, linear probe cyclip" in study.page


def test_a_probe_alone_is_no_zero_shot_headline(study):
    change(study, lambda row: [row | {"protocol": "linear_probe_cyclip"}])
    with pytest.raises(DataError, match=r"no benchmark reports top1 \(zero_shot\) on its test split"):
        study.report()


def test_benchmarks_that_were_not_there_are_named(study):
    study.write_manifest({"imagenet1k": "pull it with <b>"})
    page = study.report()
    assert "Not measured, because not there: 1 benchmark of the study." in page
    assert "<li>imagenet1k: pull it with &lt;b&gt;</li>" in page
    assert "- imagenet1k: pull it with &lt;b>" in (study.out / "ablation.md").read_text()


def test_a_manifest_that_is_missing_or_of_another_form_is_refused(study):
    path = study.data / "benchmarks" / "manifest.json"
    files.write_json(path, {"benchmarks": ["shape"]})
    with pytest.raises(DataError, match=r"manifest\.json does not list the benchmarks .* -s benchmarks`"):
        study.report()
    path.unlink()
    with pytest.raises(DataError, match=r"manifest\.json is missing; run `dvc repro -f -s benchmarks`"):
        study.report()


def test_published_values_stand_beside_ours_with_their_protocol(study):
    change(study, lambda row: [row | {"benchmark": row["benchmark"].replace("digits", "imagenet1k")}])
    page = study.report()
    table = page.split("<h2>Published values</h2>")[1]
    assert "CLIP, RN50-quickgelu, CC12M" in table
    assert "other people&#x27;s: " in table
    best = max(
        float(row["mean"])
        for row in read(study, "ablation.csv")
        if (row["benchmark"], row["metric"]) == ("imagenet1k", "top1")
    )
    assert f'<td class="n">{100 * best:.1f}</td></tr>' in table


def test_without_known_benchmarks_nothing_published_is_shown(reported):
    assert "Published values" not in reported.page


def test_the_smallest_difference_is_that_of_the_pooled_spread(reported):
    found = {(row["benchmark"], row["metric"]): row for row in read(reported, "precision.csv")}
    rows = {
        (row["benchmark"], row["metric"]): row
        for row in read(reported, "ablation.csv")
        if row["arm"] == "rankclip"
    }
    assert found.keys() == rows.keys()
    for cell, row in found.items():
        among = {"headline": 1, "benchmarks": 13, "others": 8}[rows[cell]["family"]]
        sd = float(rows[cell]["diff_sd"])
        expected = smallest_difference(3, sd, level=1 - 0.05 / among, arms=3)
        assert float(row["detectable"]) == pytest.approx(expected)
        assert (int(row["comparisons"]), int(row["degrees"])) == (among, 4)
    least = files.read_json(reported.out / "headline.json")["detectable"]
    assert least == pytest.approx(float(found["mean", "top1"]["detectable"]))
    said = "With 3 seeds of 3 arms the smallest true difference that is found with probability 0.8 is "
    assert f"{said}{100 * least:.1f} points" in reported.page


def test_differences_on_equal_examples_are_those_of_the_arms_means(reported):
    rows = read(reported, "examples.csv")
    over = {(row["arm"], row["benchmark"]): row for row in rows if row["seed"] == "all"}
    assert {row["seed"] for row in rows} == {"all", "0", "1", "2"}
    ablation = {
        (row["arm"], row["benchmark"]): row
        for row in read(reported, "ablation.csv")
        if row["metric"] == "top1"
    }
    assert over.keys() == ablation.keys()
    for key, row in over.items():
        assert float(row["mean"]) == pytest.approx(float(ablation[key]["mean"]), abs=1e-6)
        assert float(row["diff"]) == pytest.approx(float(ablation[key]["diff"]), abs=1e-6, nan_ok=True)
    parts = [over["rankclip", name] for name in SETS]
    widths = [float(part["high"]) - float(part["low"]) for part in parts]
    mean = float(over["rankclip", "mean"]["high"]) - float(over["rankclip", "mean"]["low"])
    # benchmarks are resampled independently of each other
    assert mean == pytest.approx(math.hypot(*widths) / len(widths), rel=0.15)


def test_captions_of_one_image_are_resampled_together(study):
    def as_recall(row):
        yield row
        if row["metric"] == "top1" and row["benchmark"] == "digits":
            for way in ("image_to_text", "text_to_image"):
                yield row | {"benchmark": "pairs", "metric": f"{way}_r1", "protocol": "all_captions"}

    change(study, as_recall)
    for arm in study.subject.arms:
        table = files.read_table(study.predictions(arm)).to_pylist()
        pairs = [
            row | {"benchmark": "pairs", "metric": f"{way}_r1", "protocol": "all_captions"}
            for row in table
            if row["benchmark"] == "digits"
            for way in ("image_to_text", "text_to_image")
        ]
        files.write_table(study.predictions(arm), pa.Table.from_pylist(table + pairs))
    study.report()
    widths = {
        row["metric"]: float(row["high"]) - float(row["low"])
        for row in read(study, "examples.csv")
        if (row["arm"], row["seed"], row["benchmark"]) == ("clip", "all", "pairs")
    }
    assert widths["text_to_image_r1"] > 1.5 * widths["image_to_text_r1"]


def test_predictions_of_different_examples_are_not_paired(study):
    rows = files.read_table(study.predictions("rankclip")).to_pylist()
    files.write_table(study.predictions("rankclip"), pa.Table.from_pylist(rows + rows))
    with pytest.raises(
        DataError, match=r"on shape .* of different numbers of examples \(clip 40, rankclip 80, "
    ):
        study.report()


def test_two_arms_of_two_seeds_and_one_seed_are_warned_of(make):
    pair = make(arms=("clip", "rankclip"), seeds=(0, 1)).report()
    assert "known from one degree of freedom" in pair
    single = make(arms=("clip", "rankclip"), seeds=(0,)).report()
    assert "One seed an arm: every difference may be the seed" in single


def test_a_gain_that_other_examples_could_turn_is_warned_of(study):
    # sure over seeds, since every seed gains the same one example of forty
    def steady(row):
        gains = row["arm"] == "rankclip" and row["benchmark"] == "shape"
        yield row | {"value": 0.5 + (0.025 + 0.001 * row["seed"] if gains else 0.0)}

    change(study, steady)
    page = study.report()
    assert (
        "RankCLIP is better than CLIP on these test examples, by less than other examples could change"
        in page
    )
    assert "Sure over seeds and inside the noise of test examples" in page


def test_an_arm_that_varies_more_than_the_others_is_warned_of(make):
    arms = ("clip", "rankclip", *(f"arm_{index}" for index in range(6)))
    study = make(arms=arms, seeds=(0, 1, 2, 3))

    def noisy(row):
        wild = 0.1 + 0.1 * (-1) ** row["seed"] if row["arm"] == "rankclip" else 0.0
        yield row | {"value": 0.5 + wild + (row["value"] - 0.4) / 10}

    change(study, noisy)
    page = study.report()
    assert "while these two vary more from seed to seed: RankCLIP on the mean" in page
    row = next(
        row for row in read(study, "ablation.csv") if (row["arm"], row["benchmark"]) == ("rankclip", "mean")
    )
    assert float(row["p"]) < 0.05 < float(row["p_alone"])
    assert f"by themselves they differ with p = {float(row['p_alone']):.2g}." in page


def test_every_correction_has_a_name_in_prose():
    choices = ReportSpec.model_json_schema()["properties"]["correction"]["enum"]
    assert set(noise.NAMES) == set(choices)
