"""The world as a list of URLs in CC3M's official form."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rankclip import files
from rankclip.data.ingestion import ingest
from rankclip.data.ingestion.spec import IngestSpec
from rankclip.data.reasons import Reason
from rankclip.data.shapes.similarity import features
from rankclip.data.shapes.source import write_source
from rankclip.data.shapes.spec import SLOTS
from rankclip.data.shapes.world import World
from tests.unit.data.shapes import worlds

SPEC = worlds.spec()
WORLD = World(SPEC)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    assert SPEC.write(folder) == folder / "captions.tsv"
    return folder


def test_two_folders_hold_the_same_bytes(source: Path, tmp_path: Path) -> None:
    write_source(SPEC, tmp_path)
    names = ["captions.parquet", "captions.tsv", "latents.parquet"]
    for folder in (source, tmp_path):
        assert sorted(path.name for path in folder.iterdir()) == names
    assert all((source / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_another_seed_gives_another_list(source: Path, tmp_path: Path) -> None:
    other = write_source(worlds.spec(seed=12), tmp_path)
    assert other.read_bytes() != (source / "captions.tsv").read_bytes()


def test_ingest_accepts_every_image_once_and_refuses_the_stated_bad_rows(
    source: Path, tmp_path: Path
) -> None:
    counts = ingest.ingest(IngestSpec(), source / "captions.tsv", SPEC.form, None, tmp_path)
    assert counts == Counter(
        {
            Reason.OK: 120,
            Reason.MALFORMED_ROW: 4,
            Reason.EMPTY_CAPTION: 2,
            Reason.BAD_SCHEME: 6,
            Reason.DUPLICATE_URL: 6,
        }
    )
    accepted = files.read_table(tmp_path / "urls.parquet").to_pylist()
    expected = {WORLD.url(index): WORLD.raw(index)[0].text for index in range(120)}
    assert {row["url"]: row["caption"] for row in accepted} == expected


def test_a_world_without_trouble_in_its_list_is_accepted_whole(tmp_path: Path) -> None:
    path = write_source(worlds.spec(duplicate_urls=0.0, bad_rows=0.0), tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == [f"{WORLD.raw(index)[0].text}\t{WORLD.url(index)}" for index in range(120)]


def test_the_truth_and_the_claims_of_each_image_stand_beside_its_url(source: Path) -> None:
    rows = files.read_table(source / "latents.parquet").to_pylist()
    assert [row["url"] for row in rows] == [WORLD.url(index) for index in range(120)]
    for index, row in enumerate(rows):
        latent, (raw, told) = WORLD.latent(index), WORLD.raw(index)
        assert row["things"] == [vars(thing) for thing in latent.things]
        assert (row["background"], row["raw_is_true"]) == (latent.background, told)
        captions = {"raw": raw, **WORLD.slots(index)}
        for slot in SLOTS:
            assert row[f"claims.{slot}"] == [vars(claim) for claim in captions[slot].claims]


def test_the_unit_vector_of_each_image_stands_beside_its_url(source: Path) -> None:
    stored = files.read_table(source / "latents.parquet")["latents"].to_pylist()
    expected = features([WORLD.latent(index) for index in range(120)])
    assert np.array_equal(np.array(stored, dtype=np.float32), expected)


def test_all_caption_slots_of_each_image_stand_beside_its_url(source: Path) -> None:
    rows = files.read_table(source / "captions.parquet").to_pylist()
    assert list(rows[0]) == ["url", *SLOTS]
    for index, row in enumerate(rows):
        texts = {slot: caption.text for slot, caption in WORLD.slots(index).items()}
        assert row == {"url": WORLD.url(index), "raw": WORLD.raw(index)[0].text, **texts}
