"""Models of other programs as runs of ours."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import build_model_from_openai_state_dict
from PIL import Image
from torch import Tensor

from rankclip.errors import DataError, InputError
from rankclip.evaluation import score_request
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.exchange.exporting import export
from rankclip.exchange.importing import Origin, import_, spec_of
from rankclip.models import open_clip as door
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import load_encoder
from tests.unit.evaluation.known import unit_rows

TEXTS = ["a red circle", "a very small green star beside two outlined hexagons"]


def test_a_model_of_open_clip_gives_the_same_embeddings_here(
    tmp_path: Path, pictures: list[Image.Image], blobs: list[bytes]
) -> None:
    door.register()
    torch.manual_seed(5)
    with door.untrained_on_purpose():
        model, _, preprocess = open_clip.create_model_and_transforms("shapes-vit")
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "epoch_3.pt")
    import_(str(tmp_path / "epoch_3.pt"), "open_clip", "shapes-vit", tmp_path / "run")
    encoder = load_encoder(tmp_path / "run")
    with torch.inference_mode():
        model.eval()
        images = model.encode_image(torch.stack([preprocess(each) for each in pictures]), normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer("shapes-vit")(TEXTS), normalize=True)
    assert (images - unit_rows(encoder, blobs)).abs().max() <= 1e-6
    assert (texts - encoder.encode_texts(TEXTS)).abs().max() <= 1e-6


@pytest.fixture
def small_rn50(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Weights of RN50, which is made small for this test, as the code of OpenAI names them."""
    for name in ("RN50", "RN50-quickgelu"):
        config = open_clip.get_model_config(name)
        config["vision_cfg"] |= {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}
        config["text_cfg"] |= {"width": 64, "heads": 1, "layers": 2}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    torch.manual_seed(5)
    with door.untrained_on_purpose():
        model = open_clip.create_model("RN50")
    weights: dict[str, Tensor] = model.state_dict()
    return weights


def test_a_checkpoint_of_cyclip_has_the_activation_of_openai_here_and_in_open_clip(
    small_rn50: dict[str, Tensor], tmp_path: Path, pictures: list[Image.Image], blobs: list[bytes]
) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in small_rn50.items()}
    torch.save({"epoch": 64, "name": "cyclip", "state_dict": wrapped, "optimizer": {}}, tmp_path / "best.pt")
    spec = import_(str(tmp_path / "best.pt"), "cyclip", "RN50", tmp_path / "run")
    assert spec.name == "RN50-quickgelu"
    export(tmp_path / "run", "open_clip", tmp_path / "out", tmp_path)
    encoder = load_encoder(tmp_path / "run")
    openais = build_model_from_openai_state_dict(dict(small_rn50), quick_gelu=True, cast_dtype=torch.float32)
    openais = openais.float()
    openais.load_state_dict(small_rn50)  # building it rounded some to half precision
    exported, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    images, tokens = torch.stack([preprocess(each) for each in pictures]), door.tokenize(spec, TEXTS)
    with torch.inference_mode():
        for model in (openais.eval(), exported.eval()):
            found = model.encode_image(images, normalize=True), model.encode_text(tokens, normalize=True)
            for theirs, ours in zip(
                found, (unit_rows(encoder, blobs), encoder.encode_texts(TEXTS)), strict=True
            ):
                assert (theirs - ours).abs().max() <= 1e-6
        plain = door.build(ModelSpec(name="RN50"), seed=0)
        plain.clip.load_state_dict(small_rn50)
        assert (plain.eval()(None, tokens)[1] - encoder.encode_texts(TEXTS)).abs().max() > 1e-4


def test_the_evaluation_accepts_an_imported_model(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.pt")
    import_(str(tmp_path / "a.pt"), "open_clip", "shapes-vit", tmp_path / "run")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "manifest.json").write_text('{"benchmarks": {"digits": {}}}')
    asked = EvaluationSpec.model_validate({"benchmarks": [{"name": "digits", "images": 20, "side": 16}]})
    request = score_request.request(
        tmp_path / "run", asked, tmp_path / "benchmarks", tmp_path / "work", tmp_path
    )
    assert (request.arm, request.seed, request.step) == ("open_clip", 0, 0)
    assert load_encoder(tmp_path / "run").spec.name == "shapes-vit"
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert (record["origin"], record["file"], set(record["inputs"])) == ("open_clip", "a.pt", {"weights"})


def write_checkpoint(path: Path) -> None:
    with door.untrained_on_purpose():
        door.register()
        torch.save(open_clip.create_model("shapes-vit").state_dict(), path)


def test_an_imported_model_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    source, out = tmp_path / "a.pt", tmp_path / "run"
    write_checkpoint(source)
    out.mkdir()
    (out / "model.safetensors").write_bytes(b"of an import that was killed")
    for _ in range(2):
        import_(str(source), "open_clip", "shapes-vit", out)
    record = out / "record.json"
    told = json.loads(record.read_text())
    for content in ({"config": told["config"]}, None):
        if content is None:
            record.unlink()
            (out / "metrics.jsonl").touch()
        else:
            record.write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"run is there and holds no imported model"):
            import_(str(source), "open_clip", "shapes-vit", out)
    (out / "record.json").write_text("{")
    with pytest.raises(DataError, match=r"record\.json cannot be read"):
        import_(str(source), "open_clip", "shapes-vit", out)


@pytest.mark.parametrize(
    ("origin", "model", "known"),
    [
        ("open_clip", "RN50", "RN50"),
        ("open_clip", "ViT-B/32", "ViT-B-32"),
        ("cyclip", "RN50", "RN50-quickgelu"),
        ("rankclip-official", "ViT-B/32", "ViT-B-32-quickgelu"),
        ("cyclip", "RN50-quickgelu", "RN50-quickgelu"),
    ],
)
def test_the_programs_of_the_papers_have_openais_activation(origin: Origin, model: str, known: str) -> None:
    assert spec_of(model, origin).name == known


def test_a_model_that_a_program_has_not_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(InputError, match=r"cyclip has no model 'RN101' .* RN50 or ViT-B-32 or ViT-B-16"):
        spec_of("RN101", "cyclip")
    with pytest.raises(
        InputError, match=r"model 'nope' is unknown; choose one of 'shapes-rn'.*'RN50-quickgelu'"
    ):
        spec_of("nope", "open_clip")
