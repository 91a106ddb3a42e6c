"""Tars of samples that a user has, indexed where they are: read once, in parallel; nothing of them is copied.

source.place (a folder or a bucket of tars)  ->  ledger.parquet, ledger.json, shards/

shards/
├── place.json     where the tars are
├── index.parquet, keys.txt.gz, card.json, manifest.json   see `sharding.publish`
└── record.json    what the folder was made from, written last
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import PIL

from rankclip import files, launch, lifecycle, storage
from rankclip.data import bars, processes
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.curation import ledger
from rankclip.data.indexing.parts import IndexWork, finished, index_tar, write
from rankclip.data.indexing.samples import Samples, Tar
from rankclip.data.reasons import Reason
from rankclip.data.sharding import card
from rankclip.data.sharding.publish import publish
from rankclip.data.sources.webdataset import WebdatasetSpec, tars_of
from rankclip.errors import DataError, InputError
from rankclip.spec import digest

REMEDY = "make it again with `dvc repro -f -s index`"

CODE = (
    *(f"data/indexing/{name}.py" for name in ("parts", "tar_samples", "image_header")),
    *(f"data/{name}.py" for name in ("images", "reasons", "tar_members", "tars")),
    "data/sharding/packing.py",
    "data/sources/webdataset.py",
)
"""Sources, below the package, that a part depends on."""

BYTES_OF_WORK = 100_000
"""Bytes that take as long to read, digest and look through as it takes to decode an image."""


def run(source: WebdatasetSpec, captions: Mapping[str, CaptionSpec], data: Path, work: Path) -> None:
    """Write `data/shards` and the ledger from the tars of `source`, which are only read.

    What is found in a tar is kept in `work/index`, so that a run that was interrupted, or one with other
    tables of captions or more tars, reads no tar a second time.

    Raises:
        InputError: the place has no tars or others than the study, or a table of captions cannot be joined.
        DataError: a tar cannot be read or is damaged, or no sample is good.
        RunError: another process is at the same work, or the place does not answer.
    """
    store = storage.store(source.place)
    stats = tars_of(store, source.tars)
    sizes = {name: stat.bytes for name, stat in stats.items()}
    if digest(sizes) != source.digest:
        raise InputError(
            f"source.place {store.place} has other tars than the study ({len(sizes)}, of "
            f"{sum(sizes.values())} bytes); run `rankclip use` again, to study them as they are now"
        )
    folder, made = data / "shards", (work / "index").absolute()
    with lifecycle.lock(made):
        tars = _read(source, store, stats, made)
        (folder / "manifest.json").unlink(missing_ok=True)  # before the ledger that it fits changes
        samples = Samples(tars)
        summary = ledger.write(data, samples.ledger(), samples.count, (), REMEDY)
        if not summary["ok"]:
            raise DataError(
                f"{store.place} has no good sample among {samples.count}; {data / 'ledger.parquet'} says why "
                "in its column `detail`: correct source.captions, source.images or source.key"
            )
        storage.write_place(folder, store)
        shards, parts = samples.shards(), [samples.good(number) for number in range(len(tars))]
        about = card.about(data.name, source, summary)
        publish(folder, parts, shards, captions, about, made / "captions")
        inputs = {f"captions.{slot}": each.sha256 for slot, each in captions.items()}
        inputs["tars"] = source.digest
        joined = {slot: each.model_dump(mode="json", exclude={"path"}) for slot, each in captions.items()}
        config = {"source": source.model_dump(mode="json", exclude={"place"}), "captions": joined}
        files.write_record(folder, config, inputs, {"samples": summary["ok"], "shards": len(shards)})
        _delete_others(made, tars)


def _read(
    source: WebdatasetSpec, store: storage.Store, stats: Mapping[str, storage.Stat], folder: Path
) -> list[Tar]:
    """Every tar with what is in it, in order of names; those are read that no earlier run has read."""
    said = source.dump()
    about = {name: said[name] for name in ("captions", "images", "key", "url")}
    key = digest({**about, "place": store.place, "pillow": PIL.__version__, "code": files.code_digest(CODE)})
    here = not launch.on_cluster()
    tars = [IndexWork(source, store, name, *stat, key, folder, here) for name, stat in stats.items()]
    missing = [tar for tar in tars if finished(tar) is None]
    total, left = (sum(tar.bytes for tar in some) for some in (tars, missing))
    reasons: Counter[str] = Counter()
    with bars.bar("read tars", total >> 20, "MiB", done=(total - left) >> 20) as advance:
        read = processes.mapped(index_tar, missing, images=left // BYTES_OF_WORK)
        for tar, found in zip(missing, read, strict=True):
            if found.part is not None:
                write(tar, found.part, found.sha256)
            reasons += found.reasons
            good = f"{reasons[Reason.OK] / max(reasons.total(), 1):.1%} good"
            advance(tar.bytes >> 20, f"{reasons.total():,} samples, {good}")
    now = store.stats("")
    contents = [(tar, finished(tar)) for tar in tars]
    changed = [tar.name for tar, found in contents if found is None or now.get(tar.name) != stats[tar.name]]
    if changed:
        raise DataError(f"{store.named(changed[0])} changed while others were read; run `rankclip use` again")
    return [(tar, found) for tar, found in contents if found is not None]


def _delete_others(folder: Path, tars: Sequence[Tar]) -> None:
    """Deletes what is known of tars that the study has no more."""
    known = {path.name for tar, _ in tars for path in (tar.part, tar.note)}
    for path in (*folder.glob("*.parquet"), *folder.glob("*.json")):
        if path.name not in known:
            path.unlink()
