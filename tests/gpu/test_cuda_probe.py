"""Linear probes fitted on a GPU are those fitted on the CPU."""

from __future__ import annotations

import pytest
import torch

from rankclip.evaluation import linear_probe
from tests.unit.evaluation.test_linear_probe import beasts, values

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_every_protocol_scores_alike_on_any_device() -> None:
    train, test = beasts(300, 6), beasts(600, 6, 1, "test")
    on_cpu, on_gpu = (values(linear_probe.measure(train, test, (4,), device)) for device in ("cpu", "cuda"))
    assert on_cpu.keys() == on_gpu.keys()
    for protocol, scores in on_cpu.items():
        assert on_gpu[protocol] == pytest.approx(scores, abs=0.01)
