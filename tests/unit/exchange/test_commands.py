"""`rankclip import` and `rankclip export` as they are typed."""

from __future__ import annotations

from pathlib import Path

import open_clip
import torch
from typer.testing import CliRunner

from rankclip import cli
from rankclip.models import open_clip as door
from rankclip.models.spec import ModelSpec


def typed(*words: object) -> str:
    done = CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_weights_go_in_and_out_unchanged(tmp_path: Path) -> None:
    weights = door.build(ModelSpec(name="shapes-vit"), seed=2).clip.state_dict()
    torch.save({"state_dict": weights}, tmp_path / "epoch_3.pt")
    run, out = tmp_path / "run", tmp_path / "out"
    said = typed(
        "import", tmp_path / "epoch_3.pt", "--from", "open_clip", "--model", "shapes-vit", "--out", run
    )
    assert f"model=shapes-vit model.pretrained={run / 'model.safetensors'}" in said
    typed("export", run, "--to", "hf", out)
    loaded = open_clip.create_model(f"local-dir:{out}").state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.items())
