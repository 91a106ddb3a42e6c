"""The report from a study's files: every number against a slow twin, and the page as a document."""

import csv
import json
import math
import re
import statistics
from collections import defaultdict
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats

from rankclip import files
from rankclip.report import ablation
from rankclip.report.spec import ReportSpec

HEADER = (
    "arm,benchmark,metric,protocol,n_seeds,mean,sd,ci_low,ci_high,diff,diff_low,diff_high,diff_sd,degrees,"
)
HEADER += "p,p_alone,family,p_adjusted"
ARMS = ("clip", "rankclip", "rankclip_shuffled")
WORDS = {"clip": "CLIP", "rankclip": "RankCLIP", "rankclip_shuffled": "shuffled control"}
ATTACK = '<script>alert("1")</script><img src=http://evil.invalid/x>'


class Page(HTMLParser):
    """Cells of every table, attributes of every element, visible text."""

    def __init__(self, markup):
        super().__init__()
        self.tables, self.elements, self.texts = [], [], []
        self._cell = None
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self._cell)
            self._cell = None

    def handle_data(self, data):
        self.texts.append(data)
        if self._cell is not None:
            self._cell += data

    @property
    def text(self):
        return " ".join(self.texts)


def twin(study, reference="clip"):
    """Level and difference by (arm, benchmark, metric), straight from the files by textbook formulas.

    A difference is (mean, standard deviation of a seed's, low, high).
    """
    values = defaultdict(dict)
    for arm in study.subject.arms:
        for row in study.rows(arm):
            if row["split"] == "test" and row["step"] == 200:
                values[arm, row["benchmark"], row["metric"]][row["seed"]] = row["value"]
    for arm in study.subject.arms:
        sets = [by_seed for key, by_seed in values.items() if key[0] == arm and key[2] == "top1"]
        values[arm, "mean", "top1"] = {
            seed: statistics.mean(each[seed] for each in sets) for seed in study.subject.seeds
        }
    expected = {}
    for (arm, *cell), by_seed in values.items():
        table = {name: values[name, *cell] for name in study.subject.arms}
        difference = regression(table, arm, reference) if arm != reference else textbook([])
        expected[arm, *cell] = (textbook(list(by_seed.values())), difference)
    return expected


def regression(table, arm, reference):
    """The difference of two arms by least squares on dummies of arms and seeds: (mean, sd, low, high)."""
    arms = [name for name in table if name != reference]
    seeds = list(table[arm])
    design = np.array(
        [
            [1.0, *(name == other for other in arms), *(seed == other for other in seeds[1:])]
            for name in table
            for seed in seeds
        ]
    )
    scores = np.array([table[name][seed] for name in table for seed in seeds])
    weights, (squares,), *_ = np.linalg.lstsq(design, scores)
    degrees = len(scores) - design.shape[1]
    place = 1 + arms.index(arm)
    error = math.sqrt(squares / degrees * np.linalg.inv(design.T @ design)[place, place])
    low, high = stats.t.interval(0.95, degrees, weights[place], error)
    return (float(weights[place]), error * math.sqrt(len(seeds)), float(low), float(high))


def textbook(values):
    """(mean, sd, low, high)."""
    if not values:
        return (math.nan,) * 4
    mean = statistics.mean(values)
    if len(values) == 1:
        return (mean, math.nan, math.nan, math.nan)
    sd = statistics.stdev(values)
    low, high = stats.t.interval(0.95, len(values) - 1, mean, sd / math.sqrt(len(values)))
    return (mean, sd, float(low), float(high))


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def percent(value, signed=False):
    if math.isnan(value):
        return "–"
    return f"{100 * value:{'+' if signed else ''}.1f}".replace("-", "−")


def test_the_csv_holds_what_textbook_formulas_give(reported):
    expected = twin(reported)
    found = read_csv(reported.out / "ablation.csv")
    assert (reported.out / "ablation.csv").read_text().splitlines()[0] == HEADER
    assert len(found) == len(expected)
    for row in found:
        level, difference = expected[row["arm"], row["benchmark"], row["metric"]]
        numbers = [float(row[name]) for name in ("mean", "sd", "ci_low", "ci_high")]
        assert numbers == pytest.approx(level, abs=1e-12)
        numbers = [float(row[name]) for name in ("diff", "diff_low", "diff_high")]
        assert numbers == pytest.approx((difference[0], *difference[2:]), abs=1e-12, nan_ok=True)
        assert float(row["diff_sd"]) == pytest.approx(difference[1], abs=1e-12, nan_ok=True)
        assert row["n_seeds"] == "3"


