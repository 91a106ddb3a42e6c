"""Batches from which CUDA copies by itself are those that the host sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rankclip.data.loading.loader import Loader
from rankclip.data.loading.rows import Rows
from rankclip.data.loading.samples import Samples
from tests.unit.data import sharded

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_pinned_batches_arrive_whole_while_the_next_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sharded.write(tmp_path, sharded.pictures(96, 32))
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", "2")
    found = {}
    for pinned in (False, True):
        loader = Loader(Rows(Samples(folder), "raw", 32, sharded.letters), 16, seed=0, pinned=pinned)
        batches = []
        for loaded in loader.batches(0, 40):
            assert loaded.images.is_pinned() == pinned
            batches.append(loaded.images.to("cuda", non_blocking=True))
        found[pinned] = torch.stack(batches).cpu()
    assert torch.equal(found[False], found[True])
