"""The stage as it is run: by its command line, killed in the middle, and from the conf/ that is offered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from rankclip import files
from rankclip.data.loading.samples import Samples
from rankclip.data.sources import INDEXED
from tests.unit.data.indexing.tarred import indexed, outputs, sample, source, tar_folder, write_tar
from tests.unit.data.sharding.curated import SOURCE

ROOT = Path(__file__).parents[4]
USE = ("rankclip", "use", "shapes-smoke", "study.name=mine", "evaluation=digits", "train.validation=[digits]")
STAGE = ("stages.index", "--data", "data/mine", "--work", "work/mine")
SLOWLY = """
import sys, time
from pathlib import Path
from rankclip.data.indexing import index, parts
from tests.unit.data.indexing.tarred import source

real = parts.index_tar

def slowly(work):
    with Path("read").open("a") as file:
        file.write(work.name + "\\n")
    time.sleep(float(sys.argv[1]))
    return real(work)

index.index_tar = slowly
index.run(source("tars"), {}, Path("data/mine"), Path("work"))
"""


def started(folder: Path, *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}"}
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(folder: Path, *command: str) -> tuple[int, str]:
    with started(folder, *command) as process:
        said = process.communicate(timeout=100)[1]
    return process.returncode, said


def test_a_killed_run_is_gone_on_with_and_no_tar_is_read_twice(tmp_path: Path) -> None:
    tar_folder(tmp_path / "tars", tars=6)
    with started(tmp_path, "-c", SLOWLY, "0.4") as first:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("work/index/*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
    assert not (tmp_path / "data").exists()
    assert ran(tmp_path, "-c", SLOWLY, "0") == (0, "")
    read = (tmp_path / "read").read_text().split()
    assert len(set(read)) == 6
    assert len(read) <= 7, "only what was being read is read again"
    undisturbed = indexed(source(tmp_path / "tars"), tmp_path / "undisturbed")
    assert outputs(tmp_path / "data" / "mine") == outputs(undisturbed)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with this repository's conf/ and a folder of tars."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    tar_folder(tmp_path / "tars")
    return tmp_path


def test_a_study_of_ones_own_tars_is_indexed_by_the_stage(project: Path) -> None:
    assert ran(project, "-m", *USE, "data=webdataset", "source.place=tars") == (0, "")
    assert ran(project, "-m", *STAGE) == (0, "")
    with Samples(project / "data" / "mine" / "shards") as samples:
        assert len(samples) == 12
        assert samples.read(0)


def test_a_frozen_copy_is_its_training_tars(project: Path) -> None:
    for name in ("cc3m-train-0000.tar", "cc3m-validation-0000.tar"):
        write_tar(project / "tars" / name, sample(name.removesuffix(".tar"), 1))
    assert ran(project, "-m", *USE, "data=cc3m-wds", "source.place=tars") == (0, "")
    assert ran(project, "-m", *STAGE) == (0, "")
    card = files.read_json(project / "data" / "mine" / "shards" / "card.json")
    assert (card["samples"], card["shards"]) == (1, 1)
    assert "2,905,954" in card["verdict"]


def test_tars_that_came_later_stop_the_stage_with_the_remedy(project: Path) -> None:
    assert ran(project, "-m", *USE, "data=webdataset", "source.place=tars") == (0, "")
    write_tar(project / "tars" / "new.tar", sample("x", 1))
    code, said = ran(project, "-m", *STAGE)
    assert (code, said.count("\n")) == (2, 1)
    assert "has other tars than the study" in said
    assert "`rankclip use`" in said


def test_a_source_that_is_indexed_is_so_by_its_name_too(project: Path) -> None:
    assert [each.is_indexed for each in (source(project / "tars"), SOURCE)] == [True, False]
    assert [each.name in INDEXED for each in (source(project / "tars"), SOURCE)] == [True, False]


def test_a_study_that_is_crawled_has_nothing_to_index(project: Path) -> None:
    assert ran(project, "-m", "rankclip", "use", "shapes-smoke", "study.name=mine") == (0, "")
    code, said = ran(project, "-m", *STAGE)
    assert (code, said) == (
        2,
        "rankclip: error: source shapes is crawled; run `dvc repro -s shard`, not index\n",
    )


@pytest.mark.parametrize("preset", ["webdataset", "cc3m-wds", "cc12m-wds"])
def test_what_is_offered_says_what_it_is(preset: str) -> None:
    lines = (ROOT / "conf" / "data" / f"{preset}.yaml").read_text().splitlines()
    assert "source.place" in lines[1]
    assert yaml.safe_load("\n".join(lines))["source"]["name"] == "webdataset"