def test_the_differences_to_the_control_are_in_their_own_file(reported):
    expected = twin(reported, reference="rankclip_shuffled")
    rows = read_csv(reported.out / "control.csv")
    assert {row["arm"] for row in rows} == {"rankclip"}
    for row in rows:
        difference = expected["rankclip", row["benchmark"], row["metric"]][1]
        assert float(row["diff"]) == pytest.approx(difference[0], abs=1e-12)
        assert float(row["diff_low"]) == pytest.approx(difference[2], abs=1e-12)


def test_the_tables_of_the_page_hold_what_textbook_formulas_give(reported):
    page = Page(reported.page)
    expected = twin(reported)
    rows = [row for row in page.tables[0][1:] if row]
    benchmark = None
    seen = 0
    for row in rows:
        benchmark, cells = (row[0], row[1:]) if len(row) == 8 else (benchmark, row)
        name = "mean" if benchmark.startswith("mean over") else benchmark.removesuffix("top-1, zero-shot")
        arm = next(arm for arm, words in WORDS.items() if words == cells[0])
        if (arm, name, "top1") not in expected:
            continue
        level, difference = expected[arm, name, "top1"]
        assert cells[2:4] == [percent(level[0]), percent(level[1])]
        assert cells[4] == f"{percent(level[2])} to {percent(level[3])}"
        assert cells[5] == percent(difference[0], signed=True)
        seen += 1
    assert seen == 4 * len(ARMS)


def test_the_headline_states_both_differences_with_their_intervals(reported):
    page = reported.page
    to_clip = twin(reported)["rankclip", "mean", "top1"][1]
    to_control = twin(reported, "rankclip_shuffled")["rankclip", "mean", "top1"][1]
    for mean, _, low, high in (to_clip, to_control):
        inside = "zero is inside" if low <= 0 <= high else "zero is outside"
        words = f"95 % interval {percent(low, True)} to {percent(high, True)}, 3 paired seeds, {inside}"
        assert words in page
        assert f"{percent(mean, True)} points" in page
    numbers = files.read_json(reported.out / "headline.json")
    assert numbers["minus_baseline"]["low"] == pytest.approx(to_clip[2])
    assert numbers["minus_control"]["high"] == pytest.approx(to_control[3])
    assert numbers["mean_top1"]["clip"]["mean"] == pytest.approx(twin(reported)["clip", "mean", "top1"][0][0])


def test_only_the_last_step_of_the_test_split_counts(study):
    rows = study.rows("clip")
    spoiled = [
        {**row, "value": 0.0} if row["split"] == "val" or row["step"] < 200 else row
        for row in rows
        if row["split"] == "test" or row["step"] < 200
    ]
    expected = twin(study)["clip", "shape", "top1"][0]
    study.write_rows("clip", spoiled)
    study.report()
    row = next(
        row
        for row in read_csv(study.out / "ablation.csv")
        if (row["arm"], row["benchmark"], row["metric"]) == ("clip", "shape", "top1")
    )
    assert float(row["mean"]) == pytest.approx(expected[0], abs=1e-12)


def test_chance_is_one_over_the_number_of_classes(reported):
    page = Page(reported.page)
    cells = {row[0]: row[2] for row in page.tables[0][1:] if len(row) == 8}
    assert cells["shapetop-1, zero-shot"] == "8.3"
    assert cells["compositiontop-1, zero-shot"] == "4.2"
    assert cells["captionsimage to text, R@1, five captions"] == "–"


def test_every_input_row_is_in_the_download_report(reported):
    page = Page(reported.page)
    rows = next(table for table in page.tables if table[0][0] == "reason")[1:]
    assert [row[:4] for row in rows] == [
        ["ok", "–", "7", "53.85 %"],
        ["http_404", "download", "4", "30.77 %"],
        ["bad_scheme", "ingest", "2", "15.38 %"],
    ]
    assert "13 input rows = 13, the sum of all reasons (7 ok + 6 left out)" in page.text


def test_the_page_asks_nothing_of_any_other_place(reported):
    markup = reported.page
    page = Page(markup)
    assert "http://" not in markup
    assert "https://" not in markup
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert "url(" not in markup.split("<svg")[0]


def test_identifiers_on_the_page_are_unique_and_references_find_them(reported):
    page = Page(reported.page)
    found = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    used = [attributes["xlink:href"][1:] for tag, attributes in page.elements if tag == "use"]
    assert len(found) == len(set(found))
    assert used
    assert set(used) <= set(found)


