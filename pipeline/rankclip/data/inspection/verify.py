"""A finished data set held against all that is said of it: everything that is wrong, not only the first."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankclip import files, storage
from rankclip.data import processes
from rankclip.data.bars import bar
from rankclip.data.inspection import agreement, card, index_check, picked, tally
from rankclip.data.inspection.index_check import Span
from rankclip.data.inspection.tar_check import Checked, CheckWork, check_tar
from rankclip.data.sharding import pool
from rankclip.errors import DataError
from rankclip.storage import Store

SEED = 0
"""Chooses the images that are decoded where not all are."""


@dataclass(frozen=True)
class Verified:
    """`faults`: a line each, what is wrong and its remedy; `decoded`: images that were."""

    faults: tuple[str, ...]
    samples: int
    shards: int
    decoded: int


def run(data: Path, work: Path, *, indexed: bool, deep: bool, sample: int) -> Verified:
    """Checks the ledger, the shards, their index and card below `data`; nothing is changed.

    Args:
        data: the study's folder of data.
        work: the study's folder of work; copies of tars that lie elsewhere go into its `verify`.
        indexed: the tars are the user's own, read in place.
        deep: read every byte and decode every image, instead of `sample` of them.

    Raises:
        DataError: there is no data set to check.
        RunError: the place of the tars does not answer.
    """
    shards = data / "shards"
    remedy = f"run `dvc repro -f -s {'index' if indexed else 'shard'}`"
    manifest = files.read_json(shards / "manifest.json", "run `rankclip repro`, then verify what it made")
    if not isinstance(manifest, dict) or not {"shards", "samples", "index_sha256"} <= manifest.keys():
        raise DataError(f"{shards / 'manifest.json'} does not list tars, samples and index; {remedy}")
    lost = f"put it back as it was, or {remedy}" if indexed else remedy
    # the stages know a tar by its size, and would take a damaged one for made or read
    damaged = f"delete it, then {remedy}"
    if indexed:
        damaged = (
            f"put it back as it was, or delete {work / 'index'} and {remedy}; training leaves out and counts "
            "what does not decode"
        )
    store = storage.of_tars(shards)
    absent = dict(missing(store, manifest["shards"]))
    faults = [f"{what}; {lost}" for what in absent.values()]
    faults += filter(None, (said(check) for check in _ledger_checks(data)))
    index = index_check.run(shards, manifest)
    faults += [f"{what}; {remedy}" for what in (*index.faults, *_card_faults(data, manifest, deep))]
    spans = [span for span in index.spans if span.shard not in absent]
    works = _work(store, shards, work / "verify", spans, manifest["shards"], None if deep else sample)
    decoded = 0
    for checked in _shown(works):
        decoded += checked.images
        faults += [f"{what}; {damaged}" for what in checked.faults]
    return Verified(tuple(faults), index.samples, len(manifest["shards"]), decoded)


def missing(store: Store, described: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and trouble of every tar that is not there or has another size than the manifest says."""
    sizes = store.sizes("")
    for name, of in described.items():
        if name not in sizes:
            yield name, f"{store.named(name)} is missing"
        elif sizes[name] != of["bytes"]:
            yield name, f"{store.named(name)} has {sizes[name]} bytes, manifest.json says {of['bytes']}"


def said(check: Callable[[], object]) -> str:
    """What a check complains of; empty where it has nothing to say."""
    try:
        check()
    except DataError as error:
        return str(error)
    return ""


def _ledger_checks(data: Path) -> list[Callable[[], object]]:
    ledger = data / "ledger.parquet"
    return [
        lambda: tally.require_summary(ledger),
        lambda: agreement.require_same_samples(ledger, data / "shards" / "index.parquet"),
    ]


def _card_faults(data: Path, manifest: dict[str, Any], deep: bool) -> list[str]:
    """What the card says otherwise than the manifest and the ledger's summary, and `deep` than the index."""
    path = data / "shards" / "card.json"
    try:
        told, summary = card.read(data / "shards"), files.read_json(data / "ledger.json")
        digest = pool.digest_of(data / "shards" / "index.parquet") if deep else told["digests"].get("pool")
    except DataError as error:
        return [str(error).rpartition("; ")[0]]
    described = manifest["shards"].values()
    facts = {
        "samples": manifest["samples"],
        "shards": len(described),
        "bytes": sum(of["bytes"] for of in described),
        **{name: summary.get(name) for name in ("input", "ok", "reasons", "flags")},
    }
    wrong = [
        f"{path} says {told[name]} {name}, manifest.json and ledger.json say {fact}"
        for name, fact in facts.items()
        if told[name] != fact
    ]
    if told["digests"].get("index") != manifest["index_sha256"]:
        wrong.append(f"{path} is of another index.parquet than manifest.json")
    if told["digests"].get("pool") != digest:
        wrong.append(f"{path} has another digest of keys and images than index.parquet, {digest}")
    return wrong


def _work(
    store: Store,
    shards: Path,
    scratch: Path,
    spans: Sequence[Span],
    described: dict[str, Any],
    sample: int | None,
) -> list[CheckWork]:
    """A piece of work for each tar of which something is looked at; of all `sample` images, evenly spread."""
    total = sum(span.rows for span in spans)
    chosen = None if sample is None else picked.spread(total, sample, SEED)
    works, before = [], 0
    for span in spans:
        positions = None
        if chosen is not None:
            low, high = (bisect.bisect_left(chosen, edge) for edge in (before, before + span.rows))
            positions = tuple(span.start + position - before for position in chosen[low:high])
        before += span.rows
        if positions is None or positions:
            sha256 = described[span.shard]["sha256"] if positions is None else ""
            works.append(CheckWork(store, shards / "index.parquet", scratch, span, positions, sha256))
    return works


def _shown(works: Sequence[CheckWork]) -> Iterator[Checked]:
    total = sum(work.images for work in works)
    with bar("verify", total, "images") as advance:
        wrong = 0
        for checked in processes.mapped(check_tar, works, total):
            wrong += len(checked.faults)
            advance(checked.images, f"{wrong} wrong" if wrong else "all right so far")
            yield checked
