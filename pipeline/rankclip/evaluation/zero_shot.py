"""Zero-shot classification: an image belongs to the class whose prompts it is nearest to.

Radford et al., ICML 2021, section 3.1.4: a class's prompt embeddings are averaged and normalised again.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from rankclip.errors import DataError
from rankclip.evaluation import hierarchy, metrics
from rankclip.evaluation.embedded import Embedded, Texts
from rankclip.evaluation.scores import ZERO_SHOT, Items, Measured


def prompts(classnames: Sequence[str], templates: Sequence[str]) -> list[str]:
    """The C x T prompts, class by class; `{c}` in a template stands for the class name."""
    return [template.replace("{c}", name) for name in classnames for template in templates]


def classifier(texts: Texts, classnames: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Weights `[C, D]` of unit rows: the mean of each class's unit prompt embeddings, normalised.

    Raises:
        DataError: there is no class or no template.
    """
    if not classnames or not templates:
        raise DataError(
            f"{len(classnames)} class names and {len(templates)} templates make no classifier; "
            "see classnames.txt and zeroshot_classification_templates.txt of the benchmark"
        )
    rows = texts(prompts(classnames, templates))
    return functional.normalize(rows.view(len(classnames), len(templates), -1).mean(dim=1), dim=1)


def predict(embedded: Embedded, k: int) -> Tensor:
    """The k most likely classes `[N, k]` of each image, most likely first."""
    weights = classifier(embedded.texts, embedded.classnames, embedded.templates)
    return metrics.nearest(embedded.images, weights, k)


def measure(embedded: Embedded) -> list[Measured]:
    """`top1`, `mean_per_class`, `top3`, `top5`, and `mistake_severity` where the classes have a hierarchy.

    `top3` and `top5` only where more classes than that exist. The items of `top1` hold the true and the
    predicted class of every image, from which `metrics.confusion` counts the confusion matrix.

    Raises:
        DataError: there is no class or no template.
        ValueError: the split has no labels.
    """
    if embedded.labels is None:
        raise ValueError(f"benchmark {embedded.name} has no labels; it is for {embedded.task}")
    targets, classes = embedded.labels, len(embedded.classnames)
    weights = classifier(embedded.texts, embedded.classnames, embedded.templates)
    order, places = metrics.search(embedded.images, weights, targets[:, None], 1)
    first = metrics.hits_at(places, 1)
    measured = [
        Measured.mean("top1", ZERO_SHOT, Items(targets, order[:, 0], first)),
        Measured("mean_per_class", ZERO_SHOT, metrics.mean_per_class(first, targets)),
    ]
    measured += [
        Measured(f"top{k}", ZERO_SHOT, float(metrics.hits_at(places, k).mean()))
        for k in (3, 5)
        if k < classes
    ]
    return measured + severity(embedded.classnames, targets, order[:, 0])


def severity(classnames: Sequence[str], targets: Tensor, predictions: Tensor) -> list[Measured]:
    """`mistake_severity` of predicted classes `[N]`; none without a hierarchy or without a mistake."""
    known = hierarchy.of(classnames)
    if known is None:
        return []
    found = hierarchy.severity(known.heights(classnames), targets, predictions)
    return [] if found is None else [Measured("mistake_severity", ZERO_SHOT, found)]
