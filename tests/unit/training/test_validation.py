"""Workers share the work of a validation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from rankclip import distributed
from rankclip.training.validation import Shared


class Lengths:
    """An encoder whose rows say how long an item is; it notes what it was given."""

    def __init__(self) -> None:
        self.given: list[Sequence[bytes | str]] = []

    def prepare(self, image: bytes) -> bytes:
        return image

    def image_features(self, prepared: Sequence[bytes]) -> Tensor:
        self.given.append(prepared)
        return torch.tensor([[float(len(image))] for image in prepared])

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        self.given.append(texts)
        return torch.tensor([[float(len(text))] for text in texts])


ITEMS = [b"x" * length for length in range(1, 8)]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_each_worker_encodes_its_part_and_has_all_rows(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[Tensor] = []
    for rank in range(workers):
        encoder, sizes = Lengths(), []

        def gather(local: Tensor, each: Sequence[int], sizes: list[int] = sizes) -> Tensor:
            sizes.extend(each)
            parts.append(local)
            return local

        monkeypatch.setattr(distributed, "world_size", lambda: workers)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "gather", gather)
        Shared(encoder).image_features(ITEMS)
        assert sizes[rank] == len(parts[-1]) == len(encoder.given[0])
        assert sum(sizes) == len(ITEMS)
        assert max(sizes) - min(sizes) <= 1
    assert torch.cat(parts).flatten().tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_fewer_items_than_workers_are_encoded_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    encoder = Lengths()
    assert Shared(encoder).encode_texts(["a", "bb"]).tolist() == [[1.0], [2.0]]
    assert encoder.given == [["a", "bb"]]
