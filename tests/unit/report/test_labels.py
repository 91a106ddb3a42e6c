"""How names and numbers are written for a reader."""

import math

import pytest

from rankclip.evaluation.statistics.estimate import Estimate
from rankclip.report import labels
from rankclip.report.scores import Source

SHARE = Source("top1", "zero_shot")
GAP = Source("modality_gap", "geometry")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("top1", "top-1"),
        ("image_to_text_r1", "image to text, R@1"),
        ("text_to_image_true_r1", "text to image, any true match, R@1"),
        ("image_to_text_ndcg10 (graded)", "image to text, nDCG@10 (graded)"),
        ("text_to_image_map_at_r", "text to image, mAP@R"),
        ("image_to_text_r_precision", "image to text, R-precision"),
        ("image_text_spearman", "image-text Spearman x 100"),
        ("mean_per_class", "mean per class"),
        ("text_to_image_median_rank", "text to image, median rank, less is better"),
        ("mistake_severity", "mistake severity, less is better"),
        ("in_modal_tau", "in-modal, Kendall's tau x 100"),
        ("cross_modal_top10", "cross-modal, overlap of the first 10"),
        ("modality_gap", "modality gap"),
    ],
)
def test_metrics_have_the_names_of_the_field(name, words):
    assert labels.metric(name) == words


@pytest.mark.parametrize(
    ("value", "source", "signed", "written"),
    [
        (0.1234, SHARE, False, "12.3"),
        (0.1234, SHARE, True, "+12.3"),
        (-0.00001, SHARE, True, "0.0"),
        (0.8123, GAP, False, "0.812"),
        (-0.01234, GAP, True, "−0.0123"),
        (12.5, Source("image_to_text_median_rank", "five_captions"), False, "12.5"),
        (1.75, Source("mistake_severity", "zero_shot"), True, "+1.75"),
        (math.nan, GAP, False, "–"),
        (1234.5, Source("image_to_text_median_rank", "five_captions"), False, "1,234"),
        (-1234.5, Source("image_to_text_median_rank", "five_captions"), True, "−1,234"),
    ],
)
def test_shares_are_percent_and_other_numbers_are_themselves(value, source, signed, written):
    assert labels.value(value, source, signed) == written


def test_an_interval_has_the_unit_of_its_metric():
    estimate = Estimate(3, 0.5, 0.1, -0.25, 0.75)
    assert labels.interval(estimate) == "−25.0 to 75.0"
    assert labels.interval(estimate, signed=True, source=GAP) == "−0.25 to +0.75"
    assert labels.interval(Estimate(1, 0.5, math.nan, math.nan, math.nan), source=GAP) == "–"


@pytest.mark.parametrize(
    ("source", "describes"),
    [(SHARE, False), (GAP, True), (Source("image_text_spearman_sd", "crisscrossed_sampled"), True)],
)
def test_what_only_describes_is_told_from_scores(source, describes):
    assert labels.describes(source) is describes


@pytest.mark.parametrize(
    ("p", "written"), [(0.034, "0.034"), (1.0, "1"), (1e-7, "< 0.0001"), (math.nan, "–")]
)
def test_probabilities_have_two_digits(p, written):
    assert labels.probability(p) == written


def test_correlations_have_two_decimals():
    written = [labels.coefficient(value) for value in (0.456, -0.1, -0.001, math.nan)]
    assert written == ["0.46", "−0.10", "0.00", "–"]


def test_a_narrow_interval_has_a_second_decimal():
    narrow, wide = (Estimate(3, 0.001, 0.1, 0.001 - half, 0.001 + half) for half in (0.0008, 0.08))
    assert [labels.decimals(each) for each in (narrow, wide)] == [2, 1]
    assert labels.percent(0.0004, signed=True, decimals=2) == "+0.04"
    assert labels.percent(-0.00004, signed=True, decimals=2) == "0.00"
    assert labels.interval(narrow, signed=True, decimals=2) == "+0.02 to +0.18"
    assert labels.decimals(Estimate(1, 0.5, math.nan, math.nan, math.nan)) == 1
