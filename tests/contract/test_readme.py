"""What README.md tells a reader to type, open or write exists and works."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer
import yaml
from code_imports import PACKAGE, ROOT

from rankclip import cli, composition, pretrain
from rankclip.objectives import RankClipLoss
from rankclip.objectives.accumulate import accumulate
from rankclip.objectives.batch import gathered

README = (ROOT / "README.md").read_text()
HOW_TO = "\n".join(
    (ROOT / "docs" / name).read_text() for name in ("data.md", "evaluation.md", "sweeps.md", "training.md")
)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def quoted(page: str) -> list[str]:
    """What stands in single quotes of code between the blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))


def commands(page: str) -> list[str]:
    """What a page says to type."""
    blocks = re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    typed = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    known = re.compile(r"(make|rankclip|dvc|source) [a-z.]")
    return sorted({line for line in [*typed, *quoted(page)] if known.match(line)})


QUOTED, COMMANDS = quoted(README), commands(README)
DVC: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
EXAMPLES = {"objectives/hinge.py", "benchmarks/folder.py", "objective/hinge.yaml"}
"""Files that the reader is shown how to write."""


def python_block(first_line: str, tmp_path: Path) -> ModuleType:
    (text,) = (block for kind, block in BLOCKS if kind == "python" and block.startswith(first_line))
    path = tmp_path / "shown_in_readme.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where pydantic looks for the names of annotations
    spec.loader.exec_module(module)
    return module


def made() -> set[str]:
    """What the stages of the smoke study write."""
    stages = [stage.get("do", stage) for stage in DVC.values()]
    entries = [
        entry for stage in stages for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])
    ]
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    found = {path.replace("${study.name}", "shapes-smoke").replace("${key}", "clip") for path in paths}
    links = {f"reports/{name}" for name in ("index.html", "ablation.csv", "ablation.md")}
    run = {f"runs/shapes-smoke/clip/seed-0/{name}" for name in pretrain.EXPORTED}
    return found | links | run | {"mlflow.db", "dvc.lock", "work/", ".venv/bin/activate"}


@pytest.mark.parametrize("command", sorted({*COMMANDS, *commands(HOW_TO)}))
def test_a_command_of_the_readme_and_of_the_how_to_exists(command: str) -> None:
    program, *words = command.split()
    if program == "make":
        assert f"\n{words[0]}: $(READY)" in (ROOT / "Makefile").read_text()
    elif program == "rankclip":
        known: Any = typer.main.get_group(cli.app)
        while getattr(known, "commands", None):
            known = known.commands[words.pop(0)]
        options = {name for parameter in known.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options
    elif program == "dvc":
        assert words[0] in {"repro", "exp", "metrics", "plots", "params"}
        assert {word.split("@")[0] for word in words[1:] if words[0] == "repro"} <= set(DVC)
    else:
        assert words == [".venv/bin/activate"]


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS + commands(HOW_TO) if command.startswith("rankclip use ")]
)
def test_a_study_of_the_readme_and_of_the_how_to_composes(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Train_GCC-training.tsv", "cc12m.tsv", "list.tsv", "mine.parquet", "t.parquet"):
        (tmp_path / name).write_text("a red square\thttp://a.example/1.jpg\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "cc3m_3long_3short_1raw_captions_url.csv").touch()
    (tmp_path / "tars").mkdir()
    for name in ("00000", "cc3m-train-0000", "cc12m-train-0000"):
        (tmp_path / "tars" / f"{name}.tar").touch()
    monkeypatch.chdir(tmp_path)
    study, *changes = shlex.split(command, comments=True)[2:]
    if changes == ["arms.hinge.objective=hinge"]:  # the loss that the reader writes, see below
        changes = []
    composition.compose(study, changes, ROOT / "conf")


def test_the_readme_names_commands_at_all() -> None:
    assert {"make repro", "make test", "make ui", "rankclip repro", "dvc repro"} <= set(COMMANDS)


def test_both_commands_stand_on_the_first_screen() -> None:
    first = README.splitlines()[:24]
    assert [line for line in first if line.startswith(("make repro", "make test"))]
    assert "docs/report.png" in "\n".join(first)


def test_a_path_of_the_readme_exists_or_is_made() -> None:
    outputs = made()
    named = {
        word
        for word in QUOTED
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*(/|\.\w+)", word) and not word[0].isdigit()
    }
    named |= {link for link in re.findall(r"\]\(([^)#]+)\)", README) if "//" not in link}
    missing = {
        path
        for path in named
        if not (ROOT / path).exists()
        and not any(path in (out, Path(out).name) or out.startswith(path) for out in outputs)
        and not any(path.endswith(example) for example in EXAMPLES)
    }
    assert missing == set()
    assert len(named) > 20


def test_the_readme_tells_every_environment_variable_of_ours() -> None:
    read = {
        name
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r'"(RANKCLIP_[A-Z_]+)"', path.read_text())
    }
    assert set(re.findall(r"RANKCLIP_[A-Z_]+", README)) == read - {"RANKCLIP_TIMES", "RANKCLIP_RAY_SESSION"}


def unit(rows: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, 4, generator=generator), dim=1)


