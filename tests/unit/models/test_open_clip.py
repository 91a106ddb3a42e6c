"""Our door to open_clip against open_clip itself."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch import Tensor

from rankclip.errors import DataError
from rankclip.models import open_clip as door
from rankclip.models.image_text import ImageTextModel
from rankclip.models.pieces import ALL, images_at_once
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import load_encoder, pixels
from rankclip.models.weights import load_weights, save_weights
from tests.unit.evaluation.known import unit_rows

RN, VIT = ModelSpec(name="shapes-rn"), ModelSpec(name="shapes-vit")
CAPTIONS = [
    "a red circle",
    "",
    "a picture ![of] two tiny outlined stars and a hexagon",  # "!" before a sign is token 0, as padding is
    "!& !& !& !& !& !& !&",
]


def weights(model: ImageTextModel) -> dict[str, Tensor]:
    return model.clip.state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    image.save(target, kind)
    return target.getvalue()


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture(scope="module")
def models() -> dict[str, ImageTextModel]:
    return {spec.name: door.build(spec, seed=1).eval() for spec in (RN, VIT)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, models: dict[str, ImageTextModel]) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_weights(models["shapes-rn"], RN, folder / "model.safetensors")
    (folder / "record.json").write_text(json.dumps({"config": {"model": RN.dump()}}))
    return folder


@pytest.mark.parametrize("spec", [RN, VIT], ids=lambda spec: spec.name)
@pytest.mark.parametrize("captions", [CAPTIONS[:2], CAPTIONS, [*CAPTIONS, "star " * 100]], ids=len)
def test_trimmed_captions_give_the_value_and_gradient_of_untrimmed_ones(
    spec: ModelSpec, captions: list[str]
) -> None:
    model = door.build(spec, seed=1).double().eval()
    tokens = door.tokenize(spec, captions)
    parameters = [
        parameter
        for name, parameter in model.clip.named_parameters()
        if not name.startswith("visual.") and name != "logit_scale"
    ]
    direction = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = {}
    for name, rows in {
        "trimmed": model(None, tokens)[1],
        "untrimmed": model.clip.encode_text(tokens, normalize=True),
    }.items():
        found[name] = [rows, *torch.autograd.grad((rows @ direction).sum(), parameters)]
    for one, other in zip(found["trimmed"], found["untrimmed"], strict=True):
        assert other.norm() > 0
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_captions_are_computed_no_longer_than_the_longest(models: dict[str, ImageTextModel]) -> None:
    tokens = door.tokenize(RN, ["red circle", "![ a"])
    trimmed, constants = models["shapes-rn"].trim(tokens)
    assert trimmed.tolist() == [[49406, 736, 7117, 49407, 0], [49406, 0, 314, 320, 49407]]
    assert [tuple(tensor.shape) for tensor in constants.values()] == [(5, 64), (5, 5)]


@pytest.mark.parametrize("spec", [RN, VIT], ids=lambda spec: spec.name)
def test_weights_are_a_function_of_the_seed(spec: ModelSpec) -> None:
    first = weights(door.build(spec, seed=7))
    state = torch.get_rng_state()
    torch.rand(3)
    assert equal(first, weights(door.build(spec, seed=7)))
    assert not equal(first, weights(door.build(spec, seed=8)))
    torch.set_rng_state(state)
    expected = torch.rand(3)
    torch.set_rng_state(state)
    door.build(spec, seed=9)
    assert torch.equal(torch.rand(3), expected)  # the caller's random numbers are left alone


def test_a_new_model_is_built_without_a_word(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    door.build(RN, seed=0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not root.filters
    monkeypatch.setattr(root, "handlers", [])
    door.build(RN, seed=0)
    assert root.handlers == []
    assert capfd.readouterr().err == ""


PICTURES = {
    "of the model's size": noise(32, 32),
    "wide": noise(50, 40),
    "tall and small": noise(20, 29),
    "gray": noise(41, 60, channels=1),
    "with transparency": noise(48, 48, channels=4),
    "with a palette": noise(40, 40).quantize(16),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pixels_and_normalise_are_the_evaluation_transform_of_open_clip(
    models: dict[str, ImageTextModel], name: str
) -> None:
    model = models["shapes-rn"]
    preprocess = open_clip.get_model_preprocess_cfg(model.clip)
    transform = open_clip.image_transform(
        32, is_train=False, mean=preprocess["mean"], std=preprocess["std"],
        interpolation=preprocess["interpolation"], resize_mode=preprocess["resize_mode"],
    )  # fmt: skip
    found = pixels(encoded(PICTURES[name]), model.image_size)
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (3, 32, 32))
    assert torch.equal(model.normalise(found[None])[0], transform(PICTURES[name]))


@pytest.mark.parametrize(
    "blob", [b"", b"<html>", encoded(noise(64, 64))[:900], encoded(noise(64, 64), "JPEG")[:700]]
)
def test_bytes_that_are_no_image_are_refused_in_one_line(blob: bytes) -> None:
    with pytest.raises(DataError, match=f"an image of {len(blob)} bytes cannot be decoded") as refused:
        pixels(blob, 32)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("error", [RuntimeError, KeyError, AttributeError, NotImplementedError])
def test_whatever_a_decoder_raises_is_one_line(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*unused: object) -> None:
        raise error("two\nlines")

    monkeypatch.setattr(Image.Image, "convert", damaged)
    with pytest.raises(DataError, match=r"cannot be decoded .*two") as refused:
        pixels(encoded(noise(64, 64)), 32)
    assert "\n" not in str(refused.value)


def test_readers_of_formats_that_no_set_has_stay_closed_to_its_bytes() -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        pixels(encoded(noise(32, 32), "TIFF"), 32)


def test_weights_survive_being_saved(run: Path, models: dict[str, ImageTextModel]) -> None:
    loaded = load_weights(RN, run / "model.safetensors")
    assert equal(weights(loaded), weights(models["shapes-rn"]))


def test_open_clip_reads_our_weights(run: Path, models: dict[str, ImageTextModel]) -> None:
    loaded = open_clip.create_model("shapes-rn", pretrained=str(run / "model.safetensors"))
    assert equal(loaded.state_dict(), weights(models["shapes-rn"]))


@pytest.mark.parametrize("spec", [RN, VIT], ids=lambda spec: spec.name)
def test_without_a_bound_a_model_is_the_same_but_for_its_logit_scale_and_bias(spec: ModelSpec) -> None:
    plain, sigmoid = weights(door.build(spec, seed=1)), weights(door.build(spec, seed=1, bounded=False))
    assert plain.pop("logit_scale").exp().item() == pytest.approx(1 / 0.07)
    assert sigmoid.pop("logit_scale").exp().item() == pytest.approx(10.0)
    assert sigmoid.pop("logit_bias").item() == -10.0
    assert equal(plain, sigmoid)


def test_a_model_with_a_bias_gives_it_last_and_trains_it() -> None:
    model = door.build(RN, seed=1, bounded=False).eval()
    tokens = door.tokenize(RN, CAPTIONS)
    image, text, alpha, bias = model(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), tokens)
    assert (tuple(image.shape), tuple(text.shape), alpha.shape, bias.shape) == ((4, 64), (4, 64), (), ())
    ((image * text).sum() * alpha + bias).backward()
    assert model.clip.get_parameter("logit_bias").grad == 1.0
    assert len(door.build(RN, seed=1)(None, tokens)) == 3


def test_weights_with_a_bias_survive_being_saved_and_open_clip_reads_them(tmp_path: Path) -> None:
    model = door.build(VIT, seed=1, bounded=False)
    path = tmp_path / "model.safetensors"
    save_weights(model, VIT, path)
    assert equal(weights(load_weights(VIT, path)), weights(model))
    theirs = open_clip.create_model("shapes-vit", pretrained=str(path), init_logit_bias=0.0)
    assert equal(theirs.state_dict(), weights(model))
    with pytest.raises(DataError, match=r"another model: \d+ tensors differ from shapes-rn"):
        load_weights(RN, path)


def test_a_checkpoint_of_another_model_is_refused_by_name(run: Path) -> None:
    with pytest.raises(DataError, match=r"another model: \d+ tensors differ from shapes-vit"):
        load_weights(VIT, run / "model.safetensors")


def test_damaged_and_missing_weights_are_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    whole = (run / "model.safetensors").read_bytes()
    for content in (None, b"", b"PK\3\4 no", whole[:-100], b"\0" * 1000):
        path = tmp_path / "model.safetensors"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=r"model\.safetensors is not readable.*pretrain") as refused:
            load_weights(RN, path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "record", ["{}", "[]", '{"config": {}}', '{"config": {"model": {"name": "another"}}}', '{"config": 3}']
)
def test_a_record_without_a_known_model_is_refused(tmp_path: Path, record: str) -> None:
    (tmp_path / "record.json").write_text(record)
    with pytest.raises(DataError, match=r"record\.json names no known model.*pretrain"):
        load_encoder(tmp_path)


def test_a_run_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record\.json is missing"):
        load_encoder(tmp_path)


def test_an_encoder_gives_the_same_unit_rows_whatever_its_batch(run: Path) -> None:
    encoder = load_encoder(run)
    images = [encoded(picture) for picture in PICTURES.values()]
    whole = unit_rows(encoder, images), encoder.encode_texts(CAPTIONS)
    pictures = torch.cat([unit_rows(encoder, [image]) for image in images])
    texts = torch.cat([encoder.encode_texts(CAPTIONS[:2]), encoder.encode_texts(CAPTIONS[2:])])
    for rows, again in zip(whole, (pictures, texts), strict=True):
        assert rows.dtype == torch.float32
        assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-6)
        assert torch.allclose(rows, again, atol=1e-5)


def test_a_network_of_convolutions_is_given_few_images_at_once_on_a_cpu(run: Path) -> None:
    encoder = load_encoder(run)
    images = [encoded(noise(32, 32)) for _ in range(3)]
    seen: list[int] = []
    encoder.model.clip.visual.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    whole = unit_rows(encoder, images)
    encoder.together = 2
    assert torch.allclose(unit_rows(encoder, images), whole, atol=1e-6)
    assert seen == [3, 2, 1]


@pytest.mark.parametrize(
    ("model", "size", "most"), [(RN, 224, 8), (RN, 32, 392), (RN, 4000, 1), (VIT, 224, ALL)]
)
def test_as_many_images_go_together_as_a_cache_holds(
    models: dict[str, ImageTextModel], model: ModelSpec, size: int, most: int
) -> None:
    assert images_at_once(models[model.name].clip, size, torch.device("cpu")) == most
    assert images_at_once(models[model.name].clip, size, torch.device("cuda")) == ALL


def test_the_tokenizer_remembers_no_more_words_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "pelargonium, brachiosaurus and quadrilateral"
    before = door.tokenize(RN, [text])
    monkeypatch.setattr(door, "KNOWN_WORDS", 3)
    assert torch.equal(door.tokenize(RN, [text]), before)
    assert set(door.tokenizer(RN.name).cache) == {"<start_of_text>", "<end_of_text>"}
    assert torch.equal(door.tokenize(RN, [text]), before)
