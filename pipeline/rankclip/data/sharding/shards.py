"""Curated samples packed into tars with an index; equal inputs give equal bytes.

ledger.parquet, ledger.json, crawl/, source/, tables of captions  ->  shards/

shards/
├── 00000.tar, ...    KEY.jpg, KEY.json, KEY.txt of each sample, in order of rows
├── place.json        where the tars are, if RANKCLIP_STORE puts them elsewhere: each set in its own place,
│                     since studies of one name may share a store; an earlier set stays there
├── index.parquet, keys.txt.gz, card.json, manifest.json   see `publish`
├── packs.json        what each tar was made from, so that it is made again only when that changes
└── record.json       what the folder was made from, written last
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL

from rankclip import files, launch, lifecycle, storage
from rankclip.data import bars, processes
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.sharding import accepted, card, earlier, known_columns
from rankclip.data.sharding.packing import ShardDescription, ShardWork, note_packed, pack, packed
from rankclip.data.sharding.publish import publish
from rankclip.data.sharding.spec import ShardSpec
from rankclip.errors import DataError
from rankclip.spec import digest

CODE = ("data/sharding/packing.py", "data/images.py", "data/tars.py")
"""Sources, below the package, that the bytes of a shard depend on."""


def run(
    spec: ShardSpec, source: card.Described, captions: Mapping[str, CaptionSpec], data: Path, work: Path
) -> None:
    """Write `data/shards` from the accepted rows of `data/ledger.parquet`.

    Shards are made in `work/shards`, where a run that was interrupted finds its finished ones again. Tars of
    an earlier run of which neither rows, settings nor code changed are not made again.

    Raises:
        InputError: a table of captions cannot be joined.
        DataError: an input is missing, damaged or of another run, or no row was accepted.
        RunError: another process is at the same work, or a place of tars does not answer.
    """
    folder, made = data / "shards", work / "shards"
    known_columns.require_unchanged(captions)  # before hours of work, not after
    with lifecycle.lock(made):
        keys = _keys(spec, data / "ledger.parquet")
        target = storage.for_tars(folder, digest(keys))
        shards = _packed(spec, data, made, target, keys)
        storage.write_place(folder, target)
        about = card.about(data.name, source, files.read_json(data / "ledger.json", accepted.REMEDY))
        parts = [made / f"{name.removesuffix('.tar')}.parquet" for name in shards]
        samples = publish(folder, parts, shards, captions, about, made / "captions", data / "source")
        _delete_others(folder, shards if target == storage.store(folder) else ())
        known = [
            data / "ledger.parquet",
            *(data / "source" / f"{n}.parquet" for n in ("captions", "latents")),
        ]
        inputs = {path.name: files.sha256(path) for path in known if path.exists()}
        inputs |= {f"captions.{slot}": each.sha256 for slot, each in captions.items()}
        joined = {slot: each.model_dump(mode="json", exclude={"path"}) for slot, each in captions.items()}
        config = {"shard": spec.dump(), "captions": joined}
        files.write_record(folder, config, inputs, {"samples": samples, "shards": len(shards)})
        _empty(made)


def _packed(
    spec: ShardSpec, data: Path, made: Path, target: storage.Store, keys: Mapping[str, str]
) -> dict[str, ShardDescription]:
    """All shards, of which those that are not there yet are made; by the name of the tar, in order."""
    folder = data / "shards"
    sizes = target.sizes(".tar")
    earlier.take_over(folder, made, keys, sizes)
    missing = [name for name, key in keys.items() if packed(made, name, key, sizes) is None]
    if missing:
        for name in ("manifest.json", earlier.NOTE):  # before the tars that they are about change
            (folder / name).unlink(missing_ok=True)
        _pack(spec, data, made, target, {name: keys[name] for name in missing})
        sizes = target.sizes(".tar")
    earlier.write_note(folder, keys)
    tars = {f"{name}.tar": packed(made, name, key, sizes) for name, key in keys.items()}
    lost = [name for name, tar in tars.items() if tar is None]
    if lost:
        raise DataError(
            f"{target.place}/{lost[0]} is not there after it was made; give RANKCLIP_STORE a place that all "
            "machines see, or run the stage again"
        )
    return {name: tar for name, tar in tars.items() if tar is not None}


def _pack(spec: ShardSpec, data: Path, made: Path, target: storage.Store, keys: Mapping[str, str]) -> None:
    """Make the shards of these names and keys."""
    images = 0
    for name, rows in accepted.shards(data / "ledger.parquet", spec.samples_per_shard):
        if name in keys:
            (made / f"{name}.json").unlink(missing_ok=True)
            files.write_table(made / f"{name}.todo", rows)
            images += len(rows)
    todo = _Todo(spec, storage.of_tars(data / "crawl"), target, made, keys)
    with bars.bar("shard", images, "images") as advance:
        for done in processes.mapped(pack, todo, images=images):
            if done.rows is not None:
                note_packed(made, done.name, done.key, done.rows, done.tar)
            advance(done.tar["samples"])


@dataclass(frozen=True)
class _Todo(Sequence[ShardWork]):
    """The work on each shard, its rows read when it is asked for."""

    spec: ShardSpec
    crawl: storage.Store
    target: storage.Store
    made: Path
    keys: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: Any) -> Any:
        name = list(self.keys)[at]
        rows = files.read_table(self.made / f"{name}.todo")
        folder = None if launch.on_cluster() else self.made
        quality = self.spec.jpeg_quality
        return ShardWork(name, self.keys[name], rows, quality, self.crawl, self.target, folder)


def _keys(spec: ShardSpec, ledger: Path) -> dict[str, str]:
    """Name of each shard -> digest of all that its bytes follow from.

    Raises:
        DataError: the ledger accepts no row.
    """
    about = digest({"quality": spec.jpeg_quality, "pillow": PIL.__version__, "code": files.code_digest(CODE)})
    shards = accepted.shards(ledger, spec.samples_per_shard)
    keys = {name: accepted.digest(rows, about) for name, rows in shards}
    if not keys:
        raise DataError(f"{ledger} accepts none of its rows; its column `detail` says why")
    return keys


def _delete_others(folder: Path, shards: Collection[str]) -> None:
    """Deletes tars of an earlier set from beside the index; in a store somebody else may have the same."""
    beside = storage.store(folder)
    for name in beside.sizes(".tar").keys() - shards:
        beside.delete(name)


def _empty(made: Path) -> None:
    """Deletes all but the lock: whoever waits for it must not wait for a file that is gone."""
    for path in made.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()
