"""A checkpoint's numbers in our JSON and in that of CLIP_benchmark."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from rankclip import files
from rankclip.data.benchmarks import benchmark_folder
from rankclip.evaluation import checkpoint_scores
from rankclip.evaluation.asked_sets import AskedSets
from rankclip.evaluation.checkpoint_scores import CheckpointScores
from rankclip.evaluation.conditions import Conditions
from rankclip.evaluation.opening import Opened
from rankclip.evaluation.scores import Measured, Row, Scores
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import Encoder
from rankclip.spec import digest
from tests.unit.exchange.trained import write_run

SPEC = ModelSpec(name="shapes-vit")


@pytest.fixture(scope="module")
def found(pictured: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> CheckpointScores:
    folder = tmp_path_factory.mktemp("scored")
    (folder / "run").mkdir()
    run = write_run(folder / "run", SPEC)
    return checkpoint_scores.score(str(run), AskedSets(pictured, {"cars": "fetch it"}), folder, device="cpu")


def test_our_form_names_all_that_a_number_depends_on(
    found: CheckpointScores, pictured: dict[str, Path]
) -> None:
    said = json.loads(json.dumps(found.ours(), allow_nan=False))
    about = benchmark_folder.describe(pictured["digits"], "test")
    (top1,) = (row for row in said["results"] if row["metric"] == "top1")
    assert top1 == {
        "benchmark": "digits",
        "split": "test",
        "metric": "top1",
        "protocol": "zero_shot",
        "value": found.scores.value("digits", "top1", "test"),
        "data": about.digest,
        "classnames": digest(list(about.classnames)),
        "templates": digest(list(about.templates)),
    }
    assert said["checkpoint"]["sha256"] == files.sha256(Path(found.opened.name) / "model.safetensors")
    assert said["checkpoint"]["model"] == "shapes-vit"
    assert len(said["checkpoint"]["config"]) == 16
    assert (said["precision"], said["device"], said["resize"]) == (
        "fp32",
        "cpu",
        "bicubic, shortest to 32, middle",
    )
    assert said["missing"] == {"cars": "fetch it"}
    assert {"git_commit", "versions"} <= said.keys()


def measured(benchmark: str, protocol: str, **values: float) -> list[Row]:
    return [Row(benchmark, "test", Measured(name, protocol, value), "d") for name, value in values.items()]


def written(*rows: Row, classes: int = 10) -> dict[str, dict[str, object]]:
    spec = SPEC
    opened = Opened(
        Encoder(build(spec, seed=0), spec), "RN50-quickgelu:cc12m", "RN50-quickgelu", "cc12m", "c", "d"
    )
    names = {row.benchmark: classes for row in rows}
    return CheckpointScores(opened, Scores(list(rows)), Conditions("fp32", "", "cpu"), names, {}).theirs()


def test_their_form_of_a_classification_is_that_of_clip_benchmark() -> None:
    rows = measured("vtab-cifar10", "zero_shot", top1=0.5, mean_per_class=0.4, top5=0.9)
    probe = measured("vtab-cifar10", "linear_probe_cyclip", top1=0.7, mean_per_class=0.7)
    assert written(*rows, *probe) == {
        "vtab_cifar10_cc12m_RN50-quickgelu_en_zeroshot_classification.json": {
            "dataset": "wds/vtab/cifar10",
            "model": "RN50-quickgelu",
            "pretrained": "cc12m",
            "task": "zeroshot_classification",
            "metrics": {"acc1": 0.5, "acc5": 0.9, "mean_per_class_recall": 0.4},
            "language": "en",
        }
    }


@pytest.mark.parametrize(("classes", "acc5"), [(5, 1.0), (4, None)])
def test_with_few_classes_the_fifth_guess_is_as_there(classes: int, acc5: float | None) -> None:
    rows = measured("few", "zero_shot", top1=0.5, mean_per_class=0.4)
    (said,) = written(*rows, classes=classes).values()
    assert said["metrics"] == {"acc1": 0.5, "acc5": acc5, "mean_per_class_recall": 0.4}


@pytest.mark.parametrize("protocol", ["five_captions", "all_captions"])
def test_their_form_of_a_retrieval_is_that_of_clip_benchmark(protocol: str) -> None:
    third = 1 / 3
    values = {f"{way}_r{k}": third for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
    values["text_to_image_r5"] = 0.25
    other = measured("flickr30k", "one_caption", **dict.fromkeys(values, 0.9))
    (said,) = written(*measured("flickr30k", protocol, **values), *other).values()
    assert said["task"] == "zeroshot_retrieval"
    assert said["metrics"] == {
        **{f"image_retrieval_recall@{k}": float(np.float32(third)) for k in (1, 10)},
        "image_retrieval_recall@5": 0.25,
        **{f"text_retrieval_recall@{k}": float(np.float32(third)) for k in (1, 5, 10)},
    }


def test_what_has_no_value_is_null_in_json(found: CheckpointScores) -> None:
    nothing = Scores([Row("pairs", "test", Measured("image_text_spearman", "latents", math.nan), "d")])
    said = dataclasses.replace(found, scores=nothing).ours()
    assert [row["value"] for row in json.loads(json.dumps(said, allow_nan=False))["results"]] == [None]


def test_the_table_has_a_line_for_each_benchmark_and_protocol(found: CheckpointScores) -> None:
    (line,) = checkpoint_scores.lines(found.scores)
    assert line.startswith(f"digits  zero_shot  top1 {found.scores.value('digits', 'top1', 'test'):.4f}  ")


def test_the_ways_of_retrieval_have_a_line_each(found: CheckpointScores) -> None:
    values = {"image_to_text_r1": 0.5, "image_to_text_r10": 1.0, "text_to_image_r1": 0.25}
    measured = [Measured(name, "five_captions", value) for name, value in values.items()]
    rows = Scores([Row("pairs", "test", one, "d") for one in measured])
    assert checkpoint_scores.lines(rows) == [
        "pairs  five_captions  image_to_text: r1 0.5000  r10 1.0000",
        "pairs  five_captions  text_to_image: r1 0.2500",
    ]
