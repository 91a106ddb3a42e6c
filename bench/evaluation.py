"""Our evaluation beside CLIP_benchmark's: recall, the classifier of prompts, and a suite of five tasks.

Run it with `make bench-evaluation` on a machine that does nothing else; it writes `results/evaluation.json`
beside this file. `--quick` does a little of everything and writes nothing. It asks for the extra `bench`.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from clip_benchmark.metrics.zeroshot_classification import zero_shot_classifier
from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from torch.nn import functional

from bench import peer_scores, timing
from bench.machine import machine
from rankclip.data.benchmarks import benchmark_folder
from rankclip.data.benchmarks.drawn import DrawnBenchmark, DrawnRetrieval
from rankclip.data.shapes.spec import ShapesSpec
from rankclip.evaluation import retrieval, zero_shot
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.encoder import embed_texts
from rankclip.evaluation.scores import Measured
from rankclip.evaluation.store import Store
from rankclip.models import open_clip
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import Encoder
from rankclip.models.weights import load_weights, save_weights

RESULTS = Path(__file__).parent / "results" / "evaluation.json"
WORLD = Path(__file__).parents[1] / "conf" / "data" / "shapes.yaml"
OURS, THEIRS = "ours", "CLIP_benchmark"
TASKS = ("shape", "colour", "position", "composition", "retrieval")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    images: int
    """Of a retrieval set, with five captions each."""
    widths: tuple[int, ...]
    """Numbers in a row: of the small models here, and of ViT-B."""
    classifiers: tuple[tuple[str, int, int], ...]
    """Model, classes, templates."""
    together: tuple[tuple[str, int], ...]
    """Model, images of a batch."""
    suites: tuple[tuple[str, int, int], ...]
    """Model, images of each classification set, images of the retrieval set."""
    rounds: int
    """In which all take turns."""


WHOLE = Plan(
    images=1000,
    widths=(64, 512),
    classifiers=(("shapes-rn", 100, 80), ("ViT-B-32", 10, 80)),
    together=(("RN50", 32),),
    suites=(("shapes-rn", 480, 200), ("RN50", 32, 16)),
    rounds=5,
)
QUICK = Plan(100, (64,), (("shapes-rn", 4, 8),), (("shapes-rn", 4),), (("shapes-rn", 24, 12),), 1)


def main(plan: Plan) -> dict[str, Any]:
    """Everything, in turn."""
    found: dict[str, Any] = {"machine": machine("cpu"), "rounds": plan.rounds}
    found["recall"] = [told("recall", recall(plan.images, width, plan.rounds)) for width in plan.widths]
    found["classifier"] = [told("classifier", classifier(*case, plan.rounds)) for case in plan.classifiers]
    found["together"] = [told("together", together(*case, plan.rounds)) for case in plan.together]
    found["suite"] = [told("suite", tasks(*case, plan.rounds)) for case in plan.suites]
    return found


def recall(count: int, width: int, rounds: int) -> dict[str, Any]:
    """R@1, R@5, R@10 both ways: from rows, and from their products alone, which both multiply alike.

    Ours finds the median rank too. `both_protocols` is all that it says of a set from rows: the one-caption
    protocol as well, which theirs has not.
    """
    generator = torch.Generator().manual_seed(0)
    images = functional.normalize(torch.randn(count, width, generator=generator), dim=1)
    own = images.repeat_interleave(5, dim=0)
    texts = functional.normalize(own + 5 * width**-0.5 * torch.randn(own.shape, generator=generator), dim=1)
    embedded, counts = known(images, texts), [5] * count
    table, said = texts @ images.T, torch.tensor(counts)

    def ours(products: torch.Tensor) -> list[Measured]:
        both = retrieval.rank(images, texts, said, products)
        return [one for ranking in both for one in retrieval.plain(ranking, "five_captions")]

    def from_rows() -> object:
        return peer_scores.recalls(images, texts, counts)

    rows: dict[str, timing.Call] = {THEIRS: from_rows, OURS: lambda: ours(texts @ images.T)}
    scores: dict[str, timing.Call] = {
        THEIRS: lambda: peer_scores.recalls_of_scores(table, counts),
        OURS: lambda: ours(table),
    }
    more: dict[str, timing.Call] = {THEIRS: from_rows, OURS: lambda: retrieval.measure(embedded)}
    theirs = peer_scores.recalls(images, texts, counts), peer_scores.recalls_of_scores(table, counts)
    whole = [one for one in retrieval.measure(embedded) if one.protocol == "five_captions"]
    return {
        "images": count,
        "captions": 5 * count,
        "width": width,
        "from_rows": compared(timing.interleaved(rows, rounds, "cpu")),
        "from_scores": compared(timing.interleaved(scores, rounds, "cpu")),
        "both_protocols": compared(timing.interleaved(more, rounds, "cpu")),
        "equal": same(whole, theirs[0]) and same(ours(table), theirs[1]),
    }


def same(measured: Sequence[Measured], theirs: Mapping[str, float]) -> bool:
    """Whether all recalls are the same number, in the precision of theirs."""
    ours = {one.metric: one.value for one in measured}
    names = {"image_to_text": "text", "text_to_image": "image"}
    return all(
        np.float32(ours[f"{way}_r{k}"]) == np.float32(theirs[f"{name}_retrieval_recall@{k}"])
        for way, name in names.items()
        for k in peer_scores.KS
    )


def known(images: torch.Tensor, texts: torch.Tensor) -> Embedded:
    """A retrieval set of five captions an image, of which all is known but words."""
    captions = tuple(tuple(f"{i} {j}" for j in range(5)) for i in range(len(images)))
    keys = tuple(map(str, range(len(images))))
    return Embedded(
        "rows", "test", "retrieval", "-", keys, images, None, captions, (), (), lambda asked: texts
    )


def classifier(name: str, classes: int, templates: int, rounds: int) -> dict[str, Any]:
    """From names and templates of ImageNet to the weights of the classes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        spec, weights = checkpoint(name, Path(folder))
        model, _, tokenizer = peer_scores.load(name, weights)
        encoder = Encoder(load_weights(spec, weights), spec)
    names = list(IMAGENET_CLASSNAMES[:classes])
    forms = [form("{c}") for form in OPENAI_IMAGENET_TEMPLATES[:templates]]

    def theirs() -> torch.Tensor:
        found: torch.Tensor = zero_shot_classifier(model, tokenizer, names, forms, "cpu", amp=False)
        return found.T

    def ours() -> torch.Tensor:
        return zero_shot.classifier(lambda texts: embed_texts(encoder, texts), names, forms)

    times = timing.interleaved({THEIRS: theirs, OURS: ours}, rounds, "cpu")
    largest = float((ours() - theirs()).abs().max())
    case = {"model": name, "classes": classes, "templates": templates}
    return {**case, **compared(times), "largest_difference": largest}


