from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rankclip import composition, files
from rankclip.config import Study
from rankclip.data.loading.samples import Samples
from rankclip.errors import InputError
from rankclip.estimate import likeness
from rankclip.estimate.need import Worker
from rankclip.estimate.outlook import duration, size
from rankclip.estimate.study import Asked, arms_of, room
from rankclip.estimate.text import lines

CONF = Path(__file__).parents[3] / "conf"
WORKER = Worker("cpu", 1, recompute=False)


@pytest.fixture(scope="module")
def smoke() -> Study:
    return composition.compose("shapes-smoke", [], CONF)


def test_a_study_is_estimated_before_anything_is_there(smoke: Study, tmp_path: Path) -> None:
    found = list(lines(smoke, tmp_path, Asked(measured=False)))
    assert [line.split()[0] for line in found[2:5]] == ["clip", "rankclip", "rankclip_shuffled"]
    assert "4.6M" in found[2]
    assert "10.2" in found[2]  # epochs of the 6,500 images that are drawn
    assert found[-2].startswith("disk: ")
    assert "over 3 seeds" in found[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_elsewhere_gives_hours_and_cost(smoke: Study, tmp_path: Path) -> None:
    slow, fast = (
        list(lines(smoke, tmp_path, Asked(gpu="A100", utilisation=share, price=2.0)))
        for share in (0.001, 0.01)
    )
    cost = [float(report[2].split()[-1]) for report in (slow, fast)]
    assert cost[0] == pytest.approx(10 * cost[1], rel=0.1)
    assert "nothing was measured" in "\n".join(slow)


def test_an_unknown_gpu_is_refused_with_those_that_are_known(smoke: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'Z9' is unknown for precision fp32; choose one of A10, A100"):
        list(lines(smoke, tmp_path, Asked(gpu="Z9")))


def test_a_run_that_is_followed_and_is_no_arms_is_counted() -> None:
    replayed = "arms.replayed.objective.replay"
    changes = [
        "arms.replayed.objective=clip_alpha_replay",
        "arms.replayed.overrides={}",
        f"{replayed}.name=siglip",
    ]
    study = composition.compose("shapes-smoke", [*changes, "arms.replayed.overrides={train.lr: 2e-3}"], CONF)
    names = [arm.name for arm in arms_of(study, WORKER)]
    assert names == ["clip", "rankclip", "rankclip_shuffled", "replayed", "replayed/follows-siglip"]


def test_a_run_that_two_arms_follow_is_counted_once() -> None:
    changes = [
        "arms.one.objective=clip_alpha_replay",
        "arms.one.objective.replay.name=leader",
        "arms.one.overrides={train.lr: 2e-3}",
        "arms.two.objective=rankclip_soft",
        "arms.two.objective.replay=rankclip",
        "arms.two.objective.replay.name=leader",
        "arms.two.overrides={train.lr: 2e-3}",
    ]
    names = [arm.name for arm in arms_of(composition.compose("shapes-smoke", changes, CONF), WORKER)]
    assert names[3:] == ["one", "two", "one/follows-leader"]


def test_a_followed_run_that_is_an_arms_is_counted_once() -> None:
    study = composition.compose("shapes-controls", [], CONF)
    assert [arm.name for arm in arms_of(study, WORKER)] == list(study.arms)


def test_runs_of_several_workers_come_one_after_the_other(smoke: Study) -> None:
    assert room(arms_of(smoke, WORKER), Worker("cpu", 2, recompute=False)) == 1


def test_data_like_the_studys_can_be_trained_on(tmp_path: Path) -> None:
    few = [f"evaluation.benchmarks.{name}.images=20" for name in ("shape", "colour", "composition")]
    smoke = composition.compose("shapes-smoke", few, CONF)
    made = likeness.make(smoke, tmp_path, 12)
    with Samples(made.shards) as samples:
        assert len(samples) == 12
        assert set(samples.slots) == {*smoke.source.slots, *smoke.captions}
        assert all(samples.captions("raw")[number] for number in range(12))
        latents = samples.latents()
        assert latents is not None
        np.testing.assert_allclose(np.linalg.norm(latents, axis=1), 1.0, rtol=1e-6)
        assert samples.read(3)[:2] == b"\xff\xd8"
    listed = files.read_json(made.benchmarks / "manifest.json")["benchmarks"]
    assert set(listed) == set(smoke.train.validation)


def test_images_of_the_web_are_of_the_size_that_is_crawled(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("a red square\thttp://a.example/1.jpg\n")
    study = composition.compose("cc3m-rn50", [f"source.path={tmp_path / 'list.tsv'}"], CONF)
    picture = Image.open(io.BytesIO(next(likeness.pictures(study, 1))))
    assert min(picture.size) == study.download.image_size
    assert all(5 <= len(text.split()) <= 25 for text in likeness.texts(study, 20))


def test_times_and_sizes_are_said_as_people_read_them() -> None:
    assert duration(3725.4) == "1:02:05"
    assert [size(count) for count in (2.5e6, 1.26e9, 6.1e10)] == ["2 MB", "1.3 GB", "61 GB"]
