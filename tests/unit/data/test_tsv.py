"""A list of the user's own, through the real command line and the real stage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rankclip import files
from rankclip.data.tsv import TsvSpec
from rankclip.errors import InputError

ROOT = Path(__file__).parents[3]
USE = ("rankclip", "use", "shapes-smoke", "study.name=mine", "data=tsv", "source.path=list.tsv")
USE += ("evaluation=digits", "train.validation=[digits]")
INGEST = ("stages.ingest", "--out", "data/mine")
LINE = "a red square\thttp://a.example/1.jpg\n"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with this repository's conf/ and a list of one line."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "list.tsv").write_text(LINE)
    return tmp_path


def source(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((folder / "params.yaml").read_text())["source"]
    return values


def test_a_study_of_ones_own_list_is_ingested_to_every_output_of_the_stage(folder: Path) -> None:
    used = run(folder, *USE)
    assert (used.returncode, used.stderr) == (0, "")
    digest = files.sha256(folder / "list.tsv")
    assert source(folder) == {"name": "tsv", "path": "list.tsv", "sha256": digest}
    done = run(folder, *INGEST)
    assert (done.returncode, done.stderr) == (0, "")
    outs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["ingest"]["outs"]
    missing = [out for out in outs if not (folder / out.replace("${study.name}", "mine")).exists()]
    assert (len(outs), missing) == (4, [])
    said = files.read_json(folder / "data" / "mine" / "source" / "source.json")
    assert said == {"path": "list.tsv", "sha256": digest, "bytes": len(LINE)}


def test_a_list_that_was_edited_is_refused_until_it_is_used_again(folder: Path) -> None:
    run(folder, *USE)
    before = source(folder)["sha256"]
    (folder / "list.tsv").write_text(LINE + "two\thttp://b.example/2.jpg\n")
    now = files.sha256(folder / "list.tsv")
    done = run(folder, *INGEST)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert [word for word in ("list.tsv", before, now, "`rankclip use`") if word not in done.stderr] == []
    assert not (folder / "data").exists()
    run(folder, *USE)
    assert source(folder)["sha256"] == now
    assert run(folder, *INGEST).returncode == 0


def test_a_digest_that_the_user_gives_is_kept(folder: Path) -> None:
    used = run(folder, *USE, f"source.sha256='{'0' * 64}'")
    assert used.returncode == 0
    assert source(folder)["sha256"] == "0" * 64


def test_a_list_that_is_gone_is_named(tmp_path: Path) -> None:
    spec = TsvSpec(name="tsv", path=tmp_path / "gone.tsv", sha256="0" * 64)
    with pytest.raises(InputError, match=r"source.path .*gone.tsv is not a file"):
        spec.write(tmp_path / "source")
