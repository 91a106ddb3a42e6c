"""What objectives look at beside embeddings: averaged models, other captions, latents, equal captions."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from rankclip.data.loading.index import Captions
from rankclip.data.loading.samples import Samples
from rankclip.errors import InputError
from rankclip.models.image_text import ImageTextModel
from rankclip.models.open_clip import build, tokenize
from rankclip.objectives.batch import gathered
from rankclip.training import checkpoint, run
from rankclip.training.averaged import Averaged
from rankclip.training.feed import Feed
from rankclip.training.loop import Training
from rankclip.training.request import METRICS, TrainRequest
from rankclip.training.teachers import Teachers, caption_numbers
from tests.unit.training import tiny

CHOSEN = np.array([3, 0, 17, 5])
SOFT = tiny.ranked("rankclip_soft", teacher="soft")
EVERY = tiny.objective(
    "every_teacher",
    [
        tiny.CONTRASTIVE,
        {"name": "rank_cross", "teacher": "consensus"},
        {"name": "rank_in", "teacher": "oracle"},
        {"name": "multi_positive"},
    ],
)


def teachers_of(request: TrainRequest, needs: set[str], model: ImageTextModel) -> Teachers:
    averaged = Averaged(model, request.train.ema_decay)
    return Teachers(needs, request.key, feed_of(request), averaged, request.train)


def feed_of(request: TrainRequest) -> Feed:
    return Feed(request, 32, torch.device("cpu"))


def moved(model: ImageTextModel, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by
        for buffer in model.buffers():
            buffer += 1


def test_the_averaged_model_is_a_moving_average_that_soon_forgets_the_untrained_one() -> None:
    model = build(tiny.MODEL, seed=0)
    averaged, expected = Averaged(model, decay=0.7), model.logit_scale.item()
    for step, share in ((1, 1 / 2), (2, 1 / 3), (3, 0.3), (4, 0.3)):
        moved(model, 1.0)
        averaged.update(model, step)
        expected += share * (model.logit_scale.item() - expected)
        assert averaged.model.logit_scale.item() == pytest.approx(expected, rel=1e-6)
    for ours, theirs in zip(averaged.model.buffers(), model.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    weight = (
        averaged.model.clip.get_parameter("text_projection") - build(tiny.MODEL, seed=0).clip.text_projection
    )
    assert weight.mean().item() == pytest.approx(
        expected - build(tiny.MODEL, seed=0).logit_scale.item(), rel=1e-4
    )
    assert not averaged.model.training
    assert not any(parameter.requires_grad for parameter in averaged.model.parameters())


def test_averaged_embeddings_are_those_of_the_averaged_model_in_evaluation(
    tiny_data: Path, tmp_path: Path
) -> None:
    request = tiny.request(tiny_data, tmp_path, micro_batch=3)
    model = build(tiny.MODEL, seed=0)
    teachers = teachers_of(request, {"averaged"}, model)
    batch = feed_of(request).batch(CHOSEN, 0)
    image, text = teachers.of(model, batch)["averaged"]
    model.eval()
    expected = model(batch.images, batch.tokens)
    assert torch.allclose(image, expected[0], atol=1e-6)
    assert torch.allclose(text, expected[1], atol=1e-6)
    assert not image.requires_grad
    moved(model, 0.1)
    assert teachers.averaged is not None
    teachers.averaged.update(model, 1)
    changed, _ = teachers.of(model, batch)["averaged"]
    assert (changed - image).norm() > 1e-2


def test_described_are_the_first_captions_of_all_slots_and_zeros_where_there_is_none(
    tiny_data: Path, tmp_path: Path
) -> None:
    request = tiny.request(tiny_data, tmp_path, objective=EVERY)
    model = build(tiny.MODEL, seed=0).train()
    feed = feed_of(request)
    described = teachers_of(request, {"described"}, model).of(model, feed.batch(CHOSEN, 0))["described"]
    slots = feed.samples.slots
    assert described.shape == (4, len(slots), 64)
    assert not described.requires_grad
    assert model.training
    for m, slot in enumerate(slots):
        captions = feed.samples.captions(slot)
        for row, index in enumerate(CHOSEN):
            expected = torch.zeros(64)
            if captions[index]:
                expected = model(None, tokenize(tiny.MODEL, captions[index][:1]))[1][0].detach()
            assert torch.allclose(described[row, m], expected, atol=1e-6)
    lacking = [m for m, slot in enumerate(slots) if not feed.samples.captions(slot)[0]]
    assert lacking
    assert described[1, lacking].abs().max() == 0  # the first image has no caption `detail`
    assert torch.allclose(described[0].norm(dim=-1), torch.ones(len(slots)), atol=1e-5)


def test_latents_are_those_of_the_chosen_samples(tiny_data: Path, tmp_path: Path) -> None:
    request = tiny.request(tiny_data, tmp_path)
    teachers = teachers_of(request, {"latents"}, build(tiny.MODEL, seed=0))
    found = teachers.of(build(tiny.MODEL, seed=0), feed_of(request).batch(CHOSEN, 0))["latents"]
    angles = torch.linspace(0, torch.pi / 2, tiny.IMAGES)[torch.from_numpy(CHOSEN)]
    assert torch.allclose(found, torch.stack([angles.cos(), angles.sin()], dim=1), atol=1e-6)


def test_an_oracle_without_latents_is_refused_before_training(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Samples, "latents", lambda self: None)
    Training(tiny.request(tiny_data, tmp_path))
    wanted = (
        r"^arm/seed-4: teacher oracle needs the true similarity.*shards does not hold; choose another teacher"
    )
    with pytest.raises(InputError, match=wanted):
        Training(tiny.request(tiny_data, tmp_path, objective=EVERY))


def test_a_consensus_of_one_caption_is_refused_before_training(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions, none = Samples.captions, Captions([pa.array([[]] * tiny.IMAGES, pa.list_(pa.string()))])
    Training(tiny.request(tiny_data, tmp_path, objective=EVERY))
    for slots in (["raw", "detail"], ["raw"]):  # a slot without captions counts for nothing
        monkeypatch.setattr(Samples, "slots", slots)
        monkeypatch.setattr(
            Samples,
            "captions",
            lambda self, slot: captions(self, slot) if slot == "raw" else none,
        )
        Training(tiny.request(tiny_data, tmp_path))
        wanted = (
            r"^arm/seed-4: teacher consensus needs captions in two slots or more, .*shards has raw alone; "
            r"choose another teacher, or data with captions in more slots$"
        )
        with pytest.raises(InputError, match=wanted):
            Training(tiny.request(tiny_data, tmp_path, objective=EVERY))


def test_latents_that_diagnostics_alone_look_at_are_made_where_these_are_due(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []

    def watching(*tensors: torch.Tensor, **options: object) -> object:
        given.append("latents" in options)
        return gathered(*tensors, **options)

    monkeypatch.setattr("rankclip.training.step.gathered", watching)
    for objective, expected in ((SOFT, [3, 6, 7]), (EVERY, list(range(1, 8)))):
        given.clear()
        training = Training(tiny.request(tiny_data, tmp_path, objective=objective, diagnose_every=3))
        lines = list(training.reports())
        assert [step for step, there in enumerate(given, start=1) if there] == expected
        known = [line["step"] for line in lines if "diagnostics/image_text/latent_kendall_tau" in line]
        assert known == [3, 6, 7]


def test_captions_have_equal_numbers_exactly_where_they_are_identical() -> None:
    texts = ["a red circle", "a red  circle ", "a red circle", "a red circles", "", "circle red a", ""]
    numbers = caption_numbers(tokenize(tiny.MODEL, texts).to(torch.int32))
    assert numbers.dtype == torch.int64
    same = numbers[:, None] == numbers
    expected = [[" ".join(one.split()) == " ".join(other.split()) for other in texts] for one in texts]
    assert same.tolist() == expected
    padded = tokenize(tiny.MODEL, texts).to(torch.int32)
    assert torch.equal(caption_numbers(padded[:, :40]), numbers)  # other workers trim to other lengths
    many = torch.arange(50_000, dtype=torch.int32).view(-1, 1).repeat(1, 3)
    assert len(caption_numbers(many).unique()) == 50_000
    assert torch.equal(caption_numbers(many[7:9]), caption_numbers(many)[7:9])


def test_only_what_an_objective_needs_is_made(tiny_data: Path, tmp_path: Path) -> None:
    request, model = tiny.request(tiny_data, tmp_path, objective=EVERY), build(tiny.MODEL, seed=0)
    for needs in (set(), {"bias", "shuffle"}, {"captions"}, {"captions", "latents", "averaged", "described"}):
        teachers = teachers_of(request, needs, model)
        found = teachers.of(model, feed_of(request).batch(CHOSEN, 0))
        assert found.keys() == needs - {"bias", "shuffle"}


def test_an_objective_of_every_teacher_trains(tiny_data: Path, tmp_path: Path) -> None:
    request = tiny.request(tiny_data, tmp_path, objective=EVERY, micro_batch=3, diagnose_every=3)
    run.train_run(request.dump())
    assert request.finished


@pytest.fixture(scope="module")
def undisturbed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainRequest:
    request = tiny.request(tiny_data, tmp_path_factory.mktemp("soft"), objective=SOFT)
    run.train_run(request.dump())
    return request


def test_a_run_with_an_averaged_teacher_resumes_exactly(
    undisturbed: TrainRequest, tiny_data: Path, tmp_path: Path
) -> None:
    request = tiny.request(tiny_data, tmp_path, objective=SOFT)
    request.folder.mkdir()
    first, written = Training(request), 0
    for report in first.reports():
        saves = report.pop("checkpoint")
        written = run._append(request.folder / METRICS, report)
        if saves:
            first.save(written)
            break
    saved = checkpoint.load(request.folder)
    assert saved is not None
    assert saved.averaged is not None
    again = Training(request)
    assert first.averaged is not None
    assert again.averaged is not None
    for name, tensor in first.averaged.model.state_dict().items():
        assert torch.equal(again.averaged.model.state_dict()[name], tensor), name
    assert not torch.equal(saved.averaged["clip.text_projection"], saved.model["clip.text_projection"])
    run.train_run(request.dump())
    assert (request.folder / run.WEIGHTS).read_bytes() == (undisturbed.folder / run.WEIGHTS).read_bytes()


def test_the_teacher_of_a_step_is_the_average_of_the_models_before_it(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(tiny.request(tiny_data, tmp_path, objective=SOFT, log_every=1))
    averaged, seen = training.averaged, []
    assert averaged is not None

    def watching(*given: torch.Tensor, **options: object) -> object:
        seen.append((options["averaged"], copy.deepcopy(averaged.model)))
        return gathered(*given, **options)

    monkeypatch.setattr("rankclip.training.step.gathered", watching)
    models = [{name: tensor.clone() for name, tensor in training.model.named_parameters()}]
    for _ in training.reports():
        models.append({name: tensor.clone() for name, tensor in training.model.named_parameters()})
    name = "clip.text_projection"
    for step, (embedded, teacher) in enumerate(seen):
        mean = torch.stack([model[name] for model in models[: step + 1]]).mean(dim=0)
        assert torch.allclose(dict(teacher.named_parameters())[name], mean, atol=1e-6)
        assert torch.allclose(embedded[0].norm(dim=1), torch.ones(8), atol=1e-5)
    assert (seen[1][0][0] - seen[0][0][0]).norm() > 1e-3
