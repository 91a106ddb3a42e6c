"""Embedding some of a checkpoint's benchmarks, as a task of its own: what it keeps is scored by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rankclip.spec import Spec

WORTH_SHARING = 20_000
"""Images of a checkpoint below which the start of processes costs more than they save."""


class EmbedRequest(Spec):
    """Benchmarks to embed with a checkpoint. Paths are absolute, since a worker has another folder."""

    key: str
    """What messages call it."""

    checkpoint: str
    """As `opening.opened` takes it."""

    model: str | None = None
    """That a file of weights is of."""

    sets: dict[Literal["val", "test"], dict[str, Path]]
    """Of each split, name of each benchmark that has it -> its folder."""

    work: Path
    """Folder whose `embeddings` keep the rows."""

    device: Literal["auto", "cpu", "cuda"]
    """Where the model works."""

    precision: Literal["auto", "fp32", "bf16"]
    """Of products of matrices and convolutions."""

    probes: bool = True
    """Whether linear probes are fitted, which need the splits `train` too."""


def embed_sets(request: dict[str, Any]) -> dict[str, Any]:
    """Embeds what a request names, unless that is kept; the function of a worker.

    Args:
        request: an `EmbedRequest` as plain JSON.

    Returns:
        `{"key"}` of what was embedded.

    Raises:
        DataError: a benchmark is damaged, or the model's rows are of no use.
        InputError: the checkpoint cannot be opened.
    """
    from rankclip.evaluation import conditions, suite
    from rankclip.evaluation.opening import opened
    from rankclip.evaluation.store import Store, rows_folder

    asked = EmbedRequest.model_validate(request)
    device, precision = conditions.resolved(asked.device, asked.precision)
    checkpoint = opened(asked.checkpoint, asked.model, device, precision)
    folder = rows_folder(asked.work, checkpoint.checkpoint_digest, checkpoint.encoder, device)
    store = Store(checkpoint.encoder, folder)
    for split, sets in asked.sets.items():
        suite.embed(store, sets, split, probes=asked.probes)
    return {"key": asked.key}


def parts(images: Mapping[str, int], count: int) -> list[list[str]]:
    """Benchmarks in `count` parts of about as many images each, none empty; the largest first."""
    shares: list[tuple[int, list[str]]] = [(0, []) for _ in range(min(count, len(images)))]
    for name in sorted(images, key=lambda name: -images[name]):
        least = min(range(len(shares)), key=lambda place: shares[place][0])
        total, names = shares[least]
        shares[least] = (total + images[name], [*names, name])
    return [names for _, names in shares]


def shared(images: Sequence[int], slots: int, checkpoints: int) -> int:
    """In how many parts the benchmarks of a checkpoint are embedded, by their images and the slots."""
    return max(1, slots // checkpoints) if sum(images) >= WORTH_SHARING else 1
