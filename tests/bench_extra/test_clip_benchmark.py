"""Our numbers are CLIP_benchmark's to the last digit: same weights, files, prompts and batch, float32.

Its recalls are means in float32, ours in float64; rounded to float32 ours must be the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("clip_benchmark", reason="asks for the extra `bench`")

from clip_benchmark.metrics import zeroshot_classification

from bench import peer_scores
from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.data.benchmarks.drawn import DrawnBenchmark, DrawnRetrieval
from rankclip.evaluation import retrieval, zero_shot
from rankclip.evaluation.embedding import embed
from rankclip.evaluation.scores import Measured
from rankclip.models import open_clip
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import Encoder
from rankclip.models.weights import load_weights, save_weights
from tests.unit.data.shapes import worlds
from tests.unit.evaluation import splits

BATCH = 256


def drawn(name: str) -> BenchmarkSplit:
    """A small set of the embedded world."""
    spec = DrawnRetrieval(images=60) if name == "retrieval" else DrawnBenchmark(name=name, images=96)
    content = spec.content(worlds.spec(), "test")
    task = "retrieval" if name == "retrieval" else "classification"
    return BenchmarkSplit(
        name, "test", tuple(content.samples), content.classnames, content.templates, task, "d"
    )


@pytest.fixture(scope="module", params=["shapes-rn", "shapes-vit"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Our encoder, and CLIP_benchmark's model of the same file of weights."""
    spec = ModelSpec(name=request.param)
    path: Path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_weights(open_clip.build(spec, seed=0), spec, path)
    return Encoder(load_weights(spec, path), spec), peer_scores.load(spec.name, path)


def values(measured: list[Measured], protocol: str) -> dict[str, float]:
    return {one.metric: one.value for one in measured if one.protocol == protocol}


@pytest.mark.parametrize("name", ["shape", "colour", "size", "composition", "outline"])
def test_accuracies_of_an_embedded_set_are_the_same_number(checkpoint: tuple[Any, Any], name: str) -> None:
    encoder, theirs = checkpoint
    data = drawn(name)
    ours = values(zero_shot.measure(embed(encoder, data)), "zero_shot")
    found = peer_scores.score(theirs, data, BATCH, workers=0)
    assert (ours["top1"], ours["mean_per_class"]) == (found["acc1"], found["mean_per_class_recall"])
    assert ours.get("top5", 1.0) == found["acc5"]


def test_recalls_of_the_embedded_set_are_the_same_number(checkpoint: tuple[Any, Any]) -> None:
    encoder, theirs = checkpoint
    data = drawn("retrieval")
    ours = values(retrieval.measure(embed(encoder, data)), "five_captions")
    found = peer_scores.score(theirs, data, BATCH, workers=0)
    for k in peer_scores.KS:
        assert np.float32(ours[f"text_to_image_r{k}"]) == np.float32(found[f"image_retrieval_recall@{k}"])
        assert np.float32(ours[f"image_to_text_r{k}"]) == np.float32(found[f"text_retrieval_recall@{k}"])


@pytest.mark.parametrize(("classes", "templates", "width"), [(2, 1, 3), (12, 3, 64), (100, 80, 512)])
def test_equal_prompts_make_an_equal_classifier_to_the_bit(classes: int, templates: int, width: int) -> None:
    names, forms = [f"n{c}" for c in range(classes)], [f"{t} {{c}}" for t in range(templates)]
    numbers = {text: number for number, text in enumerate(zero_shot.prompts(names, forms))}
    rows = splits.directions(classes * templates, width, seed=classes)

    def tokens(texts: list[str]) -> Tensor:
        return torch.tensor([numbers[text] for text in texts])

    theirs = zeroshot_classification.zero_shot_classifier(
        peer_scores.Stored(rows, rows), tokens, names, forms, "cpu", amp=False
    )
    table = {text: rows[number] for text, number in numbers.items()}
    assert torch.equal(zero_shot.classifier(splits.looked_up(table), names, forms), theirs.T)


@pytest.mark.parametrize("counts", [[5] * 300, [5, 7, 6, 5] * 50, [1, 4, 2, 6, 3] * 40, [1] * 200])
def test_recalls_of_any_numbers_of_captions_are_the_same_number(counts: list[int]) -> None:
    images = splits.directions(len(counts), 16, seed=0)
    owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    texts = images[owner] + 1.5 * splits.directions(len(owner), 16, seed=1)
    found = peer_scores.recalls(images, texts, counts)
    measured = retrieval.measure(splits.captioned(images, splits.numbered(counts), texts))
    ours = values(
        measured,
        {(5, 5): "five_captions", (1, 1): "one_caption"}.get((min(counts), max(counts)), "all_captions"),
    )
    for k in peer_scores.KS:
        assert 0 < found[f"text_retrieval_recall@{k}"] < 1
        assert np.float32(ours[f"text_to_image_r{k}"]) == np.float32(found[f"image_retrieval_recall@{k}"])
        assert np.float32(ours[f"image_to_text_r{k}"]) == np.float32(found[f"text_retrieval_recall@{k}"])
