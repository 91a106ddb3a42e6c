"""Bad input at the outermost door: a counted reason or one clear line, never a traceback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator

import pyarrow.parquet as pq
import pytest

from tests.e2e.project import STUDY, Project

GOOD = b"a red circle\thttp://images.invalid/1.jpg"
LINES = (
    (GOOD, "ok"),
    (b"a nul \0 here\thttp://images.invalid/2.jpg", "malformed_row"),
    (b"one\ttwo\thttp://images.invalid/3.jpg", "malformed_row"),
    (b"no url at all", "malformed_row"),
    (b"bad \xff\xfe bytes\thttp://images.invalid/4.jpg", "bad_encoding"),
    (b"x" * 5000 + b"\thttp://images.invalid/5.jpg", "caption_too_long"),
    (b"y" * 1_000_000 + b"\thttp://images.invalid/6.jpg", "caption_too_long"),
    (GOOD, "duplicate_url"),
    (b"a file\tftp://images.invalid/7.jpg", "bad_scheme"),
    (b"a secret\tfile:///etc/hostname", "bad_scheme"),
    (b" \thttp://images.invalid/8.jpg", "empty_caption"),
    (b"nowhere\t", "no_url"),
    (b"\xc3\xbcber\thttps://images.invalid/9.jpg", "ok"),
)


@pytest.fixture(scope="module")
def study(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.twin(tmp_path_factory.mktemp("bad") / "study")


@pytest.fixture
def own_list(study: Project) -> Iterator[Callable[[bytes], None]]:
    """Writes the list that the study then reads its captions and URLs from."""
    path = study.folder / "captions.tsv"
    with study.params() as values:
        before = {name: values[name] for name in ("source", "route")}

    def write(content: bytes) -> None:
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        with study.params() as values:
            values["source"] = {"name": "cc3m", "path": str(path), "sha256": digest}
            values["route"] = {"crawl": ["cc3m"], "index": []}

    yield write
    with study.params() as values:
        values.update(before)


def one_line(said: str) -> str:
    """The error, if that is all that was said of it."""
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("rankclip: error: ")]
    return line


def test_every_bad_line_of_a_list_is_counted_under_its_reason(
    study: Project, own_list: Callable[[bytes], None]
) -> None:
    own_list(b"\n".join(line for line, _ in LINES))
    study.stage("ingest", "--out", "data/own")
    out = study.folder / "data" / "own"
    found = dict.fromkeys(pq.read_table(out / "urls.parquet")["row"].to_pylist(), "ok")
    refused = pq.read_table(out / "refused.parquet")
    found |= dict(zip(refused["row"].to_pylist(), refused["reason"].to_pylist(), strict=True))
    assert found == {row: reason for row, (_, reason) in enumerate(LINES)}
    summary = json.loads((out / "ingest.json").read_text())
    assert (summary["input"], summary["accepted"], summary["refused"]) == (13, 2, 11)


def test_an_empty_list_is_refused(study: Project, own_list: Callable[[bytes], None]) -> None:
    own_list(b"")
    assert "captions.tsv is empty" in one_line(study.stage("ingest", "--out", "data/own", code=2))


def test_an_unknown_objective_is_refused_before_anything_runs(study: Project) -> None:
    before = (study.folder / "params.yaml").read_text()
    with study.params() as values:
        values["arms"]["rankclip"]["objective"]["terms"][1]["name"] = "magic"
    try:
        said = study.run("rankclip", "repro", code=2)
    finally:
        (study.folder / "params.yaml").write_text(before)
    line = one_line(said)
    assert len(said.splitlines()) == 1
    for word in ("arms.rankclip.objective", "'magic'", "contrastive", "rank_cross"):
        assert word in line


def test_a_truncated_tar_of_the_crawl_is_named_with_its_remedy(study: Project) -> None:
    tar = study.data / "crawl" / "00001.tar"
    content = tar.read_bytes()
    tar.unlink()  # a link to the file in work
    tar.write_bytes(content[: len(content) // 2])
    ledger = (study.data / "ledger.parquet").read_bytes()
    line = one_line(study.stage("curate", "--data", f"data/{STUDY}", "--work", f"work/{STUDY}", code=1))
    assert "crawl/00001.tar" in line
    assert "dvc repro -f -s download" in line
    assert (study.data / "ledger.parquet").read_bytes() == ledger


@pytest.mark.parametrize("damage", [b"", b"PAR1 not a table PAR1"], ids=["empty", "garbage"])
def test_an_unreadable_index_is_named_with_its_remedy(study: Project, damage: bytes) -> None:
    (study.data / "shards" / "index.parquet").write_bytes(damage)
    said = study.stage(
        "report", "--results", f"results/{STUDY}", "--runs", f"runs/{STUDY}",
        "--ledger", f"data/{STUDY}/ledger.parquet", "--shards", f"data/{STUDY}/shards",
        "--benchmarks", f"data/{STUDY}/benchmarks", "--out", "reports/other", code=1,
    )  # fmt: skip
    line = one_line(said)
    assert "shards/index.parquet" in line
    assert "dvc repro -f -s shard" in line
