"""`rankclip data`: what its commands print, and their one line when something is missing."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rankclip import composition, config, files
from rankclip.data.crawl import retry
from rankclip.data.inspection import tally
from rankclip.data_cli import app
from rankclip.errors import RankclipError
from tests.unit.data.indexing.tarred import tar_folder
from tests.unit.data.inspection.finished import ROWS, Row, before_curate, lay_out

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data of the active study, shapes-smoke, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    config.write(composition.compose("shapes-smoke", [], CONF))
    return tmp_path / "data" / "shapes-smoke"


def call(*words: str, code: int = 0) -> list[str]:
    """The lines that a command prints."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == code
    return done.output.splitlines()


def refused(*words: str) -> str:
    """The one line with which a command refuses."""
    with pytest.raises(RankclipError) as caught:
        CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_ledger_has_a_line_a_reason_and_sums_to_the_input(data: Path) -> None:
    lay_out(data)
    lines = call("ledger")
    assert lines[0] == "shapes-smoke: 12 input rows, 6 ok"
    table = [line.split() for line in lines[3:9]]
    assert [row[:4] for row in table] == [
        ["ok", "curate", "6", "50.00"],
        ["dns", "download", "3", "25.00"],
        ["bad_scheme", "ingest", "1", "8.33"],
        ["http_404", "download", "1", "8.33"],
        ["too_small", "curate", "1", "8.33"],
        ["sum", "12", "100.00", "%"],
    ]
    assert sum(int(row[2]) for row in table[:-1]) == int(table[-1][1])
    assert "the host has no address" in lines[4]
    assert any("duplicate_near 1 (8.33 %)" in line for line in lines)
    assert lines[-1] == "unknown: 6 of 12 rows (50.0%); no figures of others are known for this list"


def test_before_curate_the_ledger_says_what_is_missing(data: Path) -> None:
    before_curate(data)
    told = call("ledger")
    assert told[-1] == "Not run yet: curate; more rows may fall out. `rankclip repro` brings it up to date"
    assert told[-2] == "", "nothing is said of the survival while rows may still fall out"
    (data / "crawl" / "status.parquet").unlink()
    told = call("ledger")
    assert told[-1].startswith("Not run yet: download, curate;")
    assert told[-2] == ""


def test_a_ledger_older_than_the_crawl_is_told(data: Path) -> None:
    lay_out(data)
    before_curate(data, [*ROWS[:7], Row(), *ROWS[8:]])
    assert any(line.startswith("The crawl has changed since curate ran") for line in call("ledger"))


def test_hosts_that_lose_most_are_listed_with_their_reasons(data: Path) -> None:
    lay_out(data)
    lines = call("ledger", "--by", "host", "--rows", "1", "--csv", "hosts.csv")
    assert lines[0].startswith("1 of 3 hosts that lost rows with any reason")
    assert lines[3].split()[:4] == ["b.invalid", "3", "0", "3"]
    assert "dns 1, http_404 1, too_small 1" in lines[3]
    with Path("hosts.csv").open(newline="") as file:
        assert [row["host"] for row in csv.DictReader(file)] == ["b.invalid"]


def test_a_reason_that_no_row_has_has_no_hosts(data: Path) -> None:
    lay_out(data)
    lines = call("ledger", "--by", "host", "--reason", "tls")
    assert lines[0] == "0 of 0 hosts that lost rows with tls"


@pytest.mark.parametrize("words", [("ledger", "--csv", "."), ("preview", "--out", ".")])
def test_a_folder_is_no_file_to_write_to(data: Path, words: tuple[str, ...]) -> None:
    lay_out(data)
    assert "is a directory" in "".join(call(*words, code=2))


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet"])
def test_a_sheet_is_written_under_no_name_of_another_format(data: Path, name: str) -> None:
    lay_out(data)
    assert (
        refused("preview", "--out", name) == f"--out {name} would hold a PNG; give a name that ends in .png"
    )
    assert not Path(name).exists()