def together(name: str, images: int, rounds: int) -> dict[str, Any]:
    """A batch in as many pieces as the encoder makes of it, and whole."""
    spec = ModelSpec(name=name)
    encoder = Encoder(open_clip.build(spec, seed=0), spec)
    pieces, size = encoder.together, encoder.model.image_size
    batch = list(torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8))

    def embedded(at_once: int) -> torch.Tensor:
        encoder.together = at_once
        return encoder.image_features(batch)

    calls: dict[str, timing.Call] = {"whole": lambda: embedded(images), OURS: lambda: embedded(pieces)}
    times = timing.interleaved(calls, rounds, "cpu")
    largest = float((embedded(pieces) - embedded(images)).abs().max())
    faster = vars(timing.ratio(times, "whole", OURS))
    case = {"model": name, "images": images, "at_once": pieces, "largest_difference": largest}
    return {**case, "median_s": medians(times), "times_faster": faster}


def tasks(name: str, images: int, pairs: int, rounds: int) -> dict[str, Any]:
    """A checkpoint and five sets on disk become the numbers of both; loading is counted, importing is not.

    CLIP_benchmark runs as its command does, with four processes that decode, and once more without any.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        spec, weights = checkpoint(name, folder)
        sets = {task: written(folder, task, pairs if task == "retrieval" else images) for task in TASKS}
        caches = (folder / f"kept-{turn}" for turn in itertools.count())

        def theirs(workers: int) -> None:
            for task in TASKS:
                data = benchmark_folder.read_split(sets[task], "test")
                peer_scores.score(peer_scores.load(name, weights), data, workers=workers)

        def ours(kept: Path) -> None:
            open_clip.tokenizer.cache_clear()
            encoder = Encoder(load_weights(spec, weights), spec)
            store = Store(encoder, kept)
            for task in TASKS:
                embedded = store.embedded(sets[task], "test")
                (retrieval if embedded.task == "retrieval" else zero_shot).measure(embedded)

        calls: dict[str, timing.Call] = {
            THEIRS: lambda: theirs(4),
            f"{THEIRS}, one process": lambda: theirs(0),
            OURS: lambda: ours(next(caches)),
            f"{OURS}, embedded before": lambda: ours(folder / "kept-0"),
        }
        times = timing.interleaved(calls, rounds, "cpu")
    case = {"model": name, "tasks": list(TASKS), "images": images, "pairs": pairs}
    return {**case, **compared(times)}


def checkpoint(name: str, folder: Path) -> tuple[ModelSpec, Path]:
    """A file of weights: those that training starts from, which cost what trained ones cost."""
    spec, path = ModelSpec(name=name), folder / "model.safetensors"
    save_weights(open_clip.build(spec, seed=0), spec, path)
    return spec, path


def written(folder: Path, task: str, images: int) -> Path:
    """A set of the embedded world on disk."""
    spec = DrawnRetrieval(images=images) if task == "retrieval" else DrawnBenchmark(name=task, images=images)
    content = spec.content(ShapesSpec.model_validate(yaml.safe_load(WORLD.read_text())["source"]), "test")
    place = folder / f"wds_{task}"
    if content.classnames:
        benchmark_folder.write_classes(place, content.classnames, content.templates)
    benchmark_folder.write_split(place, "test", content.samples)
    return place


def compared(times: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Median seconds of each, and how many times as long CLIP_benchmark takes as ours."""
    return {
        "median_s": medians(times),
        "times_faster": {
            name: vars(timing.ratio(times, name, OURS)) for name in times if name.startswith(THEIRS)
        },
    }


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Seconds."""
    return {name: round(statistics.median(each), 4) for name, each in times.items()}


def told(title: str, found: Any) -> Any:
    """What was found, printed."""
    print(title, json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    quick = "--quick" in sys.argv[1:]
    result = main(QUICK if quick else WHOLE)
    if not quick:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
