"""A list of the user's own, through the real command line and the real stage."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rankclip import composition, config, files
from rankclip.data.sources.cc3m import Cc3mSpec
from rankclip.errors import InputError
from stages import ingest as stage

ROOT = Path(__file__).parents[4]
DIGITS = ("evaluation=digits", "train.validation=[digits]")
USE = ("study.name=mine", "data=list", "source.path=list.tsv", *DIGITS)
LINE = "a red square\thttp://a.example/1.jpg\n"
OUT = Path("data/mine")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def use(*changes: str) -> Any:
    """Makes a list the active study's; its source."""
    study = composition.compose("shapes-smoke", [*USE, *changes])
    config.write(study)
    return study.source


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work goes on in a folder with this repository's conf/ and a list of one line."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "list.tsv").write_text(LINE)
    monkeypatch.chdir(tmp_path)


def rows() -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = files.read_table(OUT / "urls.parquet").to_pylist()
    return table


def test_a_study_of_ones_own_list_is_ingested_to_every_output_of_the_stage() -> None:
    used = run("rankclip", "use", "shapes-smoke", *USE)
    assert (used.returncode, used.stderr) == (0, "")
    source: Any = config.load().source
    assert (source.name, source.sha256) == ("cc3m", files.sha256(Path("list.tsv")))
    done = run("stages.ingest", "--out", str(OUT))
    assert (done.returncode, done.stderr) == (0, "")
    outs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["ingest"]["do"]["outs"]
    missing = [out for out in outs if not Path(out.replace("${study.name}", "mine")).exists()]
    assert (len(outs), missing) == (4, [])


def test_what_is_recorded_of_a_list_does_not_depend_on_where_it_lies() -> None:
    digest = use().sha256
    stage.main(OUT)
    said, urls = (files.sha256(OUT / name) for name in ("source/source.json", "urls.parquet"))
    assert files.read_json(OUT / "source" / "source.json") == {
        "source": "cc3m",
        "sha256": digest,
        "bytes": len(LINE),
    }
    Path("list.tsv").rename("moved.tsv")
    use("source.path=moved.tsv")
    stage.main(OUT)
    assert [files.sha256(OUT / name) for name in ("source/source.json", "urls.parquet")] == [said, urls]


def test_a_list_that_was_edited_is_refused_until_it_is_used_again() -> None:
    before = use().sha256
    Path("list.tsv").write_text(LINE + "two\thttp://b.example/2.jpg\n")
    now = files.sha256(Path("list.tsv"))
    with pytest.raises(InputError) as refused:
        stage.main(OUT)
    told = str(refused.value)
    assert [word for word in ("list.tsv", before, now, "`rankclip use`") if word not in told] == []
    assert not OUT.exists()
    assert use().sha256 == now
    stage.main(OUT)
    assert len(rows()) == 2


def test_a_subset_is_known_by_what_its_file_names() -> None:
    Path("list.tsv").write_text(LINE + "two\thttp://b.example/2.jpg\n")
    Path("keys.txt").write_text("000000001\n")
    assert use("source.subset={path: keys.txt}").subset.sha256 == files.sha256(Path("keys.txt"))
    stage.main(OUT)
    assert [(row["row"], row["key"], row["caption"]) for row in rows()] == [(0, "000000001", "two")]
    Path("keys.txt").write_text("000000000\n")
    with pytest.raises(InputError, match=r"source.subset.path keys.txt has sha256"):
        stage.main(OUT)


def test_a_digest_that_the_user_gives_is_kept() -> None:
    assert use(f"source.sha256='{'0' * 64}'").sha256 == "0" * 64


def test_a_table_with_named_columns_is_ingested_with_the_keys_it_has() -> None:
    Path("list.csv").write_text('uid,text,link\nk1,"one, two",http://a.example/1.jpg\nk2,x,nowhere\n')
    use("data=table", "source.path=list.csv", "source.url=link", "source.caption=text", "source.key=uid")
    stage.main(OUT)
    assert rows() == [
        {
            "row": 0,
            "key": "000000000",
            "url": "http://a.example/1.jpg",
            "caption": "one, two",
            "source_key": "k1",
        }
    ]


