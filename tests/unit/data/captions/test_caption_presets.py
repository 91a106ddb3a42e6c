"""The tables of conf/captions, with the columns that their publishers gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pydantic import TypeAdapter

from rankclip.data.captions import join
from rankclip.data.captions.spec import Captions
from tests.unit.data.captions.slow_join import write_rows

CONF = Path(__file__).parents[4] / "conf" / "captions"
URL = "http://x/1.jpg?a=b,c"
LONG = 'A dog, 3.5 years old. It runs.\n\nIt "smiles".</s>'
SENTENCES = ["A dog, 3.5 years old.", "It runs.", 'It "smiles".']

LLAVA = {
    "caption_llava": LONG,
    "caption_llava_short": "A dog. It runs",
    "caption": "dog",
    "url": URL,
    "key": "000000007",
    "status": "success",
    "error_message": None,
    "width": 653,
    "exif": "{}",
}
DREAMLIP = {"Image Path": URL, "raw_caption": "dog"} | {
    f"{length}{model}_captions": LONG for model in ("IB", "SV", "LLA") for length in ("short", "long")
}
PUBLISHED: dict[str, tuple[str, dict[str, Any], dict[str, list[str]]]] = {
    "dreamlip": (
        "t.csv",
        DREAMLIP,
        {f"{model}_{length}": SENTENCES for model in ("ib", "sv", "lla") for length in ("short", "long")},
    ),
    "datacompdr": (
        "merged/train-00000-of-00008.parquet",
        {"uid": "00aa", "url": URL, "ori_text": "dog", "syn_text": ["one dog", "a dog. runs"]},
        {"syn": ["one dog", "a dog. runs"]},
    ),
    "cc12m-llava": ("train.jsonl.gz", LLAVA, {"llava": SENTENCES, "llava_short": ["A dog. It runs"]}),
    "none": ("t.csv", {"url": URL}, {}),
}


def test_every_preset_is_tried() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_reads_its_table_as_published(tmp_path: Path, name: str) -> None:
    file, row, expected = PUBLISHED[name]
    path = write_rows(tmp_path / file, [row])
    section = yaml.safe_load((CONF / f"{name}.yaml").read_text())["captions"]
    place = {"path": path if path.parent == tmp_path else path.parent, "sha256": "0" * 64}
    captions = TypeAdapter(Captions).validate_python({slot: each | place for slot, each in section.items()})
    samples = pa.table({"url": [URL], "key": ["000000007"], "source_key": ["00aa"]})
    tables = join.side_tables(captions)
    assert len(tables) <= 1  # read once for all slots
    found = {}
    for each in join.joins(tables, lambda kind: iter([samples[kind]]), 10, tmp_path / "scratch"):
        found |= {slot: lists.to_pylist()[0] for slot, lists in each.columns(0, samples).items()}
    assert found == expected
