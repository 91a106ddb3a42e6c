"""Linear probes: how well a linear classifier on frozen image features does, learned on the split `train`.

Features are those after the projection into the shared space, not normalised, as CyCLIP takes them and as
CLIP's `encode_image` gives them. (CLIP's paper took those of its ViT before the projection.)

- `linear_probe_cyclip`: see `linear_layer`; all of `train`, no choice of anything.
- `linear_probe_logistic`: Radford et al., ICML 2021, appendix A.3: L2-regularised logistic regression, the
  penalty chosen on a fifth of `train` set apart, then fitted on all of it.
- `linear_probe_<k>shot`: k images of each class, the penalty chosen on at most four others a class, as in
  Zhou et al., IJCV 2022 (CoOp), whose validation images are of a split of their own; the mean over `SEEDS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from rankclip.errors import DataError, InputError
from rankclip.evaluation import linear_layer, logistic, metrics, penalties
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.linear_layer import Linear
from rankclip.evaluation.scores import Items, Measured

CYCLIP = "linear_probe_cyclip"
LOGISTIC = "linear_probe_logistic"

SEEDS = (0, 1, 2)
"""Of the draws of a few-shot probe."""
VALIDATION_SHARE = 0.2
"""Of each class of `train`, at least one image of two or more; on it the penalty is chosen."""
VALIDATION_SHOTS = 4
"""Most validation images a class of a few-shot probe."""
SMALL = 4_000_000
"""Numbers that one thread multiplies as fast as several."""


def measure(
    train: Embedded, test: Embedded, shots: Sequence[int] = (), device: str = "cpu"
) -> list[Measured]:
    """Every protocol; few-shot for each k in `shots`. Metrics as in zero-shot classification.

    Args:
        train: the split that the probes learn and choose on.
        test: what the numbers are of.
        device: where the classifiers are fitted.

    Raises:
        DataError: the splits do not fit each other, or a class is too small for what is asked.
        InputError: a k is not positive.
        ValueError: `train` is not a train split.
    """
    with _few_threads(train):
        return [
            *cyclip(train, test, device=device),
            *logistic_regression(train, test, device=device),
            *(one for k in shots for one in few_shot(train, test, k, device=device)),
        ]


@contextmanager
def _few_threads(train: Embedded) -> Iterator[None]:
    """One thread for few numbers: several would mostly wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if train.features.numel() < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cyclip(train: Embedded, test: Embedded, seed: int = 0, device: str = "cpu") -> list[Measured]:
    """CyCLIP's probe. Raises as `measure`."""
    rows, labels = _learnt_from(train, test, device)
    classifier = linear_layer.train(rows, labels, len(train.classnames), seed)
    return _measured(CYCLIP, [classifier], test)


def logistic_regression(
    train: Embedded, test: Embedded, seed: int = 0, device: str = "cpu"
) -> list[Measured]:
    """CLIP's probe; `seed` draws the images that the penalty is chosen on. Raises as `measure`."""
    rows, labels = _learnt_from(train, test, device)
    sizes = labels.bincount(minlength=len(train.classnames))
    share = (sizes * VALIDATION_SHARE).round().long().clamp_min(1) * (sizes > 1)
    if not bool(share.any()):
        raise DataError(
            f"split {train.split} of benchmark {train.name} has one image a class, so none to choose a "
            "penalty on; fetch the whole split, or leave the probe out"
        )
    apart, rest = drawn(labels, share, torch.Generator().manual_seed(seed))
    penalty = penalties.chosen(
        logistic.Regression(rows[rest], labels[rest], len(sizes)), rows[apart], labels[apart]
    )
    return _measured(LOGISTIC, [logistic.Regression(rows, labels, len(sizes)).fit(penalty)], test)


