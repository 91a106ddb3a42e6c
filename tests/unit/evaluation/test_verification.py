"""The check against open_clip's own table."""

from __future__ import annotations

import dataclasses

import pytest

from rankclip.data.benchmarks.content import SplitName
from rankclip.evaluation import published, verification
from rankclip.evaluation.published import Published
from rankclip.evaluation.scores import Measured, Row, Scores

ROW = Published(
    "CLIP", "RN50", "CC12M", "cc12m", None, "cars", "top1", "zero_shot", 0.3647, "a table", "", ""
)


def scored(
    value: float,
    benchmark: str = "cars",
    metric: str = "top1",
    protocol: str = "zero_shot",
    split: SplitName = "test",
) -> Scores:
    return Scores([Row(benchmark, split, Measured(metric, protocol, value), "digest")])


def verdict(row: Published, scores: Scores) -> str:
    (compared,) = verification.compare([row], scores)
    return compared.verdict


def only(*present: str) -> verification.Plan:
    return verification.plan(lambda name: None if name in present else f"{name} is not there; pull it")


def test_what_is_there_is_checked_with_all_weights_and_the_rest_is_named() -> None:
    planned = only("vtab-dtd", "mscoco_captions")
    assert {check.benchmarks for check in planned.checks} == {("vtab-dtd", "mscoco_captions")}
    weights = [(check.model, check.pretrained) for check in planned.checks]
    assert {("RN50-quickgelu", "cc12m"), ("RN50-quickgelu", "yfcc15m")} <= set(weights)
    assert {model for model, tag in weights if tag == "openai"} == {
        "RN50-quickgelu",
        "ViT-B-32-quickgelu",
        "ViT-B-16-quickgelu",
    }
    assert len(weights) == len(set(weights))
    assert planned.missing["imagenet1k"] == "imagenet1k is not there; pull it"
    assert {"vtab-dtd", "mscoco_captions"}.isdisjoint(planned.missing)


def test_without_any_set_nothing_is_checked_and_all_are_missing() -> None:
    planned = only()
    assert planned.checks == ()
    assert {"imagenet1k", "flickr30k", "renderedsst2"} <= set(planned.missing)
    assert len(planned.missing) == 20


def test_what_is_checked_was_measured_under_our_protocol() -> None:
    rows = {row for check in only(*only().missing).checks for row in check.expected}
    assert rows == {row for row in published.rows() if not row.theirs}
    assert len(rows) == 300


def test_open_clip_has_these_weights_with_this_activation() -> None:
    from open_clip.pretrained import get_pretrained_cfg

    for check in only(*only().missing).checks:
        tag = get_pretrained_cfg(check.model, check.pretrained)
        assert tag, f"{check.model} has no tag {check.pretrained}"
        assert bool(tag.get("quick_gelu")) == check.model.endswith("-quickgelu")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.3647, "agrees"),
        (0.3657, "agrees"),
        (0.3637, "agrees"),
        (0.3658, "differs"),
        (0.3636, "differs"),
    ],
)
def test_a_tenth_of_a_point_is_the_limit(value: float, expected: str) -> None:
    assert verdict(ROW, scored(value)) == expected


def test_under_another_protocol_nothing_is_claimed() -> None:
    row = dataclasses.replace(ROW, theirs="their own prompts")
    assert verdict(row, scored(0.3647)) == verdict(row, scored(0.9)) == "other protocol"


@pytest.mark.parametrize(
    "scores",
    [
        Scores(),
        scored(0.3647, benchmark="vtab-pets"),
        scored(0.3647, metric="top5"),
        scored(0.3647, protocol="linear_probe_cyclip"),
        scored(0.3647, split="val"),
    ],
)
def test_only_the_same_metric_of_the_same_test_split_counts(scores: Scores) -> None:
    (compared,) = verification.compare([ROW], scores)
    assert (compared.found, compared.verdict) == (None, "not measured")


def test_five_captions_stand_in_for_all_but_not_where_both_were_measured() -> None:
    row = dataclasses.replace(ROW, metric="image_to_text_r1", protocol="all_captions")
    five = scored(0.2, metric="image_to_text_r1", protocol="five_captions")
    every = scored(0.3647, metric="image_to_text_r1", protocol="all_captions")
    assert verdict(row, five) == "differs"
    assert verdict(row, every + five) == verdict(row, five + every) == "agrees"
    assert verdict(row, scored(0.3647, metric="image_to_text_r1", protocol="one_caption")) == "not measured"


def test_the_table_for_the_terminal_has_both_numbers_and_their_difference() -> None:
    theirs = dataclasses.replace(ROW, metric="top5", theirs="their own prompts")
    absent = dataclasses.replace(ROW, metric="top3")
    scores = scored(0.3601) + scored(0.5, metric="top5")
    said = verification.lines(verification.compare([ROW, theirs, absent], scores))
    assert [" ".join(line.split()) for line in said] == [
        "benchmark metric published here points of",
        "cars top1 36.47 36.01 -0.46 CLIP, RN50, CC12M differs",
        "cars top5 36.47 50.00 +13.53 CLIP, RN50, CC12M other protocol: their own prompts",
    ]
    assert len({line.index(word) for line, word in zip(said, ("of", "CLIP", "CLIP"), strict=True)}) == 1
