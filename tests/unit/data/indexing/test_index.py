"""Tars of others are described where they are: rightly, wholly, and without a change to them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip import files, storage
from rankclip.data import tars
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.indexing import index, parts
from rankclip.data.loading.samples import Samples
from rankclip.data.tables.table_files import digest_of as table_digest
from rankclip.errors import DataError, InputError
from tests.unit.data.crawled import encoded, picture, rotated_by_exif
from tests.unit.data.indexing.tarred import (
    image,
    indexed,
    ledger,
    listed,
    outputs,
    sample,
    slow_index,
    source,
    tar_folder,
    write_tar,
)

JPEG, PNG = image(1), encoded(picture(), "PNG")
BLOBS = [JPEG, PNG, rotated_by_exif(), JPEG[:40], b"<html>", b""]
TEXTS = [b"a text", b" \n", b"", b"caf\xe9", "grün".encode(), b"\xef\xbb\xbfmarked"]
NOTES = [b'{"url": "http://a.example", "said": ["one", " ", "two"]}', b'{"said": "x"}', b"{", b"[1]", b""]
MEMBERS = st.one_of(
    st.tuples(st.sampled_from(["jpg", "JPG", "png"]), st.sampled_from(BLOBS)),
    st.tuples(st.sampled_from(["txt", "TXT"]), st.sampled_from(TEXTS[:3] + TEXTS[4:5])),
    st.tuples(st.just("json"), st.sampled_from(NOTES)),
    st.tuples(st.sampled_from(["cls", "seg.png"]), st.just(b"1")),
)
STEMS = st.sampled_from(["a", "b", "./c", "d/a", "d.e/a", "x" * 120, ".hidden", "ü"])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.tuples(STEMS, MEMBERS), max_size=12), min_size=1, max_size=3), st.booleans())
def test_the_index_is_that_of_a_slow_twin(tars: list[list[Any]], apart: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tar(folder / "tars" / "sure.tar", sample("sure", 3))
        for number, members in enumerate(tars):
            named = [(f"{stem}.{extension}", blob) for stem, (extension, blob) in members]
            form = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)[number % 2]
            write_tar(folder / "tars" / f"{number}.tar", named, form)
        spec = source(
            folder / "tars",
            captions={"raw": "txt", "said": "json:said"},
            key="tar/__key__" if apart else "__key__",
        )
        good, told = slow_index(spec)
        data = indexed(spec, folder)
        assert listed(data) == good
        rows = ledger(data)
        assert [(row["key"], row["reason"]) for row in rows] == told
        assert [row["row"] for row in rows] == list(range(len(told)))


def test_samples_are_read_from_where_they_are(tmp_path: Path) -> None:
    place = tar_folder(tmp_path / "tars")
    data = indexed(source(place), tmp_path)
    assert not list(data.rglob("*.tar"))
    with Samples(data / "shards") as samples:
        assert list(samples.keys) == [f"{number:06d}" for number in [*range(4, 12), *range(4)]]
        assert [samples.read(i) for i in range(len(samples))] == [image(int(key)) for key in samples.keys]
    assert listed(data)[0]["captions.raw"] == ["caption 4"]
    assert files.read_json(data / "shards" / "place.json") == {"place": str(place)}


def test_the_manifest_describes_every_tar(tmp_path: Path) -> None:
    place = tar_folder(tmp_path / "tars")
    manifest = files.read_json(indexed(source(place), tmp_path) / "shards" / "manifest.json")
    assert manifest["shards"] == {
        path.relative_to(place).as_posix(): {
            "sha256": files.sha256(path),
            "bytes": path.stat().st_size,
            "samples": 4,
        }
        for path in sorted(place.rglob("*.tar"))
    }


def test_nothing_is_written_where_the_tars_are(tmp_path: Path) -> None:
    place = tar_folder(tmp_path / "tars")
    for path in [*place.rglob("*"), place]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat() for path in [place, *place.rglob("*")]}
    indexed(source(place), tmp_path)
    after = {path: path.stat() for path in [place, *place.rglob("*")]}
    assert after.keys() == before.keys()
    for path, was in before.items():
        assert (was.st_mtime_ns, was.st_size, was.st_ino) == (
            after[path].st_mtime_ns,
            after[path].st_size,
            after[path].st_ino,
        )
        path.chmod(0o755)


def test_a_bucket_gives_what_a_folder_gives(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankclip.data.processes.WORTH_SHARING", 0)
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    place = tar_folder(tmp_path / "tars")
    store = storage.store(f"{bucket}/some/prefix")
    for name in storage.store(place).sizes(".tar"):
        store.put(place / name, name)
    near, far = indexed(source(place), tmp_path / "near"), indexed(source(store.place), tmp_path / "far")
    assert outputs(near) == outputs(far)
    assert files.read_json(far / "shards" / "place.json") == {"place": store.place}
    assert store.sizes("") == storage.store(place).sizes("")


def test_more_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = source(tar_folder(tmp_path / "tars"))
    one = outputs(indexed(spec, tmp_path / "one"))
    monkeypatch.setattr("rankclip.data.processes.WORTH_SHARING", 0)
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    assert outputs(indexed(spec, tmp_path / "two")) == one


def test_what_is_wrong_with_a_sample_is_said_once(tmp_path: Path) -> None:
    members = [
        *sample("good", 1),
        ("text.jpg", JPEG),
        ("blank.jpg", JPEG),
        ("blank.txt", b" \n"),
        ("latin.jpg", JPEG),
        ("latin.txt", b"caf\xe9"),
        ("image.txt", b"x"),
        ("page.jpg", b"<html>"),
        ("page.txt", b"x"),
        ("cut.jpg", JPEG[:30]),
        ("cut.txt", b"x"),
        ("json.jpg", JPEG),
        ("json.txt", b"x"),
        ("json.json", b'{"url": 1.5}'),
        *sample("good", 2),
    ]
    write_tar(tmp_path / "tars" / "a.tar", members)
    write_tar(tmp_path / "tars" / "b.tar", sample("good", 3))
    data = indexed(source(tmp_path / "tars"), tmp_path)
    told = [(row["key"], row["reason"], row["detail"]) for row in ledger(data)]
    assert told[0] == ("good", "ok", "")
    assert told[1:3] == [("text", "empty_caption", "no txt among jpg"), ("blank", "empty_caption", "")]
    assert told[3] == ("latin", "bad_encoding", "txt: unexpected end of data at byte 3")
    assert told[4] == ("image", "missing", "no image among txt")
    assert told[5] == ("page", "not_an_image", "6 bytes that begin as no image does")
    assert told[6][:2] == ("cut", "decode")
    assert told[7] == ("json", "malformed_row", "url of json is no text")
    repeated = ("good", "duplicate_key", "same key as a sample of a.tar")
    assert told[8:] == [repeated, repeated]
    assert files.read_json(data / "ledger.json")["reasons"] == {
        "bad_encoding": 1,
        "decode": 1,
        "duplicate_key": 2,
        "empty_caption": 2,
        "malformed_row": 1,
        "missing": 1,
        "not_an_image": 1,
    }
    assert {row["stage"] for row in ledger(data)} == {"index"}
    card = files.read_json(data / "shards" / "card.json")
    assert (card["input"], card["ok"], card["samples"]) == (10, 1, 1)


def test_keys_may_be_told_by_their_tar_or_by_a_field(tmp_path: Path) -> None:
    for tar in "ab":
        write_tar(tmp_path / "tars" / f"{tar}.tar", sample("0", ord(tar), uid=f"uid of {tar}"))
    place = tmp_path / "tars"
    by_name, by_tar, by_field = (
        [row["key"] for row in listed(indexed(source(place, key=key), tmp_path / key.replace("/", " ")))]
        for key in ("__key__", "tar/__key__", "json:uid")
    )
    assert by_name == ["0"]
    assert by_tar == ["a.tar/0", "b.tar/0"]
    assert by_field == ["uid of a", "uid of b"]


def test_a_sample_without_its_field_of_a_key_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "a.tar", [*sample("0", 1), *sample("1", 2, uid=7)])
    rows = ledger(indexed(source(tmp_path / "tars", key="json:uid"), tmp_path))
    assert [(row["key"], row["reason"], row["detail"]) for row in rows] == [
        ("0", "malformed_row", "uid of json is no key"),
        ("7", "ok", ""),
    ]


def test_captions_of_fields_become_slots(tmp_path: Path) -> None:
    note = {"raw": "a", "long": ["b.", "", "c."], "number": 7}
    write_tar(tmp_path / "tars" / "a.tar", [("0.jpg", JPEG), ("0.syn.json", json.dumps(note).encode())])
    captions = {"raw": "syn.json:raw", "long": "syn.json:long", "other": "syn.json:none"}
    spec = source(tmp_path / "tars", captions=captions, url=None)
    data = indexed(spec, tmp_path)
    (row,) = listed(data)
    assert [row[f"captions.{slot}"] for slot in captions] == [["a"], ["b.", "c."], []]
    assert row["url"] == ""


def test_of_several_images_the_first_kind_named_counts(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "a.tar", [("0.png", PNG), ("0.txt", b"x"), ("0.jpg", JPEG)])
    for kinds, blob in ((("jpg", "png"), JPEG), (("png", "jpg"), PNG)):
        spec = source(tmp_path / "tars", images=kinds)
        (row,) = listed(indexed(spec, tmp_path / kinds[0]))
        assert row["sha256"] == hashlib.sha256(blob).hexdigest()


def test_a_pattern_chooses_the_tars(tmp_path: Path) -> None:
    for name in ("cc-train-0.tar", "deep/CC-TRAIN-1.TAR", "cc-validation-0.tar", "._cc-train-0.tar"):
        write_tar(tmp_path / "tars" / name, sample(name.replace(".", "-"), len(name)))
    data = indexed(source(tmp_path / "tars", tars="*cc-train-*.tar"), tmp_path)
    assert [row["shard"] for row in listed(data)] == ["cc-train-0.tar", "deep/CC-TRAIN-1.TAR"]


def test_a_table_of_captions_is_joined_without_reading_a_tar_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = source(tar_folder(tmp_path / "tars"))
    indexed(spec, tmp_path)
    table = tmp_path / "more.jsonl"
    table.write_text("".join(json.dumps({"k": f"{n:06d}", "said": f"more {n}"}) + "\n" for n in range(12)))
    more = CaptionSpec(
        path=table, sha256=table_digest(table), join="key", column="k", take=("said",), split="none"
    )
    monkeypatch.setattr(parts.tars, "Stream", None)
    index.run(spec, {"more": more}, tmp_path / "data" / "mine", tmp_path / "work")
    rows = listed(tmp_path / "data" / "mine")
    assert [row["captions.more"] for row in rows] == [[f"more {int(row['key'])}"] for row in rows]
    assert [path for path in (tmp_path / "work" / "index").iterdir() if path.is_dir()] == []
    assert str(tmp_path) not in (tmp_path / "data" / "mine" / "shards" / "record.json").read_text()


def test_only_new_and_changed_tars_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tar_folder(tmp_path / "tars")
    indexed(source(place), tmp_path)
    read: list[str] = []
    real = parts.index_tar
    monkeypatch.setattr(index, "index_tar", lambda work: (read.append(work.name), real(work))[1])
    write_tar(place / "00009.tar", sample("new", 99))
    path = place / "00001.tar"
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    (place / "00002.tar").unlink()
    data = indexed(source(place), tmp_path)
    assert read == ["00001.tar", "00009.tar"]
    assert [row["key"] for row in listed(data)][4] == "new"
    left = {path.name for path in (tmp_path / "work" / "index").glob("*.parquet")}
    assert len(left) == 3
    fresh = indexed(source(place), tmp_path / "fresh")
    assert outputs(fresh) == outputs(data)


def test_a_run_that_fails_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = source(tar_folder(tmp_path / "tars"))
    undisturbed = outputs(indexed(spec, tmp_path / "other"))
    read: list[str] = []
    real = parts.index_tar

    def failing(work: parts.IndexWork) -> Any:
        read.append(work.name)
        if len(read) == 2:
            raise KeyboardInterrupt
        return real(work)

    monkeypatch.setattr(index, "index_tar", failing)
    with pytest.raises(KeyboardInterrupt):
        indexed(spec, tmp_path)
    assert outputs(indexed(spec, tmp_path)) == undisturbed
    assert read == ["00001.tar", "00002.tar", "00002.tar", "nested/00000.tar"]


def test_other_tars_than_the_study_has_are_refused(tmp_path: Path) -> None:
    place = tar_folder(tmp_path / "tars")
    spec = source(place)
    write_tar(place / "new.tar", sample("x", 1))
    with pytest.raises(InputError, match=r"has other tars than the study \(4, of \d+ bytes\).*rankclip use"):
        indexed(spec, tmp_path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda blob: blob[:3000], "is cut off"),
        (lambda blob: blob[:512] + b"\0" + blob[513:512] + blob[512:], "damaged"),
        (lambda blob: b"\x1f\x8b" + blob, "is compressed"),
        (lambda blob: blob + blob, "with another tar"),
        (lambda blob: b"", "is cut off at byte 0"),
    ],
)
def test_a_damaged_tar_stops_and_is_named(tmp_path: Path, damage: Any, told: str) -> None:
    place = tar_folder(tmp_path / "tars")
    path = place / "00001.tar"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        DataError, match=rf"00001\.tar is not a whole tar \(.*{told}.*fetch it again"
    ) as error:
        indexed(source(place), tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_disk_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def read(self, *unused: object) -> bytes:
            raise OSError(5, "Input/output error")

    spec = source(tar_folder(tmp_path / "tars"))
    monkeypatch.setattr("rankclip.storage.folder.Folder.open", lambda store, name: Failing())
    with pytest.raises(DataError, match=r"00001\.tar cannot be read \(\[Errno 5\].*look after its disk"):
        indexed(spec, tmp_path)


def test_a_tar_that_grows_while_it_is_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = source(tar_folder(tmp_path / "tars"))
    real = parts.tars.Stream.finish

    def growing(stream: tars.Stream) -> None:
        with (tmp_path / "tars" / "00001.tar").open("ab") as file:
            file.write(bytes(512))
        real(stream)

    monkeypatch.setattr(parts.tars.Stream, "finish", growing)
    with pytest.raises(DataError, match=r"00001\.tar changed while it was read"):
        indexed(spec, tmp_path)


def test_a_tar_of_a_bucket_replaced_by_one_of_its_size_is_read_again(bucket: str, tmp_path: Path) -> None:
    store = storage.store(bucket)
    one, other = (write_tar(tmp_path / f"{name}.tar", sample(name, 5)) for name in "ab")
    assert one.stat().st_size == other.stat().st_size
    store.put(one, "x.tar")
    before = store.stats("")
    assert [row["key"] for row in listed(indexed(source(bucket), tmp_path))] == ["a"]
    while store.stats("") == before:  # it counts whole seconds
        time.sleep(0.1)
        store.put(other, "x.tar")
    assert [row["key"] for row in listed(indexed(source(bucket), tmp_path))] == ["b"]


def test_a_tar_replaced_while_others_are_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = source(tar_folder(tmp_path / "tars"))
    real = parts.index_tar

    def replacing(work: parts.IndexWork) -> Any:
        os.utime(tmp_path / "tars" / "00001.tar", ns=(1, 1))
        return real(work)

    monkeypatch.setattr(index, "index_tar", replacing)
    with pytest.raises(DataError, match=r"00001\.tar changed while others were read"):
        indexed(spec, tmp_path)
    monkeypatch.undo()
    assert outputs(indexed(spec, tmp_path)) == outputs(indexed(spec, tmp_path / "fresh"))


def test_on_a_cluster_the_parts_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = source(tar_folder(tmp_path / "tars"))
    here = outputs(indexed(spec, tmp_path / "here"))

    def elsewhere(function: Callable[[Any], Any], items: Any, images: int) -> Iterator[Any]:
        """Stands for machines that see the tars, but not the folder of parts."""
        for item in items:
            found = pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(item)))))
            assert not item.part.exists()
            assert not item.note.exists()
            yield found

    monkeypatch.setattr("rankclip.launch.on_cluster", lambda: True)
    monkeypatch.setattr("rankclip.data.processes.mapped", elsewhere)
    assert outputs(indexed(spec, tmp_path / "cluster")) == here
    monkeypatch.setattr(parts.tars, "Stream", None)
    assert outputs(indexed(spec, tmp_path / "cluster")) == here


def test_a_folder_without_tars_is_named(tmp_path: Path) -> None:
    (tmp_path / "00000.tar.gz").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"has no \*\.tar; it has 1 other files, the first is 00000\.tar\.gz"
    ):
        source(tmp_path)
    with pytest.raises(InputError, match=r"nowhere has no \*\.tar; give the folder"):
        source(tmp_path / "nowhere")


def test_tars_without_a_good_sample_are_refused_and_the_ledger_says_why(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "a.tar", [("0.jpg", JPEG), ("0.caption", b"x")])
    with pytest.raises(DataError, match=r"no good sample among 1; .*ledger\.parquet says why"):
        indexed(source(tmp_path / "tars"), tmp_path)
    (row,) = ledger(tmp_path / "data" / "mine")
    assert row["detail"] == "no txt among jpg, caption"
    assert not (tmp_path / "data" / "mine" / "shards" / "manifest.json").exists()


def test_a_tar_that_changes_after_it_was_indexed_is_noticed(tmp_path: Path) -> None:
    place = tar_folder(tmp_path / "tars")
    data = indexed(source(place), tmp_path)
    write_tar(place / "00001.tar", sample("x", 1))
    with pytest.raises(DataError, match=r"00001\.tar has \d+ bytes, manifest\.json says \d+"):
        Samples(data / "shards")


def test_equal_hashes_need_not_be_equal_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = source(tar_folder(tmp_path / "tars"))
    write_tar(tmp_path / "tars" / "z.tar", sample("000001", 50))
    spec = source(tmp_path / "tars")
    expected = outputs(indexed(spec, tmp_path / "a"))
    monkeypatch.setattr(parts, "key_hash", lambda key: len(key))
    assert outputs(indexed(spec, tmp_path / "b")) == expected
    assert files.read_json(tmp_path / "b" / "data" / "mine" / "ledger.json")["reasons"] == {
        "duplicate_key": 1
    }
