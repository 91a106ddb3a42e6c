"""Public sets come from a hub: what is there is kept, what stopped goes on, what is wrong is said."""

from __future__ import annotations

import gzip
import io
import resource
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from rankclip import files
from rankclip.data.benchmarks import benchmark_folder, inventory, places, public, pull
from rankclip.data.benchmarks import hub as hub_door
from rankclip.data.benchmarks.benchmark_folder import Sample
from rankclip.errors import DataError, InputError, RunError
from tests.unit.data.benchmarks.hub_server import COMMIT, Hub, hub
from tests.unit.data.crawled import encoded, picture

CLASSES = ["cat", "dog"]
IMAGES = [Sample(f"s{k:07d}", encoded(picture((9 * k, 9, 9), (40, 40))), "jpg", k % 2) for k in range(6)]
SET = "clip-benchmark/wds_stl10"
TEXTS = ["classnames.txt", "zeroshot_classification_templates.txt", "test/nshards.txt"]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one set of two test tars and a train tar, and an empty folder for public sets."""
    made = tmp_path / "hub" / "wds_stl10"
    benchmark_folder.write_classes(made, CLASSES, ["a photo of a {c}."])
    benchmark_folder.write_split(made, "test", IMAGES, shard_size=3)
    benchmark_folder.write_split(made, "train", IMAGES[:4])
    (made / "README.md").write_text("not fetched")
    monkeypatch.setenv("RANKCLIP_BENCHMARKS", str(tmp_path / "public"))
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(file_download.constants, "DOWNLOAD_CHUNK_SIZE", 512)  # 10 MB: what a cut may lose
    with hub({SET: made}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def folder() -> Path:
    return places.root() / "wds_stl10"


def fetched(web: Hub) -> list[str]:
    return [path for path, _ in web.asked]


def test_a_pulled_set_is_the_hubs_and_its_record_says_so(web: Hub) -> None:
    line = pull.pull("stl10", ["test"])
    record = files.read_json(folder() / "record.json")
    assert (record["repository"], record["revision"]) == (SET, COMMIT)
    assert fetched(web) == [*TEXTS, "test/0.tar", "test/1.tar"]
    assert sorted(record["files"]) == sorted(fetched(web))
    for path, about in record["files"].items():
        assert about["sha256"] == files.sha256(web.folders[SET] / path) == files.sha256(folder() / path)
    split = benchmark_folder.read_split(folder(), "test")
    assert split.samples == tuple(IMAGES)
    assert record["splits"] == {"test": {"images": 6, "captions": 0, "digest": split.digest}}
    assert line == f"{folder()}: test 6 images, digest {record['digest']}"
    assert not list(folder().rglob("*.part"))


def test_a_second_pull_asks_nobody(web: Hub) -> None:
    pull.pull("stl10", ["test"])
    asked, listed = len(web.asked), len(web.listed)
    assert pull.pull("stl10", ["test"]).endswith("there before")
    assert (len(web.asked), len(web.listed)) == (asked, listed)


def test_the_train_split_comes_when_asked_for_and_test_is_not_fetched_again(web: Hub) -> None:
    pull.pull("stl10", ["test"])
    web.asked.clear()
    pull.pull("stl10", ["test", "train"])
    assert fetched(web) == ["train/nshards.txt", "train/0.tar"]
    assert web.listed == [None, COMMIT], "both splits are of one commit"
    assert public.splits_here("stl10") == ["test", "train"]
    assert benchmark_folder.describe(folder(), "train").images == 4


def test_a_connection_that_is_cut_in_the_middle_is_continued_there(web: Hub) -> None:
    web.dies["test/1.tar"] = 1
    pull.pull("stl10", ["test"])
    half = (folder() / "test" / "1.tar").stat().st_size // 2
    assert [asked for path, asked in web.asked if path == "test/1.tar"] == [None, f"bytes={half}-"]
    assert list(inventory.faults(folder(), deep=True)) == []


def test_a_break_loses_less_than_a_megabyte(web: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    large = [Sample("s0000000", bytes(3_000_000), "jpg", 0)]
    benchmark_folder.write_split(web.folders[SET], "test", large)
    monkeypatch.setattr(file_download.constants, "DOWNLOAD_CHUNK_SIZE", 10 << 20)
    web.dies["test/0.tar"] = 1
    pull.pull("stl10", ["test"])
    assert [asked for path, asked in web.asked if path == "test/0.tar"] == [None, f"bytes={1 << 20}-"]


def test_a_pull_that_gave_up_goes_on_where_it_stopped(web: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (web.folders[SET] / "test" / "1.tar").stat().st_size
    folder().joinpath("test").mkdir(parents=True)
    part = folder() / "test" / "1.tar.part"
    part.write_bytes((web.folders[SET] / "test" / "1.tar").read_bytes()[: size // 3])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens at the port for discarding
    with pytest.raises(RunError, match=r"^http://127.0.0.1:9 cannot be reached .*what is fetched is kept$"):
        pull.pull("stl10", ["test"])
    assert str(public.missing("stl10")).startswith("stl10 has no record.json in the folder of public sets: `")
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    pull.pull("stl10", ["test"])
    assert ("test/1.tar", f"bytes={size // 3}-") in web.asked
    assert public.missing("stl10") is None


def test_a_hub_that_knows_no_ranges_sends_all_again(web: Hub) -> None:
    web.ignores_ranges = True
    web.dies["test/1.tar"] = 1
    pull.pull("stl10", ["test"])
    assert list(inventory.faults(folder(), deep=False)) == []


@pytest.mark.parametrize("path", ["test/0.tar", "classnames.txt"])
def test_bytes_that_are_not_those_listed_are_refused_and_deleted(web: Hub, path: str) -> None:
    right = (web.folders[SET] / path).read_bytes()
    web.replaced[path] = bytes([right[0] ^ 1]) + right[1:]
    with pytest.raises(RunError, match=rf"what .* sent for {path} of {SET} is not what it lists .* deleted"):
        pull.pull("stl10", ["test"])
    assert not list(folder().rglob(f"{Path(path).name}*"))
    web.replaced.clear()
    pull.pull("stl10", ["test"])


def test_a_file_that_is_shorter_than_listed_is_refused(web: Hub) -> None:
    web.replaced["test/0.tar"] = (web.folders[SET] / "test" / "0.tar").read_bytes()[:-512]
    said = rf"what .* sent for test/0\.tar of {SET} is not what it lists .* it was deleted"
    with pytest.raises(RunError, match=said):
        pull.pull("stl10", ["test"])
    assert not list(folder().rglob("0.tar*")), "to ask for what follows would be refused for ever"


def test_what_was_damaged_since_is_fetched_again_and_nothing_else(web: Hub) -> None:
    pull.pull("stl10", ["test"])
    (folder() / "test" / "1.tar").write_bytes(b"short")
    with pytest.raises(
        DataError, match=r"1\.tar has 5 bytes, but its record says [\d,]+ bytes; fetch it again"
    ):
        benchmark_folder.describe(folder(), "test")
    web.asked.clear()
    pull.pull("stl10", ["test"])
    assert fetched(web) == ["test/1.tar"]
    assert benchmark_folder.describe(folder(), "test").images == 6


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (403, "GatedRepo", InputError, "to those alone who agreed to its terms"),
        (401, "RepoNotFound", InputError, f"has no data set {SET}, or it is private"),
        (404, "RepoNotFound", InputError, f"has no data set {SET}, or it is private"),
        (404, "RevisionNotFound", InputError, "has no longer what it listed"),
        (403, "", InputError, f"answers 403 Forbidden for {SET}; give a token"),
        (429, "", RunError, f"answers 429 Too Many Requests for {SET}; give the same command again later"),
        (500, "", RunError, f"answers 500 Internal Server Error for {SET}; give the same command again"),
    ],
)
def test_what_a_hub_refuses_is_said_in_a_line(
    web: Hub, status: int, code: str, error: type[Exception], said: str
) -> None:
    web.refuses = (status, code)
    with pytest.raises(error, match=said) as caught:
        pull.pull("stl10", ["test"])
    assert "\n" not in str(caught.value)


def test_without_the_network_a_set_that_is_there_can_be_used(
    web: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull.pull("stl10", ["test"])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    pull.pull("stl10", ["test"])
    with pytest.raises(RunError, match="cannot be reached"):
        pull.pull("stl10", ["test", "train"])
    assert benchmark_folder.describe(folder(), "test").images == 6, "a failed pull takes nothing away"


def test_a_disk_with_too_little_room_is_told_before_anything_is_fetched(
    web: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")._replace(free=pull.SPARE + 100)
    monkeypatch.setattr(pull.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        RunError, match=r"wds_stl10 needs 0 MB more and 268 to spare, but its disk has 268 MB"
    ):
        pull.pull("stl10", ["test"])
    assert fetched(web) == []


def test_a_disk_that_fills_meanwhile_is_named(web: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_download.constants, "DOWNLOAD_CHUNK_SIZE", 1 << 20)
    folder().joinpath("test").mkdir(parents=True)
    (folder() / "test" / "0.tar.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        pull.pull("stl10", ["test"])
    assert caught.value.filename == str(folder() / "test" / "0.tar.part")


def test_a_part_that_cannot_be_written_is_no_fault_of_the_network(web: Hub) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(RunError, match=r"test/0\.tar\.part cannot be written \(File too large\)"):
            pull.pull("stl10", ["test"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    pull.pull("stl10", ["test"])


def test_a_place_that_is_no_folder_is_named(web: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    places.root().write_text("a file")
    with pytest.raises(RunError, match=rf"^{folder()} cannot be written \(Not a directory\).*RANKCLIP_BENCH"):
        pull.pull("stl10", ["test"])


def test_a_hub_that_does_not_answer_is_not_asked_again_and_again(
    web: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_door.quick_to_fail() as why:
        assert (why, constants.HF_HUB_OFFLINE) == ("", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with hub_door.quick_to_fail() as why:
        assert why.startswith("http://127.0.0.1:9 cannot be reached (")
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


def test_a_count_of_tars_out_of_all_reason_ends_at_the_first_that_lacks(web: Hub) -> None:
    (web.folders[SET] / "test" / "nshards.txt").write_text("999999999")
    with pytest.raises(DataError, match=r"wds_stl10 has no test/2\.tar, which its test/nshards\.txt counts"):
        pull.pull("stl10", ["test"])


def test_a_set_that_lacks_a_tar_is_no_set(web: Hub) -> None:
    (web.folders[SET] / "test" / "1.tar").unlink()
    with pytest.raises(DataError, match=r"wds_stl10 has no test/1\.tar, which its test/nshards\.txt counts"):
        pull.pull("stl10", ["test"])


def test_a_name_that_is_nearly_right_is_told(web: Hub) -> None:
    with pytest.raises(
        InputError, match="no public set is named 'cifar10'; did you mean vtab-cifar10 or vtab-c"
    ):
        pull.known(["cifar10"])
    with pytest.raises(InputError, match="'imagnet1k'; did you mean imagenet1k\\?"):
        pull.known(["stl10", "imagnet1k"])
    for name in ("wds_cars", "clip-benchmark/wds_cars"):
        with pytest.raises(InputError, match=f"'{name}'; did you mean cars"):
            pull.known([name])
    with pytest.raises(InputError, match=r"'vtab/cifar10'; did you mean vtab-cifar10 or"):
        pull.known(["vtab/cifar10"])
    with pytest.raises(InputError, match=r"sugarcrepe is on no hub: .* docs/evaluation"):
        pull.known(["sugarcrepe"])
    with pytest.raises(InputError, match="imagenet-a has no train split"):
        pull.pull("imagenet-a", ["test", "train"])


def archived(path: Path, names: list[str]) -> None:
    """A tar.gz of pictures under these names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = len(IMAGES[number].image)
            tar.addfile(member, io.BytesIO(IMAGES[number].image))
    path.write_bytes(gzip.compress(buffer.getvalue()))


