"""The studies of Conceptual Captions start as they are, on a slice in the layout of the published tars.

Their models, recipes and benchmark are the real ones, pictures and captions those of the embedded world; only
the batch is small. So a real run lacks nothing but the data and a GPU.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from rankclip import composition, pretrain
from rankclip.data import tars
from rankclip.data.benchmarks import write
from rankclip.data.indexing import index
from rankclip.data.shapes.spec import ShapesSpec
from rankclip.data.shapes.world import World
from rankclip.data.sources.webdataset import WebdatasetSpec
from rankclip.training.loop import Training
from tests.e2e.project import REPOSITORY
from tests.one_thread import one_thread
from tests.unit.data.crawled import encoded

__all__ = ["one_thread"]

PAIRS, BATCH = 8, 4
PARAMETERS = {"cc3m-rn50": 102_007_137, "cc3m-vitb32": 151_277_313}
"""Of OpenAI's RN50 and ViT-B/32."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tars named and filled as those of pixparse/cc3m-wds."""
    folder = tmp_path_factory.mktemp("cc3m-wds")
    spec = composition.compose("shapes-smoke", conf=REPOSITORY / "conf").source
    assert isinstance(spec, ShapesSpec)
    world = World(spec)
    for number in range(2):
        with tars.writing(folder / f"cc3m-train-{number:04d}.tar") as tar:
            for k in range(number, PAIRS, 2):
                text, url = world.raw(k)[0].text, world.url(k)
                large = world.image(k).resize((640, 512), Image.Resampling.NEAREST)
                tar.add(f"{k:09d}.jpg", encoded(large, quality=80))
                tar.add(f"{k:09d}.json", json.dumps({"url": url, "caption": text}).encode())
                tar.add(f"{k:09d}.txt", text.encode())
    return folder


@pytest.fixture
def training(name: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    """A run of the study's arm `rankclip`, as the stages before it leave it."""
    monkeypatch.setenv("RANKCLIP_LOADER_WORKERS", "0")
    monkeypatch.setenv("RANKCLIP_DEVICE", "cpu")
    changes = ("data=cc3m-wds", f"source.place={published}", f"train.batch_size={BATCH}", "train.log_every=1")
    small = ("train.threads=1", "evaluation.benchmarks=[{name: digits, images: 10, side: 32}]")
    study = composition.compose(name, [*changes, *small], REPOSITORY / "conf")
    assert isinstance(study.source, WebdatasetSpec)
    index.run(study.source, study.captions, tmp_path / "data", tmp_path / "work")
    write.run(study.evaluation.benchmarks, study.source, tmp_path / "data" / "benchmarks")
    asked = pretrain.of_study(study, ["rankclip"], tmp_path / "data", tmp_path / "work")[0]
    return Training(asked)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_full_size_study_starts_on_tars_as_they_are_published(name: str, training: Training) -> None:
    assert sum(parameter.numel() for parameter in training.model.parameters()) == PARAMETERS[name]
    assert (training.model.image_size, len(training.feed)) == (224, PAIRS)
    before = training.model.clip.get_parameter("visual.conv1.weight").detach().clone()
    reports: list[dict[str, Any]] = list(itertools.islice(training.reports(), 2))
    assert [report["step"] for report in reports] == [1, 2]
    for report in reports:
        assert 0.3 < report["contrastive"] / math.log(BATCH) < 3.0
        assert all(math.isfinite(value) for value in report.values() if isinstance(value, float))
    assert reports[-1]["quarantined"] == 0
    assert not torch.equal(training.model.clip.get_parameter("visual.conv1.weight"), before)
    assert 0.0 <= training.validate()["val/digits/top1"] <= 1.0
    training.feed.close()
