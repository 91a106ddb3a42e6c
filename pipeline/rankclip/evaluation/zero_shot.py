"""Zero-shot classification: an image belongs to the class whose prompts it is nearest to.

Radford et al., ICML 2021, section 3.1.4: a class's prompt embeddings are averaged and normalised again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.errors import DataError
from rankclip.evaluation import metrics
from rankclip.evaluation.encoder import Encoder, embed_images, embed_texts
from rankclip.evaluation.scores import ZERO_SHOT, Items, Measured


def prompts(classnames: Sequence[str], templates: Sequence[str]) -> list[str]:
    """The C x T prompts, class by class; `{c}` in a template stands for the class name."""
    return [template.replace("{c}", name) for name in classnames for template in templates]


def classifier(encoder: Encoder, classnames: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Weights `[C, D]` of unit rows: the mean of each class's unit prompt embeddings, normalised.

    Raises:
        DataError: there is no class or no template.
    """
    if not classnames or not templates:
        raise DataError(
            f"{len(classnames)} class names and {len(templates)} templates make no classifier; "
            "see classnames.txt and zeroshot_classification_templates.txt of the benchmark"
        )
    rows = embed_texts(encoder, prompts(classnames, templates))
    return functional.normalize(rows.view(len(classnames), len(templates), -1).mean(dim=1), dim=1)


def predict(encoder: Encoder, data: BenchmarkSplit, k: int) -> Tensor:
    """The k most likely classes `[N, k]` of each image, most likely first."""
    images = embed_images(encoder, [sample.image for sample in data.samples])
    return metrics.nearest(images, classifier(encoder, data.classnames, data.templates), k)


def labels(data: BenchmarkSplit) -> Tensor:
    """The true class `[N]` of each image."""
    return torch.tensor([sample.label for sample in data.samples])


def measure(encoder: Encoder, data: BenchmarkSplit) -> list[Measured]:
    """`top1`, `mean_per_class`, `top3` and `top5`; the last two only where more classes than that exist."""
    classes = len(data.classnames)
    targets = labels(data)
    order = predict(encoder, data, min(5, classes))
    found = order == targets[:, None]
    first = metrics.hits_at(found, 1)
    return [
        Measured.mean("top1", ZERO_SHOT, Items(targets, order[:, 0], first)),
        Measured("mean_per_class", ZERO_SHOT, metrics.mean_per_class(first, targets)),
        *(
            Measured(f"top{k}", ZERO_SHOT, float(metrics.hits_at(found, k).mean()))
            for k in (3, 5)
            if k < classes
        ),
    ]
