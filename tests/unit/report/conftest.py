"""A study's files as the stages leave them, small, from a seed; tests then spoil what they are about."""

from __future__ import annotations

import io
import itertools
import json
import math
import random
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from rankclip import files
from rankclip.report import build
from rankclip.report.scores import Subject
from rankclip.report.spec import ReportSpec

CLASSES = {"shape": 12, "composition": 24, "digits": 10}
RECALL = ("image_to_text_r1", "image_to_text_r5", "text_to_image_r1", "text_to_image_ndcg10")
LAST = 200
ITEMS = 40


@dataclass
class StudyFiles:
    """The folders of one study below `root`."""

    root: Path
    subject: Subject
    spec: ReportSpec

    @property
    def data(self) -> Path:
        return self.root / "data" / self.subject.name

    @property
    def out(self) -> Path:
        return self.root / "reports" / self.subject.name

    def results(self, arm: str) -> Path:
        return self.root / "results" / self.subject.name / arm / "results.parquet"

    def predictions(self, arm: str) -> Path:
        return self.results(arm).with_name("predictions.parquet")

    def run(self, arm: str, seed: int) -> Path:
        return self.root / "runs" / self.subject.name / arm / f"seed-{seed}"

    def rows(self, arm: str) -> list[dict[str, Any]]:
        return files.read_table(self.results(arm)).to_pylist()

    def write_rows(self, arm: str, rows: list[dict[str, Any]]) -> None:
        files.write_table(self.results(arm), pa.Table.from_pylist(rows))

    def write_manifest(self, missing: dict[str, str]) -> None:
        """The manifest of the benchmarks, of which some are not there."""
        listed = {name: {"task": "classification", "classes": count} for name, count in CLASSES.items()}
        listed["captions"] = {"task": "retrieval", "classes": 0}
        files.write_json(
            self.data / "benchmarks" / "manifest.json", {"benchmarks": listed, "missing": missing}
        )

    def report(self) -> str:
        """Builds the report and gives the page."""
        build.run(
            self.spec,
            self.subject,
            results=self.root / "results" / self.subject.name,
            runs_folder=self.root / "runs" / self.subject.name,
            ledger=self.data / "ledger.parquet",
            shards=self.data / "shards",
            benchmarks=self.data / "benchmarks",
            out=self.out,
        )
        return self.page

    @property
    def page(self) -> str:
        return (self.out / "index.html").read_text(encoding="utf-8")


def make_study(
    root: Path,
    arms: tuple[str, ...] = ("clip", "rankclip", "rankclip_shuffled"),
    seeds: tuple[int, ...] = (0, 1, 2),
    claims: bool = True,
    captions: tuple[str, ...] = ("a red circle", "something round", "photo of two stars on a green ground"),
    samples: int = 7,
) -> StudyFiles:
    """Writes every file that the report reads."""
    subject = Subject("toy", "Does ranking help on toys?", claims, seeds, arms)
    study = StudyFiles(root, subject, roles_of(arms))
    dice = random.Random(7)
    for arm in arms:
        study.write_rows(arm, [row for seed in seeds for row in _results(arm, seed, dice)])
        predictions = _predictions(study.rows(arm))
        files.write_table(study.predictions(arm), pa.Table.from_pylist(predictions))
        for seed in seeds:
            _write_run(study.run(arm, seed), arm, seed, dice)
    study.write_manifest({})
    _write_data(study.data, samples, captions)
    return study


def roles_of(arms: tuple[str, ...]) -> ReportSpec:
    """The first arm is the baseline, the next two have the other roles."""
    return ReportSpec(**dict(zip(("baseline", "treatment", "control"), arms, strict=False)))


