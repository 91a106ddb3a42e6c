"""A model on a suite of benchmarks. Validation and test never mix: each function names the split it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from rankclip.data.benchmarks import gains, latents
from rankclip.data.benchmarks import judged as judged_sets
from rankclip.data.benchmarks.content import SplitName
from rankclip.evaluation import geometry, judged, linear_probe, retrieval, similarity, zero_shot
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Measured, Row, Scores
from rankclip.evaluation.store import Store
from rankclip.spec import digest

PROBED = "test"
"""The one split whose numbers a probe gives; it learns from `train`, so its validation is part of that."""


def evaluate(
    store: Store,
    sets: Mapping[str, Path],
    split: SplitName,
    shots: Sequence[int] = (),
    *,
    probes: bool = True,
) -> Scores:
    """All metrics of a model on one split of the benchmarks `sets`, in their order.

    Args:
        store: of the model.
        sets: name of each benchmark -> its folder; of a set of judgements the folder of all public sets.
        split: that is measured.
        shots: images a class from which few-shot probes learn, where a benchmark has a train split.
        probes: whether linear probes are fitted, where a benchmark has a train split.

    Raises:
        DataError: a benchmark is missing or damaged, or the model gives embeddings that are not finite.
        InputError: a benchmark has no such split.
    """
    rows = []
    for name, folder in sets.items():
        if name in judged_sets.NAMES:
            rows += _judged(store, name, folder, split)
            continue
        embedded = store.embedded(folder, split)
        if embedded.task == "retrieval":
            rows += _retrieved(name, embedded, folder, split)
            continue
        rows += _labelled(name, split, embedded, zero_shot.measure(embedded), embedded.digest)
        if probes and split == PROBED and has_split(folder, "train"):
            train = store.embedded(folder, "train")
            measured = linear_probe.measure(train, embedded, shots, store.device)
            rows += _labelled(name, split, embedded, measured, digest([embedded.digest, train.digest]))
    return Scores(rows)


def embed(store: Store, sets: Mapping[str, Path], split: SplitName, *, probes: bool = True) -> None:
    """Has the store embed what `evaluate` will ask of benchmarks.

    Raises:
        DataError: as `evaluate`.
        InputError: as `evaluate`.
    """
    for name, folder in sets.items():
        if name in judged_sets.NAMES:
            embedded = store.judged(judged_sets.load(name, folder, split))
        else:
            embedded = store.embedded(folder, split)
        embedded.texts([])  # of the split itself
        if probes and embedded.task == "classification" and split == PROBED and has_split(folder, "train"):
            store.embedded(folder, "train")


def _judged(store: Store, name: judged_sets.Name, folder: Path, split: SplitName) -> list[Row]:
    data = judged_sets.load(name, folder, split)
    embedded = store.judged(data)
    return _labelled(name, split, embedded, judged.measure(embedded, data), data.digest)


def _retrieved(name: str, embedded: Embedded, folder: Path, split: SplitName) -> list[Row]:
    place, images = folder / split, len(embedded.keys)
    graded = gains.read(place, images, sum(map(len, embedded.captions)))
    true = latents.read(place, images)
    tables = [None if table is None else torch.from_numpy(table) for table in (graded, true)]
    measured = retrieval.measure(embedded, tables[0])
    if tables[0] is not None or tables[1] is not None:
        measured += similarity.measure_true(embedded, *tables)
    if images >= geometry.FEWEST:
        measured += geometry.measure(embedded)
    data_digest = latents.data_digest(gains.data_digest(embedded.digest, graded), true)
    return _labelled(name, split, embedded, measured, data_digest)


def _labelled(
    name: str, split: SplitName, embedded: Embedded, measured: Sequence[Measured], data_digest: str
) -> list[Row]:
    classes, templates = (digest(list(lines)) for lines in (embedded.classnames, embedded.templates))
    return [Row(name, split, one, data_digest, classes, templates) for one in measured]


def has_split(folder: Path, split: str) -> bool:
    """Whether the benchmark in `folder` has a split, as far as one sees without reading it."""
    return (folder / split / "nshards.txt").exists()
