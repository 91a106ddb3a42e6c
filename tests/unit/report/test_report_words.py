"""What the page says in words: of what is not there, of families, of directions, and in which order."""

import re

import pyarrow as pa
import pytest

from rankclip import files
from rankclip.report.ablation import Roles
from rankclip.report.spec import ReportSpec
from rankclip.report.style import arm_colours

SEVERITY = "mistake_severity"


def with_severity(study, lacking=()):
    """Adds the severity of mistakes on one set to every run but those `lacking` it."""
    for arm in study.subject.arms:
        rows = study.rows(arm)
        more = [
            row | {"metric": SEVERITY, "value": 1.5 + row["value"] / 10}
            for row in rows
            if (row["benchmark"], row["metric"]) == ("shape", "top1") and (arm, row["seed"]) not in lacking
        ]
        study.write_rows(arm, rows + more)


def test_a_run_without_a_mistake_has_no_severity_and_the_report_says_so(study):
    with_severity(study, lacking={("rankclip", 1)})
    page = study.report()
    said = "shape: mistake severity has no value for a run without a mistake, so it is not compared"
    assert f"<li>{said}</li>" in page
    assert f"- {said}" in (study.out / "ablation.md").read_text()
    assert SEVERITY not in (study.out / "ablation.csv").read_text()


def test_where_less_is_better_the_page_says_it(study):
    with_severity(study)
    page = study.report()
    assert "mistake severity, less is better, zero-shot" in page
    assert "so it is not compared" not in page


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_what_no_seed_shows_is_not_a_table_of_dashes(make, seeds):
    page = make(arms=("clip", "rankclip"), seeds=seeds).report()
    assert ("0 comparisons" in page) is False
    assert ("– to –" in page) is False
    assert ("<h3>Over seeds</h3>" in page) == (len(seeds) > 1)
    assert ("so nothing is known of differences" in page) == (len(seeds) == 1)


def test_an_arm_that_every_seed_scores_alike_has_no_interval_and_the_page_says_why(study):
    rows = study.rows("clip")
    for row in rows:
        row["value"] = row["value"] if row["metric"] != "top1" else 0.5
    study.write_rows("clip", rows)
    items = files.read_table(study.predictions("clip")).to_pylist()
    for item in items:
        item["value"] = float(item["item"] % 2)
    files.write_table(study.predictions("clip"), pa.Table.from_pylist(items))
    page = study.report()
    assert "50.0 to 50.0" not in page
    assert "equal for all seeds, no interval" in page


def test_the_control_has_a_family_of_its_own_and_the_page_names_it(reported):
    part = reported.page.split("RankCLIP minus shuffled control</h3>")[1]
    assert "the 6 comparisons of this table beside its mean (Holm)" in part.split("<table")[0]
    assert "read only where the headline stands" in part.split("<table")[0]


def test_the_page_tells_whom_an_interval_is_of(reported):
    assert "what other seeds would do on these test examples" in reported.page
    assert "It says nothing about another seed." in reported.page
    assert "Intervals of the plot are each by itself, before correction." in reported.page


def test_of_few_comparisons_less_than_one_is_expected_by_chance(study):
    page = study.report()
    assert re.search(r"if nothing differed, 0\.65 would on average\.", page)


def test_wide_intervals_are_as_wide_as_the_level_makes_them(make):
    study = make(arms=("clip", "rankclip"), seeds=(0, 1))
    assert (
        "12.7 standard errors wide on each side; a third seed or a third arm makes that 4.3" in study.report()
    )
    study.spec = ReportSpec(**{**study.spec.dump(), "level": 0.9})
    assert (
        "6.3 standard errors wide on each side; a third seed or a third arm makes that 2.9" in study.report()
    )


def test_the_answer_stands_before_its_numbers(reported):
    page = reported.page
    assert page.index('class="verdict"') < page.index('class="headline"') < page.index('class="tiles"')


def test_twelve_arms_have_twelve_colours():
    arms = ["clip", "rankclip", "rankclip_shuffled", *(f"arm_{place}" for place in range(9))]
    colours = arm_colours(arms, Roles("clip", "rankclip", "rankclip_shuffled"))
    assert list(colours) == arms
    assert len(set(colours.values())) == 12


def test_without_correction_the_markdown_table_says_that_there_is_none(study):
    study.spec = ReportSpec(**{**study.spec.dump(), "correction": "none"})
    study.report()
    text = (study.out / "ablation.md").read_text()
    assert "bold ones leave zero out, each by itself: among many, some do so by chance" in text
    assert "after correction" not in text
    assert files.read_json(study.out / "headline.json")["n_benchmarks"] == 3
