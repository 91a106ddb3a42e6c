"""Published numbers: what is in the table, what stands beside what."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from rankclip.data.benchmarks.public_sets import SETS
from rankclip.errors import DataError
from rankclip.evaluation import published
from rankclip.evaluation.published import Published

OPEN_CLIP = "mlfoundations/open_clip 0a1cc15, docs/openclip_results.csv"


def one(benchmark: str, metric: str, method: str, model: str, data: str, protocol: str) -> float:
    """The only such number, in percent."""
    found = published.beside(benchmark, metric, protocol, model=model, data=data)
    (row,) = (row for row in found if row.method == method)
    return 100 * row.value


@pytest.mark.parametrize(
    ("benchmark", "metric", "method", "model", "data", "protocol", "percent"),
    [
        ("imagenet1k", "top1", "RankCLIP", "ViT-B-32", "CC3M", "zero_shot", 10.16),
        ("imagenet1k", "top5", "RankCLIP", "RN50", "YFCC15M", "zero_shot", 57.6),
        ("imagenet-r", "top3", "ALIP", "ViT-B-32", "CC3M", "zero_shot", 20.27),
        ("imagenetv2-top", "top1", "CyCLIP", "ViT-B-32", "CC3M", "zero_shot", 11.20),
        ("imagenet1k", "top1", "CyCLIP", "RN50", "CC3M", "zero_shot", 18.68),
        ("stl10", "top1", "CyCLIP", "RN50", "CC3M", "linear_probe_cyclip", 90.42),
        ("mscoco_captions", "text_to_image_r1", "CyCLIP", "RN50", "CC3M", "all_captions", 15.97),
        ("flickr30k", "text_to_image_r10", "CyCLIP", "RN50", "CC3M", "five_captions", 68.82),
        ("mscoco_captions", "text_to_image_r5", "RankCLIP", "ViT-B-32", "CC3M", "one_caption", 10.28),
        ("imagenet1k", "top1", "COSMOS", "ViT-B-16", "CC12M", "zero_shot", 51.4),
        ("flickr30k", "image_to_text_r1", "FLAIR", "ViT-B-16", "CC3M", "five_captions", 78.7),
    ],
)
def test_a_number_is_the_one_that_was_printed(
    benchmark: str, metric: str, method: str, model: str, data: str, protocol: str, percent: float
) -> None:
    assert one(benchmark, metric, method, model, data, protocol) == pytest.approx(percent)


@pytest.mark.parametrize(
    ("model", "method", "mean"),
    [
        ("ViT-B-32", "CLIP", 52.0),
        ("ViT-B-32", "CyCLIP", 51.2),
        ("ViT-B-32", "ALIP", 48.7),
        ("ViT-B-32", "RankCLIP", 52.3),
        ("RN50", "CLIP", 59.4),
        ("RN50", "CyCLIP", 60.0),
    ],
)
def test_linear_probes_have_the_mean_that_their_authors_give(model: str, method: str, mean: float) -> None:
    values = [
        row.value
        for row in published.rows()
        if (row.protocol, row.model, row.method) == ("linear_probe_cyclip", model, method)
    ]
    assert len(values) == (10 if model == "ViT-B-32" else 14)
    assert math.fsum(values) / len(values) == pytest.approx(mean / 100, abs=0.00051)


def recalls(source: str, data: str) -> list[float]:
    return [
        100 * row.value
        for row in published.rows()
        if row.source == source and row.protocol == "one_caption" and row.data == data
    ]


def test_the_recalls_that_cannot_be_of_25_010_captions_are_of_5_000_queries() -> None:
    found = recalls("RankCLIP, ICCV 2025, table 1", "CC3M")
    assert len(found) == 24
    assert all(math.isclose(value / 0.02, round(value / 0.02), abs_tol=1e-6) for value in found)


def test_only_the_table_of_open_clip_has_our_protocol() -> None:
    own = {row.source.split(",")[0] for row in published.rows() if not row.theirs}
    assert own == {"mlfoundations/open_clip 0a1cc15", "mlfoundations/open_clip 05e7db4"}
    assert all(row.pretrained is not None for row in published.rows() if not row.theirs)


def test_every_number_is_of_a_set_that_can_be_fetched() -> None:
    assert {row.benchmark for row in published.rows()} <= set(SETS)


def test_a_set_is_judged_by_the_metric_that_open_clip_quotes() -> None:
    quoted = {row.benchmark: row.metric for row in published.rows() if row.source == OPEN_CLIP}
    assert len(quoted) == 18
    assert quoted == {name: SETS[name].headline for name in quoted}


def test_no_number_stands_twice() -> None:
    seen = [
        (row.method, row.model, row.data, row.pretrained, row.benchmark, row.metric, row.protocol, row.source)
        for row in published.rows()
    ]
    assert len(seen) == len(set(seen))
    assert len(seen) > 500


def test_recall_grows_with_its_depth_in_every_row() -> None:
    groups: dict[tuple[str | None, ...], dict[str, float]] = {}
    for row in published.rows():
        stem, _, depth = row.metric.rpartition("_r")
        if depth.isdigit():
            key = (row.method, row.model, row.data, row.pretrained, row.source, row.benchmark, stem)
            groups.setdefault(key, {})[depth] = row.value
    whole = [values for values in groups.values() if len(values) == 3]
    assert len(whole) > 40
    assert all(values["1"] < values["5"] < values["10"] for values in whole)


def test_the_architecture_counts_and_its_activation_does_not() -> None:
    plain = published.beside("imagenet1k", "top1", model="RN50", data="CC12M")
    assert plain == published.beside("imagenet1k", "top1", model="RN50-quickgelu", data="CC12M")
    assert [(row.model, row.pretrained) for row in plain] == [("RN50-quickgelu", "cc12m")]


def test_the_best_stands_first() -> None:
    values = [row.value for row in published.beside("imagenet1k", "top1")]
    assert values == sorted(values, reverse=True)


def test_one_caption_and_five_captions_never_stand_beside_each_other() -> None:
    metric = "image_to_text_r1"
    single = published.beside("mscoco_captions", metric, "one_caption")
    several = published.beside("mscoco_captions", metric, "five_captions")
    assert several == published.beside("mscoco_captions", metric, "all_captions")
    assert single
    assert several
    assert not {row.protocol for row in single} & {row.protocol for row in several}


def test_nothing_was_published_of_our_own_sets() -> None:
    assert published.beside("shapes", "top1") == []


def test_released_checkpoints_have_the_numbers_of_their_papers() -> None:
    def imagenet(rows: list[Published]) -> list[float]:
        found = [100 * row.value for row in rows if (row.benchmark, row.metric) == ("imagenet1k", "top1")]
        return [round(value, 2) for value in found]

    assert imagenet(published.official("rankclip-official", "ViT-B-32-quickgelu")) == [10.16, 26.2]
    assert imagenet(published.official("cyclip", "RN50-quickgelu")) == [18.68, 36.69]
    assert published.official("rankclip-official", "RN50") == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("columns: [a top1, b top1]", r"row 1 has 1 values for 2 columns"),
        ("columns: [a]", r"columns\.0: .*pattern"),
        ("protocol: ''", r"protocol: "),
        ("model: ''", r"row 1 has no model"),
        ("rows: [{values: [101]}]", r"rows\.0\.values\.0: .*100"),
        ("remark: x", r"remark: Extra"),
    ],
)
def test_a_table_of_another_form_is_named_with_its_row(broken: str, said: str, tmp_path: Path) -> None:
    key = broken.split(":")[0]
    lines = {
        "source": "source: x",
        "protocol": "protocol: zero_shot",
        "columns": "columns: [a top1]",
        "model": "model: RN50",
        "method": "method: CLIP",
        "data": "data: CC3M",
        "rows": "rows: [{values: [1.5]}]",
    }
    path = tmp_path / "tables.yaml"

    def write(lines: dict[str, str]) -> None:
        body = "\n  ".join(lines.values())
        path.write_text(f"- {body}\n")

    write(lines)
    assert [row.value for row in published.read(path)] == [0.015]
    write({**lines, key: broken})
    with pytest.raises(DataError, match=rf"tables\.yaml, table 1, .*{said}.*; correct the file"):
        published.read(path)


def test_reading_them_needs_neither_torch_nor_pyarrow() -> None:
    code = (
        "import sys; from rankclip.evaluation import published; published.rows(); "
        "print({'torch', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
