"""Tars that are there already: from a folder to trained models, and not a byte of it copied or changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.project import SETTINGS, Project, identity

STUDY = "indexed"
KEPT = tuple(
    change for change in SETTINGS if not change.startswith(("source.", "study.", "evaluation.", "train.v"))
)
CHANGES = (
    f"study.name={STUDY}",
    "study.seeds=[0]",
    "data=webdataset",
    "evaluation=digits",
    "evaluation.benchmarks.digits.images=50",
    "train.validation=[digits]",
    "train.validate_every=24",
    *KEPT,
)


@pytest.fixture(scope="module")
def indexed(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    """A study of the finished one's tars, and the folder where they lie, which nobody may write to."""
    folder = tmp_path_factory.mktemp("indexed")
    tars = folder / "theirs" / "part"
    tars.mkdir(parents=True)
    for path in (finished.data / "shards").glob("*.tar"):
        shutil.copy2(path, tars)
    tars.chmod(0o555)
    study = finished.twin(folder / "study")
    study.run("rankclip", "use", "shapes-smoke", f"source.place={tars.parent}", *CHANGES)
    with study.params() as values:
        values["arms"] = {"clip": values["arms"]["clip"]}
        values["report"] |= {"baseline": "clip", "treatment": None, "control": None}
    before = identity(tars.parent)
    said = study.run("rankclip", "repro")
    (folder / "repro.log").write_text(said)
    assert identity(tars.parent) == before
    return study, tars.parent


def test_one_stage_takes_the_place_of_four(indexed: tuple[Project, Path]) -> None:
    study, _ = indexed
    said = (study.folder.parent / "repro.log").read_text()
    table = said[said.index("\nstage ") :]
    stages = [line.split()[0] for line in table.splitlines()[2:] if line.strip()]
    assert "index" in stages
    assert not {"ingest", "download", "curate", "shard"} & set(stages)


def test_models_are_trained_on_the_tars_and_no_byte_of_them_is_copied(indexed: tuple[Project, Path]) -> None:
    study, tars = indexed
    data = study.folder / "data" / STUDY
    assert sorted(path.name for path in (data / "shards").glob("*")) == [
        "card.json", "index.parquet", "keys.txt.gz", "manifest.json", "place.json", "record.json",
    ]  # fmt: skip
    sizes = {path.stat().st_size for path in tars.rglob("*.tar")}
    ours = [path for part in ("data", "work") for path in (study.folder / part / STUDY).rglob("*")]
    assert [path for path in ours if path.suffix == ".tar" and path.stat().st_size in sizes] == []
    assert (study.folder / "runs" / STUDY / "clip" / "seed-0" / "model.safetensors").exists()


def test_every_sample_of_the_tars_is_in_the_ledger_and_all_is_in_order(
    indexed: tuple[Project, Path], finished: Project
) -> None:
    study, _ = indexed
    ledger = json.loads((study.folder / "data" / STUDY / "ledger.json").read_text())
    crawled = json.loads((finished.data / "ledger.json").read_text())
    assert (ledger["input"], ledger["ok"], ledger["reasons"]) == (crawled["ok"], crawled["ok"], {})
    assert "all right" in study.run("rankclip", "data", "verify", "--deep")


def test_a_tar_that_was_changed_is_noticed(indexed: tuple[Project, Path], tmp_path: Path) -> None:
    study, tars = indexed
    moved = study.twin(tmp_path / "study")
    copy = tmp_path / "theirs"
    shutil.copytree(tars, copy)
    (copy / "part").chmod(0o755)
    with sorted(copy.rglob("*.tar"))[0].open("ab") as file:
        file.write(b"more")
    place = moved.folder / "data" / STUDY / "shards" / "place.json"
    place.write_text(json.dumps({"place": str(copy)}))
    said = moved.run("rankclip", "data", "verify", code=1)
    assert "wrong: " in said
    assert "00000.tar" in said
