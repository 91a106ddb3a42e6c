"""Small folders of tars as other people write them, and what is to be found in them, the slow way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rankclip import files, storage
from rankclip.data import images
from rankclip.data.indexing import index
from rankclip.data.sources.webdataset import WebdatasetSpec, digest_of
from tests.unit.data.crawled import encoded, picture

Members = Iterable[tuple[str, bytes]]


def write_tar(path: Path, members: Members, form: int = tarfile.USTAR_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, blob in members:
            info = tarfile.TarInfo(name)
            info.size = len(blob)
            tar.addfile(info, io.BytesIO(blob))
    return path


def image(number: int) -> bytes:
    """A JPEG of its own for each number."""
    return encoded(picture((number % 256, number // 256 % 256, 7), (40 + number % 5, 30)), quality=60)


def sample(key: str, number: int, **fields: Any) -> list[tuple[str, bytes]]:
    """The three members that img2dataset writes."""
    note = {"url": f"http://far.example/{number}.jpg", **fields}
    return [
        (f"{key}.jpg", image(number)),
        (f"{key}.json", json.dumps(note).encode()),
        (f"{key}.txt", f"caption {number}\n".encode()),
    ]


def tar_folder(folder: Path, tars: int = 3, samples: int = 4) -> Path:
    """A folder of plain tars, one of them in a folder of its own."""
    for tar in range(tars):
        numbers = range(tar * samples, (tar + 1) * samples)
        members = [member for number in numbers for member in sample(f"{number:06d}", number)]
        write_tar(folder / ("" if tar else "nested") / f"{tar:05d}.tar", members)
    return folder


def source(place: str | Path, **options: Any) -> WebdatasetSpec:
    spec = {"url": "json:url", **options}
    found = digest_of(str(place), *filter(None, [options.get("tars")]))
    return WebdatasetSpec(name="webdataset", place=str(place), digest=found, **spec)


def indexed(spec: WebdatasetSpec, folder: Path) -> Path:
    """`folder/data/mine`, with the ledger and the shards of a source."""
    index.run(spec, {}, folder / "data" / "mine", folder / "work")
    return folder / "data" / "mine"


def ledger(data: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = files.read_table(data / "ledger.parquet").to_pylist()
    return rows


def listed(data: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = files.read_table(data / "shards" / "index.parquet").to_pylist()
    return rows


def outputs(data: Path) -> dict[str, bytes]:
    """Every file but the record, which tells the state of the repository, and the place, which may differ."""
    paths = (path for path in data.rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in paths if path.name not in ("record.json", "place.json")}


def slow_index(spec: WebdatasetSpec) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Rows of the index, and (key, reason) of every sample, by tarfile and Pillow."""
    good: list[dict[str, Any]] = []
    told: list[tuple[str, str]] = []
    for name in sorted(storage.store(spec.place).sizes(".tar")):
        for sample in _slow_samples(Path(spec.place) / name):
            key = sample["key"] if spec.key == "__key__" else f"{name}/{sample['key']}"
            reason, row = _slow_row(spec, sample["members"])
            if reason == "ok" and key in {row["key"] for row in good}:
                reason = "duplicate_key"
            if reason == "ok":
                good.append({"key": key, "shard": name, **row})
            told.append((key, reason))
    return good, told


def _slow_samples(path: Path) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = []
    with tarfile.open(path) as tar:
        for member in tar:
            folder, base = os.path.split(member.name.removeprefix("./"))
            stem, dot, extension = base.partition(".")
            if not (member.isreg() and stem and dot):
                continue
            key, extension = os.path.join(folder, stem), extension.lower()  # noqa: PTH118
            mine = [each for each in samples if each["key"] == key]
            if not mine or extension in mine[-1]["members"]:
                mine.append({"key": key, "members": {}})
                samples.append(mine[-1])
            mine[-1]["members"][extension] = (member.offset_data, tar.extractfile(member).read())
    return samples


def _slow_row(spec: WebdatasetSpec, members: Mapping[str, tuple[int, bytes]]) -> tuple[str, dict[str, Any]]:
    try:
        said = {slot: _slow_texts(member, members) for slot, member in spec.captions.items()}
        url = _slow_texts(spec.url, members) if spec.url else []
    except UnicodeDecodeError:
        return "bad_encoding", {}
    except (ValueError, AttributeError):
        return "malformed_row", {}
    found = [members[extension] for extension in spec.images if extension in members]
    if not found:
        return "missing", {}
    offset, blob = found[0]
    try:
        with images.opened(blob) as opened:
            width, height = images.upright_size(opened)
    except Exception:
        return "decode" if blob[:3] == b"\xff\xd8\xff" else "not_an_image", {}
    if not said["raw"]:
        return "empty_caption", {}
    where = {"offset": offset, "size": len(blob), "width": width, "height": height}
    slots = {f"captions.{slot}": texts for slot, texts in said.items()}
    return "ok", {"url": "".join(url[:1]), **where, "sha256": hashlib.sha256(blob).hexdigest(), **slots}


def _slow_texts(reference: str, members: Mapping[str, tuple[int, bytes]]) -> list[str]:
    member, _, field = reference.partition(":")
    text = members.get(member, (0, b""))[1].decode()
    value = json.loads(text or "{}").get(field) if field else text
    values = value if isinstance(value, list) else [value]
    return [each.strip() for each in values if each is not None and each.strip()]