def test_captions_and_names_cannot_become_markup(make):
    captions = (ATTACK, "a\u202eb\x00c\nd", "x" * 5000)
    study = make(arms=("clip", "<b>&$x$"), captions=captions)
    page = Page(study.report())
    assert [tag for tag, _ in page.elements].count("script") == 0
    assert [tag for tag, _ in page.elements].count("b") == 2  # a tile for each arm has one
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert [each["alt"] for each in images[:2]] == [ATTACK, "a�b�c�d"]
    assert all(each["src"].startswith("data:") for each in images)
    assert "<b>&$x$" in page.text
    assert "&lt;b>" in (study.out / "ablation.md").read_text()


def test_a_study_without_claims_says_so_and_draws_no_conclusion(make, reported):
    study = make(claims=False)
    study.report()
    verdict = re.search(r'class="verdict">([^<]+)<', reported.page)[1]
    for name in ("index.html", "ablation.md"):
        modest, proud = ((each.out / name).read_text() for each in (study, reported))
        assert "This study proves the pipeline and claims nothing" in modest
        assert "claims nothing" not in proud
        assert verdict in proud
        assert verdict not in modest


def test_one_seed_has_no_interval_over_seeds_and_says_so(make, reported):
    study = make(seeds=(5,))
    page = study.report()
    assert "(1 seed, so no interval)" in page
    assert "One seed gives no interval, so nothing follows about the methods." in page
    assert "95 % interval" not in Page(page).text.split("Benchmarks")[0]
    rows = read_csv(study.out / "ablation.csv")
    assert {row[name] for row in rows for name in ("sd", "ci_low", "ci_high", "diff_low")} == {"nan"}
    assert files.read_json(study.out / "headline.json")["minus_baseline"]["low"] is None
    assert "One run, over test examples" in page
    assert "One run, over test examples" not in reported.page


def test_one_arm_is_reported_without_differences(make):
    page = make(arms=("siglip",)).report()
    assert "siglip reaches" in page
    assert "There is no second arm to compare with." in page


def test_the_longest_study_keeps_all_its_arms(make):
    arms = ("clip", "rankclip", "rankclip_shuffled", *(f"arm_{index}" for index in range(9)))
    study = make(arms=arms, seeds=(1, 2))
    page = Page(study.report())
    assert {row["arm"] for row in read_csv(study.out / "ablation.csv")} == set(arms)
    assert all(arm in page.text for arm in arms[3:])


def test_equal_files_give_an_equal_report(study):
    study.report()
    first = {path.name: path.read_bytes() for path in study.out.iterdir()}
    study.report()
    assert {path.name: path.read_bytes() for path in study.out.iterdir()} == first


def test_links_above_the_report_lead_to_the_latest_one(study):
    study.out.parent.mkdir(parents=True)
    (study.out.parent / "index.html").symlink_to("another/index.html")
    study.report()
    for name in ("index.html", "ablation.csv", "ablation.md"):
        link = study.out.parent / name
        assert link.is_symlink()
        assert not link.readlink().is_absolute()
        assert link.read_bytes() == (study.out / name).read_bytes()
    assert len(list(study.out.parent.iterdir())) == 4


def test_the_contact_sheet_is_spread_over_the_whole_data_set(make):
    study = make(samples=100, captions=tuple(f"caption {index}" for index in range(100)))
    study.spec = ReportSpec(baseline="clip", contact_images=4)
    images = [attributes["alt"] for tag, attributes in Page(study.report()).elements if tag == "img"]
    assert images == ["caption 0", "caption 25", "caption 50", "caption 75"]


def test_the_curves_hold_every_logged_point(reported):
    rows = read_csv(reported.out / "curves.csv")
    logged = [
        json.loads(line) for line in (reported.run("clip", 0) / "metrics.jsonl").read_text().splitlines()
    ]
    losses = {line["step"]: line["loss"] for line in logged if "loss" in line}
    means = {line["step"]: line["val/mean_top1"] for line in logged if "val/mean_top1" in line}
    mine = [row for row in rows if (row["arm"], row["seed"]) == ("clip", "0")]
    assert {int(row["step"]): float(row["loss"]) for row in mine} == losses
    assert {int(r["step"]): float(r["val_mean_top1"]) for r in mine if r["val_mean_top1"]} == means


def test_the_merged_results_are_the_arms_results(reported):
    merged = files.read_table(reported.out / "results.parquet").to_pylist()
    assert merged == [row for arm in ARMS for row in reported.rows(arm)]


def test_the_header_is_the_published_one():
    assert ",".join(ablation.HEADER) == HEADER