class TwoTowers(torch.nn.Module):
    """A linear map for each modality, called as open_clip's models are."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = torch.nn.ModuleList(torch.nn.Linear(4, 4, bias=False) for _ in range(2))
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.66))

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> dict[str, torch.Tensor]:
        image, text = (
            torch.nn.functional.normalize(tower(rows), dim=1)
            for tower, rows in zip(self.towers, (images, texts), strict=True)
        )
        return {"image_features": image, "text_features": text, "logit_scale": self.logit_scale.exp()}


def test_the_trainer_of_the_readme_trains() -> None:
    (code,) = (block for kind, block in BLOCKS if kind == "python" and "RankClipLoss()" in block)
    torch.manual_seed(0)
    model, data = TwoTowers(), [(unit(16, seed), unit(16, seed).flip(1)) for seed in range(20)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    told: dict[str, Any] = {"loader": data, "model": model, "optimizer": optimizer}

    def value() -> float:
        with torch.no_grad():
            return float(torch.stack([RankClipLoss()(**model(*pairs)) for pairs in data]).mean())

    before = value()
    exec(compile(code, "README.md", "exec"), told)
    assert value() < 0.8 * before
    assert told["loss"].in_modal == told["loss"].cross_modal == RankClipLoss().in_modal
    assert len(code.splitlines()) < 15


def test_the_readme_lists_every_objective() -> None:
    there = set(composition.names("objective", ROOT / "conf"))
    assert there & set(QUOTED) == there


def test_the_loss_of_the_readme_works(tmp_path: Path) -> None:
    kind = python_block('"""VSE++', tmp_path).Hinge
    (text,) = (block for name, block in BLOCKS if name == "yaml")
    term = kind.model_validate(yaml.safe_load(text)["terms"][0])
    image, words = unit(6, 0).requires_grad_(), unit(6, 1).requires_grad_()
    found = accumulate({"hinge": (1.0, term)}, gathered(image, words, torch.tensor(5.0)))["loss"]
    cosines = image @ words.T
    others = cosines - 3 * torch.eye(6)
    own = cosines.diag()
    expected = sum((0.2 + others.amax(axis) - own).relu().mean() for axis in (0, 1))
    torch.testing.assert_close(found, expected)
    for gradient, right in zip(
        torch.autograd.grad(found, [image, words]), torch.autograd.grad(expected, [image, words]), strict=True
    ):
        torch.testing.assert_close(gradient, right)


def test_one_file_and_one_line_make_the_loss_an_arm(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (config,) = (block for kind, block in BLOCKS if kind == "yaml")
    (tmp_path / "conf" / "objective" / "hinge.yaml").write_text(config)
    objectives = tmp_path / "pipeline" / "rankclip" / "objectives"
    (loss,) = (block for kind, block in BLOCKS if block.startswith('"""VSE++'))
    (objectives / "hinge.py").write_text(loss)
    registry = objectives / "objective.py"
    text = registry.read_text()
    for before, after in (
        ("from rankclip.objectives.terms import", "from rankclip.objectives.hinge import Hinge\n"),
        (",\n    Field(discriminator=", " | Hinge"),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after + before)
    registry.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "rankclip", "use", "shapes-smoke", "arms.hinge.objective=hinge"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "pipeline"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "shapes-smoke is active: 4 arms" in done.stdout


def test_the_benchmark_of_the_readme_works(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(4):
            file = tmp_path / "animals" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"{name} {number}".encode())
    kind = python_block('"""Images that lie', tmp_path).FolderBenchmark
    benchmark = kind(name="folder", path=tmp_path / "animals")
    splits = {split: benchmark.content(benchmark, split) for split in ("val", "test")}
    images = {split: {sample.image for sample in content.samples} for split, content in splits.items()}
    assert images["val"].isdisjoint(images["test"])
    assert len(images["val"] | images["test"]) == 8
    assert {(content.classnames, content.templates) for content in splits.values()} == {
        (("cat", "dog"), ("a photo of a {c}",))
    }
    assert [sample.label for sample in splits["test"].samples] == [0, 0, 1, 1]
