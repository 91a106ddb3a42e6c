"""What docs/evaluation.md names exists: sets, protocols, files, weights and published numbers."""

from __future__ import annotations

import re

import pytest
from code_imports import ROOT

from rankclip.data.benchmarks import judged, places
from rankclip.data.benchmarks.public_sets import SETS
from rankclip.evaluation import geometry, graded, linear_probe, published, retrieval, similarity, verification
from rankclip.evaluation.choices import SUGARCREPE
from rankclip.evaluation.scores import ZERO_SHOT

PAGE = (ROOT / "docs" / "evaluation.md").read_text()
PROTOCOLS = {
    ZERO_SHOT,
    *retrieval.PROTOCOLS,
    "graded",
    similarity.LATENTS,
    similarity.SAMPLED,
    similarity.ALL_PAIRS,
    graded.ECCV,
    SUGARCREPE,
    geometry.GEOMETRY,
    geometry.CONSISTENCY,
    linear_probe.CYCLIP,
    linear_probe.LOGISTIC,
    "linear_probe_16shot",
}


def test_every_protocol_has_its_line() -> None:
    (table,) = re.findall(r"\| Protocol \|.*?\n\n", PAGE, re.DOTALL)
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert set(named) == PROTOCOLS
    assert len(named) == len(PROTOCOLS)


def test_a_set_of_a_command_can_be_had() -> None:
    asked = " ".join(re.findall(r"--benchmarks (\S+)", PAGE)).replace(",", " ").split()
    for command in re.findall(r"^rankclip data benchmarks (?:pull|verify)([^#\n]*)", PAGE, re.MULTILINE):
        asked += re.sub(r"--split \w+|--\w+", "", command).split()
    names = {name for name in asked if "/" not in name}
    assert names <= set(SETS) | set(judged.NAMES)
    assert {"vtab-cifar10", "imagenet1k", "flickr30k", "mscoco_captions"} <= names


@pytest.mark.parametrize("name", judged.NAMES)
def test_the_page_says_where_the_parts_of_a_judged_set_lie(name: judged.Name) -> None:
    assert all(f"{part}/" in PAGE or part in PAGE for part in judged.NEEDED[name])


def test_the_page_tells_the_folder_of_published_sets() -> None:
    assert places.PLACE in PAGE


def test_weights_of_the_page_are_among_those_that_are_checked() -> None:
    checked = {f"{check.model}:{check.pretrained}" for check in verification.plan(lambda _: None).checks}
    named = set(re.findall(r"rankclip evaluate (\S+:\S+)", PAGE))
    assert named
    assert named <= checked
    assert f"{len(checked)} models" in PAGE


@pytest.mark.parametrize(
    ("quoted", "benchmark", "metric", "protocol"),
    [
        ("36.47", "imagenet1k", "top1", "zero_shot"),
        ("32.6", "mscoco_captions", "image_to_text_r1", "one_caption"),
        ("50.1", "mscoco_captions", "image_to_text_r1", "all_captions"),
    ],
)
def test_a_number_of_the_page_is_a_published_one(
    quoted: str, benchmark: str, metric: str, protocol: str
) -> None:
    digits = len(quoted.split(".")[1])
    values = {f"{100 * row.value:.{digits}f}" for row in published.beside(benchmark, metric, protocol)}
    assert quoted in PAGE
    assert quoted in values


def test_the_tolerance_of_the_page_is_that_of_the_check() -> None:
    assert f"more than {100 * verification.TOLERANCE:g} points off" in PAGE
