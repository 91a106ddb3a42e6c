"""The stream of arrays against the same rules followed row by row, in Python, over everything in memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from rankclip import files
from rankclip.data.curation import curate, ledger, perceptual
from rankclip.data.curation.spec import Check, CurateSpec
from rankclip.data.curation.verdicts import judge
from tests.unit.data.crawled import Row, encoded, lay_out, picture
from tests.unit.data.curation.scenes import scene
from tests.unit.data.curation.test_leaks import with_benchmarks

SCENE = scene(7, (64, 48))
LEAK = encoded(scene(8, (64, 48)), "PNG")
BLOBS = [
    encoded(SCENE),
    encoded(SCENE, quality=70),
    encoded(SCENE, "PNG"),
    encoded(scene(9, (64, 48))),
    encoded(Image.new("RGB", (64, 48), "white")),
    encoded(picture(size=(8, 8)), "PNG"),
    encoded(picture(size=(200, 20)), "PNG"),
    LEAK,
    encoded(scene(8, (64, 48)), quality=80),
    encoded(SCENE)[:-300],
]
CHECKS: tuple[Check, ...] = get_args(Check)

inputs = st.one_of(
    st.builds(
        Row,
        blob=st.sampled_from(BLOBS),
        shard=st.sampled_from(["00000", "00001", "00001-r1"]),
        caption=st.sampled_from(["", "a cat", "buy now", "x" * 40]),
    ),
    st.sampled_from([Row(reason="dns"), Row(reason="empty_caption", stage="ingest")]),
)
specs = st.builds(
    CurateSpec,
    remove=st.sets(st.sampled_from(CHECKS)).map(lambda some: tuple(some | closed(some))),
    near_distance=st.integers(0, 4),
    blocklist=st.just(("buy", "now$")),
    max_caption_chars=st.just(30),
)


def closed(some: set[Check]) -> set[Check]:
    return {"duplicate_exact"} if "duplicate_near" in some else set()


def code(blob: bytes) -> int | None:
    pixels = judge(blob, 10**6).pixels
    hashes, meant = perceptual.hashes(np.frombuffer(pixels, np.uint8).reshape(-1, 32, 32))
    return int(hashes[0]) if len(meant) and meant[0] else None


CODES = {blob: code(blob) for blob in BLOBS}


class Twin:
    """The rules of `CurateSpec` and `duplicates`, one row after the other."""

    def __init__(self, spec: CurateSpec) -> None:
        self.spec = spec
        self.first: dict[bytes, int] = {}
        self.originals: list[tuple[int, int, bytes]] = []

    def flags(self, number: int, row: Row) -> list[str]:
        verdict, caption = judge(row.blob, 10**6), row.caption or f"caption {number}"
        short, long = sorted((verdict.width, verdict.height))
        own, leak = CODES[row.blob], CODES[LEAK]
        assert leak is not None
        distance = self.spec.near_distance or 0
        found = {
            "too_small": short < 16,
            "aspect": long > 3 * short,
            "caption": len(caption) > 30,
            "blocklist": caption == "buy now",
            "leak": row.blob == LEAK or (own is not None and (own ^ leak).bit_count() <= distance),
        }
        kept = not any(found[check] for check in self.spec.remove if check in found)
        like = [o for o in self.originals if own is not None and (o[1] ^ own).bit_count() <= distance]
        found["duplicate_near"] = bool(like) and like[0][2] != row.blob
        found["duplicate_exact"] = row.blob in self.first
        if kept:
            self.first.setdefault(row.blob, number)
            if own is not None and not like:
                self.originals.append((number, own, row.blob))
        return [check for check in CHECKS if found[check]]

    def ledger(self, rows: Sequence[Row]) -> list[tuple[str, str, list[str]]]:
        told = []
        for number, row in enumerate(rows):
            if row.reason != "ok":
                told.append((row.reason, row.stage, []))
                continue
            reason = str(judge(row.blob, 10**6).reason)
            flags = self.flags(number, row) if reason == "ok" else []
            removing = [check for check in flags if check in self.spec.remove]
            if removing:
                reason = "filtered_by_rule" if removing[0] in ("caption", "blocklist") else removing[0]
            told.append((reason, "curate", flags))
        return told


def curated(folder: Path, rows: Sequence[Row], spec: CurateSpec) -> list[dict[str, Any]]:
    data = with_benchmarks(lay_out(folder, rows, captions=False), {"set": {"test": [LEAK]}})
    for name in ("urls.parquet", "refused.parquet", "crawl/status.parquet"):
        parquet.write_table(files.read_table(data / name), data / name, row_group_size=2)
    curate.run(spec, data, data / "work")
    found: list[dict[str, Any]] = files.read_table(data / "ledger.parquet").to_pylist()
    return found


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(inputs, max_size=14), specs)
def test_the_ledger_is_that_of_the_rules(
    monkeypatch: pytest.MonkeyPatch, rows: list[Row], spec: CurateSpec
) -> None:
    monkeypatch.setattr(ledger, "GROUP_ROWS", 3)
    with tempfile.TemporaryDirectory() as folder:
        found = curated(Path(folder), rows, spec)
        summary = files.read_json(Path(folder) / "ledger.json")
    expected = Twin(spec).ledger(rows)
    assert [(row["reason"], row["stage"], row["flags"]) for row in found] == expected
    counts = Counter(reason for reason, _, _ in expected)
    assert summary["ok"] == counts.pop("ok", 0)
    assert summary["reasons"] == counts
    assert {check: n for check, n in summary["flags"].items() if n} == Counter(
        flag for _, _, flags in expected for flag in flags
    )
    kept = {row["key"] for row in found if row["reason"] == "ok"}
    for row in found:
        if row["reason"] in ("duplicate_near", "duplicate_exact"):
            assert row["detail"].split()[3 if row["reason"] == "duplicate_exact" else 2] in kept
        if row["stage"] == "curate":
            blob = rows[row["row"]].blob
            assert (row["phash"], row["sha256"]) == (CODES[blob], hashlib.sha256(blob).hexdigest())
