"""Benchmarks of a checkpoint that several workers embed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankclip import files
from rankclip.evaluation import embed_task, suite
from rankclip.evaluation.embed_task import EmbedRequest
from rankclip.evaluation.reference import NoiseEncoder
from rankclip.evaluation.store import Store, rows_folder
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import load_encoder
from tests.unit.evaluation.known import Known
from tests.unit.exchange.trained import write_run


def test_parts_hold_every_benchmark_once_and_about_as_many_images() -> None:
    images = {"a": 50_000, "b": 10_000, "c": 30_000, "d": 9_000, "e": 10}
    assert sorted(map(sorted, embed_task.parts(images, 2))) == [["a"], ["b", "c", "d", "e"]]
    assert sorted(map(sorted, embed_task.parts(images, 9))) == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert embed_task.parts(images, 1) == [["a", "c", "b", "d", "e"]]


@pytest.mark.parametrize(
    ("images", "slots", "checkpoints", "count"),
    [(100_000, 8, 1, 8), (100_000, 8, 3, 2), (100_000, 2, 6, 1), (1_000, 8, 1, 1)],
)
def test_little_work_and_many_checkpoints_are_not_split(
    images: int, slots: int, checkpoints: int, count: int
) -> None:
    assert embed_task.shared([images // 2, images // 2], slots, checkpoints) == count


def test_what_a_worker_embeds_is_there_for_whoever_scores(
    known: Known, tmp_path: Path, pictured: dict[str, Path]
) -> None:
    (tmp_path / "run").mkdir()
    run = write_run(tmp_path / "run", ModelSpec(name="shapes-vit"))
    request = EmbedRequest(
        key="clip/seed-1",
        checkpoint=str(run),
        sets={"test": pictured},
        work=tmp_path,
        device="cpu",
        precision="fp32",
    )
    sent = json.loads(json.dumps(request.dump()))
    assert embed_task.embed_sets(sent) == {"key": "clip/seed-1"}
    encoder = load_encoder(run)
    folder = rows_folder(tmp_path, files.sha256(run / "model.safetensors"), encoder, "cpu")

    class Idle(NoiseEncoder):
        image_features = encode_texts = None  # type: ignore[assignment]

    assert suite.evaluate(Store(Idle(), folder), pictured, "test").rows
