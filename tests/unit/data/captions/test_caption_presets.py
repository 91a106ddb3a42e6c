"""The tables of conf/captions, with the columns that their publishers gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rankclip import composition
from rankclip.data.captions import join
from tests.unit.data.captions.slow_join import write_rows

CONF = Path(__file__).parents[4] / "conf"
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
    **{
        f"dreamlip-{of}": (
            f"tables/{of}_3long_3short_1raw_captions_url.csv",
            DREAMLIP,
            {f"{model}_{length}": SENTENCES for model in ("ib", "sv", "lla") for length in ("short", "long")},
        )
        for of in ("cc3m", "cc12m", "yfcc15m")
    },
    "datacompdr": (
        "tables/datacomp-12m/merged/train-00000-of-00008.parquet",
        {"uid": "00aa", "url": URL, "ori_text": "dog", "syn_text": ["one dog", "a dog. runs"]},
        {"syn": ["one dog", "a dog. runs"]},
    ),
    "cc12m-llava": (
        "tables/cc12m-llavanext/train.jsonl.gz",
        LLAVA,
        {"llava": SENTENCES, "llava_short": ["A dog. It runs"]},
    ),
    "none": ("tables/t.csv", {"url": URL}, {}),
}


def test_every_preset_is_tried() -> None:
    assert {path.stem for path in (CONF / "captions").glob("*.yaml")} == PUBLISHED.keys()


@pytest.mark.parametrize("data", ["cc3m", "webdataset"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_it_reads_its_table_as_published_beside_images_of_any_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file, row, expected = PUBLISHED[name]
    Path(file).parent.mkdir(parents=True)
    write_rows(Path(file), [row])
    Path("1.tar").touch()
    chosen = [
        f"data={data}",
        f"captions={name}",
        "source.place=." if data == "webdataset" else f"source.path={file}",
    ]
    captions = composition.compose("cc3m-rn50", chosen, CONF).captions
    samples = pa.table({"url": [URL], "key": ["000000007"], "source_key": ["00aa"]})
    tables = join.side_tables(captions)
    assert len(tables) <= 1  # read once for all slots
    found: dict[str, list[str]] = {}
    for each in join.joins(tables, lambda kind: iter([samples[kind]]), 10, tmp_path / "scratch"):
        found |= {slot: lists.to_pylist()[0] for slot, lists in each.columns(0, samples).items()}
    assert found == expected