def few_shot(
    train: Embedded, test: Embedded, k: int, seeds: Sequence[int] = SEEDS, device: str = "cpu"
) -> list[Measured]:
    """A logistic regression on k images of each class, the mean over `seeds`. Raises as `measure`."""
    rows, labels = _learnt_from(train, test, device)
    if k < 1:
        raise InputError(f"a few-shot probe of {k} images a class has nothing to learn from; give 1 or more")
    sizes = labels.bincount(minlength=len(train.classnames))
    small = (sizes > 0) & (sizes <= k)
    if bool(small.any()):
        place = int(small.double().argmax())
        raise DataError(
            f"class {train.classnames[place]!r} of benchmark {train.name} has {int(sizes[place])} images in "
            f"split {train.split}, but {k} shots and one to choose the penalty on need {k + 1}; ask for fewer"
        )
    classifiers = []
    for seed in seeds:
        drawing = torch.Generator().manual_seed(seed)
        taken, rest = drawn(labels, (sizes > 0) * k, drawing)
        some, _ = drawn(labels[rest], sizes.clamp_max(min(k, VALIDATION_SHOTS)), drawing)
        regression = logistic.Regression(rows[taken], labels[taken], len(sizes))
        penalty = penalties.chosen(regression, rows[rest[some]], labels[rest[some]])
        classifiers.append(regression.fit(penalty))
    return _measured(f"linear_probe_{k}shot", classifiers, test)


def drawn(labels: Tensor, counts: Tensor, drawing: torch.Generator) -> tuple[Tensor, Tensor]:
    """Places of `counts[c]` random items of each class c of `labels` `[N]`, and of all others, in order."""
    labels = labels.cpu()
    shuffled = torch.randperm(len(labels), generator=drawing)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    ends = labels.bincount(minlength=len(counts)).cumsum(0)
    place_in_class = torch.arange(len(labels)) - functional.pad(ends, (1, 0))[labels[by_class]]
    taken = place_in_class < counts.cpu()[labels[by_class]]
    return by_class[taken].sort().values, by_class[~taken].sort().values


def _learnt_from(train: Embedded, test: Embedded, device: str) -> tuple[Tensor, Tensor]:
    """Features `[N, D]` and labels `[N]` of `train` on `device`, once they are known to fit `test`."""
    if train.split != "train":
        raise ValueError(f"a probe learns on split train alone, not on {train.split} of {train.name}")
    if train.labels is None or test.labels is None:
        raise DataError(f"benchmark {test.name} has no labels; a probe needs a classification set")
    if train.digest == test.digest:
        raise DataError(
            f"splits {train.split} and {test.split} of benchmark {test.name} hold the same images "
            f"({test.digest}); fetch the set again"
        )
    if train.classnames != test.classnames:
        raise DataError(
            f"splits {train.split} and {test.split} of benchmark {test.name} have not the same classes "
            f"({len(train.classnames)} and {len(test.classnames)}); fetch both again"
        )
    classes = len(test.classnames)
    lacking = (train.labels.bincount(minlength=classes) == 0) & (test.labels.bincount(minlength=classes) > 0)
    if bool(lacking.any()):
        place = int(lacking.double().argmax())
        raise DataError(
            f"class {test.classnames[place]!r} (label {place}) of benchmark {test.name} is in split "
            f"{test.split} but not in {train.split}, where a probe would learn it; fetch all of {train.split}"
        )
    return train.features.to(device), train.labels.to(device)


def _measured(protocol: str, classifiers: Sequence[Linear], test: Embedded) -> list[Measured]:
    """Metrics of the mean over `classifiers`; the predictions given are those of the first."""
    assert test.labels is not None
    classes = len(test.classnames)
    own = test.labels[:, None]
    images = functional.pad(test.features.double(), (0, 1), value=1.0)  # one more dimension, for the bias
    weights = [torch.cat([one.weight, one.bias[:, None]], dim=1).double().cpu() for one in classifiers]
    found = [metrics.search(images, one, own, 1) for one in weights]

    def hits(k: int) -> Tensor:
        return torch.stack([metrics.hits_at(places, k) for _, places in found]).mean(dim=0)

    return [
        Measured.mean("top1", protocol, Items(test.labels, found[0][0][:, 0], hits(1))),
        Measured("mean_per_class", protocol, metrics.mean_per_class(hits(1), test.labels)),
        *(Measured(f"top{k}", protocol, float(hits(k).mean())) for k in (3, 5) if k < classes),
    ]