@pytest.fixture
def variant(web: Hub, tmp_path: Path) -> Path:
    """Another repository of the hub: an archive, whose class names another set has."""
    texts, archives = tmp_path / "hub" / "wds_imagenetv2", tmp_path / "hub" / "ImageNetV2"
    benchmark_folder.write_classes(texts, [f"class {k}" for k in range(1000)], ["a {c}"])
    archives.mkdir()
    web.folders |= {"clip-benchmark/wds_imagenetv2": texts, "vaishaal/ImageNetV2": archives}
    return archives / "imagenetv2-top-images.tar.gz"


def test_an_archive_of_labelled_folders_becomes_a_set(variant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankclip.data.benchmarks.archive.SHARD", 2)
    archived(variant, ["val/7/b.jpeg", "val/README", "val/999/a.jpeg", "val/0/c.jpeg"])
    pull.pull("imagenetv2-top", ["test"])
    made = places.root() / "wds_imagenetv2-top"
    split = benchmark_folder.read_split(made, "test")
    assert [sample.label for sample in split.samples] == [7, 999, 0]
    assert [sample.image for sample in split.samples] == [IMAGES[number].image for number in (0, 2, 3)]
    assert split.classnames[7] == "class 7"
    assert sorted(path.name for path in (made / "test").iterdir()) == ["0.tar", "1.tar", "nshards.txt"]
    assert not list(made.glob("*.gz")), "the archive is not kept"


@pytest.mark.parametrize("name", ["val/1000/a.jpeg", "val/tench/a.jpeg", "a.jpeg"])
def test_an_archive_with_an_image_of_no_class_is_refused(variant: Path, name: str) -> None:
    archived(variant, [name])
    with pytest.raises(DataError, match=rf"{name} lies in no folder of a label, 0 to 999"):
        pull.pull("imagenetv2-top", ["test"])


def test_an_archive_that_is_cut_off_is_named(variant: Path) -> None:
    archived(variant, ["val/7/b.jpeg"])
    variant.write_bytes(variant.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"top-images\.tar\.gz is not a whole tar\.gz .*; pull it again"):
        pull.pull("imagenetv2-top", ["test"])