def test_a_folder_of_parts_is_one_table(tmp_path: Path) -> None:
    parts = {"b.csv": "uid,text,link\nk3,y,http://a.example/3.jpg\n", "README.md": "hello"}
    parts["a.csv"] = 'uid,text,link\nk1,"one, two",http://a.example/1.jpg\nk2,x,nowhere\n'
    (tmp_path / "parts.v1").mkdir()
    for name, text in parts.items():
        (tmp_path / "parts.v1" / name).write_text(text)
    table = ("data=table", "source.path=parts.v1", "source.url=link", "source.caption=text", "source.key=uid")
    before = use(*table).sha256
    stage.main(OUT)
    assert [(row["key"], row["source_key"]) for row in rows()] == [("000000000", "k1"), ("000000002", "k3")]
    said = files.read_json(OUT / "source" / "source.json")
    assert said["bytes"] == sum(len(parts[name]) for name in ("a.csv", "b.csv"))
    (tmp_path / "parts.v1" / "b.csv").write_text(parts["b.csv"] + "broken\nk4,z,http://a.example/4.jpg\n")
    with pytest.raises(InputError, match=rf"source.path parts.v1 has sha256 \w{{64}}, .* {before}"):
        stage.main(OUT)
    use(*table)
    stage.main(OUT)
    assert [row["key"] for row in rows()] == ["000000000", "000000002", "000000004"]
    assert files.read_table(OUT / "refused.parquet")["row"].to_pylist() == [1, 3]
    use(*table, "source.format=tsv")
    with pytest.raises(InputError, match=r"source.path: parts.v1 holds csv, not tsv as `format` says"):
        stage.main(OUT)


def test_a_list_that_is_gone_is_named(tmp_path: Path) -> None:
    spec = Cc3mSpec(name="cc3m", path=tmp_path / "gone.tsv", sha256="0" * 64)
    with pytest.raises(InputError, match=r"source.path .*gone.tsv is not a file"):
        spec.write(tmp_path / "source")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("data=cc3m", ["source.path is missing", "source.path=FILE"]),
        ("data=table source.path=x.txt", ["x.txt does not end as a table", "csv, tsv, jsonl, parquet"]),
        ("data=table source.path=x.parquet.gz", ["a compressed parquet", "gunzip"]),
        ("data=table source.path=x.csv source.key=url", ["name one column twice: url, caption, url"]),
        ("data=list source.path=x.csv source.subset={seed: 1}", ["either pairs", "or path"]),
        ("data=list source.path=x.csv source.subset={path: y}", ["source.subset.path y is not a file"]),
        ("data=cc3m source.path=5", ["source.path = 5", "give a file"]),
        ("data=cc3m source.path=http://a.example/x.tsv", ["is an address", "fetch it first"]),
        ("data=table source.path=https://a.example/x.csv", ["is an address", "fetch it first"]),
        ("data=list source.path=x.csv source.subset={path: 7}", ["source.subset.path = 7", "give a file"]),
        ("data=webdataset", ["source.place is missing", "source.place=PLACE"]),
        ("data=cc3m source.path=x.csv source.expected.survival=[0.9, 0.2]", ["survival [0.9, 0.2]"]),
        ("data=cc3m source.path=x.csv source.expected.pairs=4000000", ["pairs 4000000 is more than"]),
    ],
)
def test_a_source_that_makes_no_sense_is_refused_in_one_line(changes: str, told: list[str]) -> None:
    for name in ("x.txt", "x.csv", "x.parquet.gz"):
        Path(name).write_text("x")
    study = [*DIGITS, *re.split(r" (?=source\.)", changes)]
    with pytest.raises(InputError) as refused:
        composition.compose("shapes-smoke", study)
    assert [words for words in [*told, "source"] if words not in str(refused.value)] == []
    assert "\n" not in str(refused.value)