def _results(arm: str, seed: int, dice: random.Random) -> list[dict[str, Any]]:
    named = [(name, "top1", "zero_shot") for name in CLASSES]
    named += [(name, "mean_per_class", "zero_shot") for name in CLASSES]
    named += [("captions", metric, "five_captions") for metric in RECALL]
    gain = {"clip": 0.0, "rankclip": 0.04}.get(arm, 0.01)
    return [
        {
            "arm": arm,
            "seed": seed,
            "step": step,
            "benchmark": benchmark,
            "split": split,
            "metric": metric,
            "protocol": protocol,
            "value": 0.4 + gain + dice.uniform(-0.02, 0.02) + (0.2 if benchmark == "shape" else 0.0),
            "data_digest": f"data-{benchmark}",
            "checkpoint_digest": f"weights-{arm}-{seed}",
            "config_digest": f"config-{arm}",
            "classes_digest": f"classes-{benchmark}",
            "templates_digest": f"prompts-{benchmark}",
            "precision": "fp32",
            "resize": "bicubic",
        }
        for step in (LAST // 2, LAST)
        for split in ("val", "test")
        for benchmark, metric, protocol in named
    ]


def _predictions(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items whose mean is the result: so many ones as fit, one fraction, zeros."""
    names = ("arm", "seed", "step", "benchmark", "split", "protocol", "metric")
    return [
        {name: row[name] for name in names}
        | {
            "item": item,
            "target": 0,
            "prediction": 0,
            "value": min(1.0, max(0.0, ITEMS * row["value"] - item)),
        }
        for row in results
        if row["metric"] == "top1" and row["split"] == "test"
        for item in range(ITEMS)
    ]


def _write_run(folder: Path, arm: str, seed: int, dice: random.Random) -> None:
    lines: list[dict[str, Any]] = []
    for step in range(10, LAST + 1, 10):
        loss = 1.5 + 3 * math.exp(-step / 60) + dice.uniform(-0.1, 0.1)
        scale = 14.3 + (6 if "rank" in arm else 2) * step / LAST + dice.uniform(-0.2, 0.2)
        lines.append({"step": step, "epoch": 0, "loss": loss, "logit_scale": scale, "lr": 1e-3})
        if step % 50 == 0:
            accuracy = 0.1 + 0.4 * step / LAST + dice.uniform(-0.02, 0.02)
            lines.append({"step": step, "val/shape/top1": accuracy, "val/mean_top1": accuracy})
    files.write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    record = {
        "arm": arm,
        "seed": seed,
        "steps": LAST,
        "git_commit": "0123456789abcdef",
        "git_dirty": False,
        "inputs": {"shards/index.parquet": "feed" * 4},
        "versions": {"python": "3.11.9", "torch": "2.15.0"},
    }
    files.write_json(folder / "record.json", record)


def _write_data(folder: Path, samples: int, captions: tuple[str, ...]) -> None:
    reasons = [("ok", "curate")] * samples + [("http_404", "download")] * 4 + [("bad_scheme", "ingest")] * 2
    ledger = [
        {
            "row": row,
            "key": f"{row:09d}",
            "reason": reason,
            "stage": stage,
            "flags": ["leak"] if row == 1 else [],
        }
        for row, (reason, stage) in enumerate(reasons)
    ]
    files.write_table(folder / "ledger.parquet", pa.Table.from_pylist(ledger))
    summary = {"input": len(ledger), "ok": samples, "reasons": {"http_404": 4, "bad_scheme": 2}}
    files.write_json(folder / "ledger.json", {**summary, "flags": {"leak": 1}})
    shards = folder / "shards"
    shards.mkdir(parents=True)
    index = []
    with tarfile.open(shards / "00000.tar", "w") as tar:
        for row in range(samples):
            image, key = _image(row), f"{row:09d}"
            member = tarfile.TarInfo(f"{key}.jpg")
            member.size = len(image)
            offset = tar.offset + tarfile.BLOCKSIZE
            tar.addfile(member, io.BytesIO(image))
            index.append(_index_row(key, offset, image, captions[row % len(captions)]))
    files.write_table(shards / "index.parquet", pa.Table.from_pylist(index))
    manifest = {"00000.tar": {"sha256": files.sha256(shards / "00000.tar"), "samples": samples}}
    manifest["00000.tar"]["bytes"] = (shards / "00000.tar").stat().st_size
    digest = files.sha256(shards / "index.parquet")
    files.write_json(
        shards / "manifest.json", {"shards": manifest, "index_sha256": digest, "samples": samples}
    )
    files.write_json(
        shards / "card.json", _card(samples, len(ledger), digest, manifest["00000.tar"]["bytes"])
    )


def _card(samples: int, rows: int, index: str, size: int) -> dict[str, Any]:
    some = {"min": 1, "p05": 2, "p25": 3, "p50": 40, "p75": 500, "p95": 6000, "max": 70000}
    return {
        "name": "toy",
        "source": "cc3m",
        "licence": "toys <may> be played with",
        "input": rows,
        "ok": samples,
        "survival": samples / rows,
        "subset": {"pairs": rows, "seed": 7, "sha256": None},
        "expected": {"rows": rows, "survival": [0.6, 0.8], "pairs": samples, "origin": "toy makers"},
        "verdict": f"low: {samples:,} of {rows:,} rows is below the 60% to 80% that others got (toy makers)",
        "samples": samples,
        "shards": 1,
        "bytes": size,
        **dict.fromkeys(("width", "height", "image_bytes", "caption_words"), some),
        "slots": {"raw": {"samples": samples, "captions": samples, "mean_words": 3.5}},
        "reasons": {"http_404": 4, "bad_scheme": 2},
        "flags": {"leak": 1},
        "digests": {"list": None, "index": index, "pool": "b" * 64},
    }


def _index_row(key: str, offset: int, image: bytes, caption: str) -> dict[str, Any]:
    return {
        "key": key,
        "url": f"http://toys.invalid/{key}",
        "shard": "00000.tar",
        "offset": offset,
        "size": len(image),
        "width": 48,
        "height": 48,
        "sha256": "0" * 64,
        "captions.raw": [caption],
    }


def _image(number: int) -> bytes:
    dice = random.Random(number)
    picture = Image.new("RGB", (48, 48), (dice.randrange(256), dice.randrange(256), dice.randrange(256)))
    x, y = dice.randrange(4, 22), dice.randrange(4, 22)
    draw = ImageDraw.Draw(picture)
    shape = (draw.ellipse, draw.rectangle)[number % 2]
    shape((x, y, x + 20, y + 20), fill=(dice.randrange(256), dice.randrange(256), dice.randrange(256)))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., StudyFiles]:
    """Writes a study into a folder of its own; arguments of `make_study`."""
    numbers = itertools.count()
    return lambda **chosen: make_study(tmp_path / f"made-{next(numbers)}", **chosen)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> StudyFiles:
    """Three arms, three seeds, the report made: to be read and left alone."""
    study = make_study(tmp_path_factory.mktemp("reported"))
    study.report()
    return study


@pytest.fixture
def study(reported: StudyFiles, tmp_path: Path) -> StudyFiles:
    """The same study without its report, to be spoiled."""
    shutil.copytree(reported.root, tmp_path / "study", ignore=shutil.ignore_patterns("reports"))
    return StudyFiles(tmp_path / "study", reported.subject, reported.spec)
