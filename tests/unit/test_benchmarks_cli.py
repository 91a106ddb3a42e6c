"""`rankclip data benchmarks`: fetched from a hub on loopback, listed, checked, adopted."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rankclip.data.benchmarks import benchmark_folder, places, public, pull
from rankclip.data.benchmarks.benchmark_folder import Sample
from rankclip.data.benchmarks.public_sets import SETS
from rankclip.data_cli import app
from rankclip.errors import InputError
from tests.unit.data.benchmarks.hub_server import Hub, hub
from tests.unit.data.crawled import encoded, picture

IMAGES = [Sample(f"s{k:07d}", encoded(picture((9 * k, 9, 9), (40, 40))), "jpg", k % 2) for k in range(4)]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = tmp_path / "hub" / "wds_cars"
    benchmark_folder.write_classes(made, ["van", "coupe"], ["a photo of a {c}."])
    benchmark_folder.write_split(made, "test", IMAGES)
    benchmark_folder.write_split(made, "train", IMAGES[:2])
    monkeypatch.setenv("RANKCLIP_BENCHMARKS", str(tmp_path / "public"))
    with hub({"clip-benchmark/wds_cars": made}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def call(*words: str, code: int = 0) -> list[str]:
    """The lines that a command prints."""
    done = CliRunner().invoke(app, ["benchmarks", *words], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout.splitlines()


def state(name: str) -> str:
    (row,) = (line.split() for line in call("list")[1:] if line.split()[0] == name)
    return row[1]


def test_the_list_has_every_set_and_says_which_splits_are_here(web: Hub) -> None:
    lines = call("list")
    assert lines[0] == str(places.root())
    assert [line.split()[0] for line in lines[1:]] == list(SETS)
    assert max(map(len, lines[1:])) <= 120
    assert "8,041 images, 196 classes" in next(line for line in lines if line.startswith("cars "))
    assert state("cars") == "-"
    call("pull", "cars")
    assert state("cars") == "test"
    call("pull", "cars", "--split", "train")
    assert (state("cars"), state("food101")) == ("test+train", "-")


def test_what_is_pulled_verifies_until_a_byte_differs(web: Hub) -> None:
    (said,) = call("pull", "cars", "cars")
    line, _, terms = said.partition("; terms: ")
    assert terms == SETS["cars"].terms != ""
    assert line.startswith(f"{places.root()}/wds_cars: test 4 images, digest ")
    assert call("verify", "--deep") == [f"{line}: all right"]
    tar = places.root() / "wds_cars" / "test" / "0.tar"
    blob = bytearray(tar.read_bytes())
    blob[600] ^= 1
    tar.write_bytes(blob)
    wrong, sum_ = call("verify", "cars", code=1)
    assert wrong.startswith(f"wrong: {tar} differs: ")
    assert sum_.endswith(": 1 wrong")


def test_a_damaged_record_keeps_nobody_from_the_other_sets(web: Hub) -> None:
    call("pull", "cars")
    damaged = places.root() / "wds_food101" / "record.json"
    damaged.parent.mkdir()
    damaged.write_text("{}")
    assert (state("cars"), state("food101")) == ("test", "damaged")
    wrong, sum_, fine = call("verify", code=1)
    assert fine.endswith(": all right")
    assert wrong.startswith(f"wrong: {damaged} is not the record of a set (")
    assert sum_ == f"{damaged.parent}: 1 wrong"


def test_a_set_of_which_a_tar_is_damaged_is_checked_to_the_end(web: Hub) -> None:
    call("pull", "cars", "--split", "train")
    tar = places.root() / "wds_cars" / "test" / "0.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    differs, cut, sum_ = call("verify", "--deep", code=1)
    assert differs.startswith(f"wrong: {tar} differs: 700 bytes for ")
    assert cut.startswith(f"wrong: {tar} is not a whole tar (")
    assert sum_.endswith(": 2 wrong")


def test_an_image_that_does_not_decode_is_named_with_its_key(web: Hub) -> None:
    folder = places.root() / "wds_cars"
    shutil.copytree(web.folders["clip-benchmark/wds_cars"], folder)
    damaged = Sample("s0000009", IMAGES[0].image[:200], "jpg", 0)
    benchmark_folder.write_split(folder, "test", [*IMAGES, damaged])
    call("verify", "--adopt", "cars")
    assert call("verify", "cars")[-1].endswith(": all right"), "its bytes are those of the record"
    assert any(
        line.startswith(f"wrong: {folder}/test: the image of s0000009 cannot be decoded (")
        for line in call("verify", "cars", "--deep", code=1)
    )


def test_a_set_put_there_by_hand_is_adopted_once(web: Hub) -> None:
    folder = places.root() / "wds_cars"
    shutil.copytree(web.folders["clip-benchmark/wds_cars"], folder)
    assert state("cars") == "-"
    call("verify", "--adopt", "cars")
    assert state("cars") == "test+train"
    assert benchmark_folder.describe(folder, "test").images == 4
    with pytest.raises(InputError, match="has a record; check it with `verify`"):
        call("verify", "--adopt", "cars")
    assert web.listed == []


def test_an_interrupted_pull_says_that_it_goes_on(web: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str, splits: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(pull, "pull", interrupted)
    done = CliRunner().invoke(app, ["benchmarks", "pull", "cars"])
    assert done.exit_code == 130
    assert done.output == "cars: stopped; the same command goes on where it was\n"


def test_a_set_that_may_not_be_read_is_named(web: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Path.exists

    def refuse(path: Path) -> bool:
        if path.parent.name == "wds_cars":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return looked(path)

    monkeypatch.setattr(Path, "exists", refuse)
    assert state("cars") == "-"
    assert "cars in the folder of public sets may not be read (Permission denied)" in str(
        public.missing("cars")
    )
    with pytest.raises(InputError, match=r"wds_cars cannot be read \(Permission denied\)"):
        call("verify", "--adopt", "cars")


def test_what_cannot_be_done_is_said_in_a_line(web: Hub) -> None:
    with pytest.raises(InputError, match="holds no public set; `rankclip data benchmarks pull NAME`"):
        call("verify")
    with pytest.raises(InputError, match="--adopt` needs to be told which set"):
        call("verify", "--adopt")
    with pytest.raises(InputError, match=r"wds_cars/test holds no nshards\.txt: a set is classnames\.txt"):
        call("verify", "--adopt", "cars")
    with pytest.raises(InputError, match="no public set is named 'car'; did you mean"):
        call("pull", "car")