def test_rows_of_a_reason_are_listed_and_all_go_to_the_csv(data: Path) -> None:
    lay_out(data)
    lines = call("ledger", "--reason", "dns,http_4*", "--rows", "2", "--csv", "lost.csv")
    assert [line.split()[0] for line in lines] == ["row", "6", "7", "lost.csv:"]
    with Path("lost.csv").open(newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["6", "7", "8", "9"]
    assert call("ledger", "--reason", "tls") == ["no row has tls"]


def test_what_strangers_wrote_cannot_command_the_terminal(data: Path) -> None:
    lay_out(data, [Row("dns", "download", "\x1b[2J\u202eevil", detail="a\nb\x07")])
    printed = "\n".join([*call("ledger", "--reason", "dns"), *call("ledger", "--by", "host")])
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "\x07" not in printed


def test_the_vocabulary_needs_no_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = call("ledger", "--reasons")
    assert any(line.startswith("dns ") and "no address" in line for line in lines)


@pytest.mark.parametrize("command", ["ledger", "stats", "preview", "verify"])
def test_before_anything_has_run_the_line_says_what_to_run(data: Path, command: str) -> None:
    line = refused(command)
    assert "is missing" in line
    assert "rankclip repro" in line


@pytest.mark.parametrize("command", ["ledger", "stats", "preview", "verify", "retry --reason dns"])
def test_without_an_active_study_the_line_says_how_to_choose_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "rankclip use" in refused(*command.split())


@pytest.mark.parametrize("command", ["", "ledger", "retry", "stats", "preview", "verify"])
def test_help_shows_examples(command: str) -> None:
    text = "\n".join(call(*filter(None, [command, "--help"])))
    assert f"rankclip data {command}" in text if command else "retry" in text


def test_the_card_is_shown_and_given_as_stored(data: Path) -> None:
    lay_out(data)
    lines = call("stats")
    assert any(line.split() == ["input", "rows", "12"] for line in lines)
    assert any(line.split()[:2] == ["caption", "words"] for line in lines)
    assert any(line.startswith("digest of pool") for line in lines)
    assert json.loads("\n".join(call("stats", "--json"))) == files.read_json(data / "shards" / "card.json")


def test_a_sheet_is_written_where_asked_or_into_work(data: Path) -> None:
    lay_out(data)
    assert call("preview", "--n", "4")[0].startswith("work/shapes-smoke/preview.png")
    call("preview", "--reason", "too_small", "--out", "some/sheet.png")
    assert Path("work/shapes-smoke/preview.png").is_file()
    assert Path("some/sheet.png").is_file()
    assert "no image was kept" in refused("preview", "--reason", "dns")


def test_verify_ends_with_one_where_something_is_wrong(data: Path) -> None:
    lay_out(data)
    assert call("verify") == [
        "shapes-smoke: all right; 6 samples in 2 tars, 6 images decoded; --deep reads every byte"
    ]
    (data / "shards" / "00001.tar").unlink()
    lines = call("verify", "--deep", code=1)
    assert lines[0].startswith("wrong: ")
    assert lines[-1] == "shapes-smoke: 1 wrong; 6 samples in 2 tars, 4 images decoded"


def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "pyarrow", "pydantic", "PIL"}
    code = f"import sys, rankclip.data_cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def retried(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[str]]:
    """Reasons of each retry; one of them mends every row."""
    asked: list[frozenset[str]] = []

    def run(spec, source, urls, work, out, reasons):
        asked.append(frozenset(reasons))
        before = tally.of_crawl(out.parent)
        after = before.copy()
        for reason in reasons:
            after["ok"] += after.pop(reason, 0)
        return retry.Retried(before["dns"], before, after)

    monkeypatch.setattr(retry, "run", run)
    return asked


def test_a_retry_says_before_what_it_fetches_and_after_what_changed(data: Path, retried) -> None:
    before_curate(data)
    lines = call("retry", "--reason", "dns,timeout")
    assert retried == [{"dns", "timeout"}]
    assert [line.split() for line in lines if line] == [
        ["to", "be", "fetched", "again", "rows"],
        ["dns", "3"],
        ["sum", "3"],
        ["reason", "before", "after", "change"],
        ["ok", "7", "10", "+3"],
        ["dns", "3", "0", "-3"],
        ["Next:", "rankclip", "repro"],
    ]


def test_a_dry_run_fetches_nothing(data: Path, retried) -> None:
    before_curate(data)
    assert call("retry", "--reason", "dns", "--dry-run")[-1].split() == ["sum", "3"]
    assert retried == []


def test_a_retry_without_sense_is_refused(data: Path, retried) -> None:
    before_curate(data)
    assert "needs to be told which rows" in refused("retry")
    assert "no row has tls" in refused("retry", "--reason", "tls")
    assert "ok is not given by the download" in refused("retry", "--reason", "ok")
    assert "did you mean timeout" in refused("retry", "--reason", "timeot")
    (data / "crawl" / "status.parquet").unlink()
    assert "status.parquet is missing" in refused("retry", "--reason", "dns")
    assert retried == []


def test_of_tars_that_were_there_nothing_is_fetched_again(tmp_path: Path, data: Path, retried) -> None:
    tar_folder(tmp_path / "tars")
    changes = ["data=webdataset", "source.place=tars", "evaluation=digits", "train.validation=[digits]"]
    config.write(composition.compose("shapes-smoke", changes, CONF))
    assert "reads tars that were there before" in refused("retry", "--reason", "dns")
    assert retried == []
