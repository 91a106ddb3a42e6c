"""Steps of full-size models on a GPU: ours beside open_clip's own loop, with and without compilation.

Each case has a process of its own, so that memory and compilation are its own. Batches are drawn once and
wait in memory from which the GPU copies, as a loader leaves them: ours as bytes, open_clip's as floats,
normalised already. Captions are 5 to 25 words long. open_clip is given `--precision amp_bf16 --local-loss
--gather-with-grad` and, where it is compiled, `--torchcompile`. Torch and open_clip are needed, no Ray and no
MLflow.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from bench.machine import machine

ROOT = Path(__file__).parents[1]
CONTEXT = 77
START, END = 49406, 49407
"""Tokens before and after each caption."""


@dataclass(frozen=True)
class Case:
    """What is trained, by whom."""

    trainer: str
    model: str
    batch_size: int
    compiled: bool = False
    arm: str = "clip"
    device: str = "cuda"
    warm: int = 10
    steps: int = 20


@dataclass(frozen=True)
class Found:
    """What it gave."""

    samples_per_s: float
    peak_mib: float | None
    """Most that PyTorch had allocated; None on a CPU."""
    tflops: float
    """Achieved, of the model's own operations at the length that the text tower sees."""
    mfu: float | None
    """Their share of what the GPU can do at this precision, where that is known."""
    first_steps_s: float
    """Of all steps that were not counted, compilation among them."""


WHOLE = tuple(
    Case(trainer, model, size, compiled, arm)
    for model, sizes in (("ViT-B-32", (1024, 4096)), ("RN50", (1024, 2048)))
    for size in sizes
    for compiled in (False, True)
    for trainer, arm in (("open_clip", "clip"), ("ours", "clip"), ("ours", "rankclip"))
)
QUICK = tuple(
    Case(trainer, "ViT-B-32", 64, warm=2, steps=2) for trainer in ("open_clip", "ours")
)  # fmt: skip


def captions(size: int) -> Tensor:
    """Tokens `[size, CONTEXT]` of captions of 7 to 33 tokens, which 5 to 25 words have."""
    generator = torch.Generator().manual_seed(size)
    tokens = torch.randint(1, START, (size, CONTEXT), generator=generator)
    lengths = torch.randint(7, 34, (size, 1), generator=generator)
    place = torch.arange(CONTEXT)
    tokens = torch.where(place < lengths - 1, tokens, END * (place == lengths - 1))
    tokens[:, 0] = START
    return tokens


def pictures(size: int, side: int) -> Tensor:
    """Bytes `[size, 3, side, side]`."""
    generator = torch.Generator().manual_seed(size)
    return torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, generator=generator)


def waiting(tensor: Tensor, device: torch.device) -> Tensor:
    """In memory from which the device copies."""
    return tensor.pin_memory() if device.type == "cuda" else tensor


class Ours:
    """Our step, as the loop calls it."""

    def __init__(self, case: Case, device: torch.device) -> None:
        from rankclip.models.open_clip import build
        from rankclip.models.spec import ModelSpec
        from rankclip.training.machine import Machine
        from rankclip.training.optim import build_optimizer
        from rankclip.training.parallel import prepared

        self.case, self.device, self.objective = case, device, objective(case.arm)
        self.model = build(ModelSpec.model_validate({"name": case.model}), seed=0).to(device).train()
        self.side, self.train = self.model.image_size, recipe()
        self.wrapped = prepared(self.model, Machine(compiled=case.compiled), device)
        self.optimizer = build_optimizer(self.model, self.train)
        self.pixels = waiting(pictures(case.batch_size, self.side), device)
        self.tokens = waiting(captions(case.batch_size).to(torch.int32), device)

    def __call__(self, steps: int) -> None:
        """So many steps."""
        from rankclip.training.step import train_step

        shuffle = torch.arange(self.case.batch_size)
        for _ in range(steps):
            pixels, tokens = (each.to(self.device, non_blocking=True) for each in (self.pixels, self.tokens))
            train_step(
                self.wrapped, self.optimizer, self.objective, pixels, tokens, 1.0, shuffle,
                precision="bf16", clip_norm=None,
            )  # fmt: skip

    @property
    def length(self) -> int:
        """Tokens of a caption that the text tower sees."""
        return int(self.tokens.argmax(dim=1).max()) + 1


class Theirs:
    """open_clip's loop over an epoch, without its loader."""

    length = CONTEXT

    def __init__(self, case: Case, device: torch.device) -> None:
        import open_clip
        from open_clip_train.params import parse_args

        from rankclip.models.open_clip import build, register
        from rankclip.models.spec import ModelSpec

        register()
        self.case, self.device = case, device
        options = ["--precision", "amp_bf16", "--local-loss", "--gather-with-grad", "--model", case.model]
        self.args = parse_args([*options, "--batch-size", str(case.batch_size), "--device", case.device])
        told = {"rank": 0, "local_rank": 0, "world_size": 1, "distributed": False, "distill": False}
        vars(self.args).update(told, save_logs=False, wandb=False, tensorboard=False)
        if device.type == "cuda":  # as its `main` does
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
        ours = build(ModelSpec.model_validate({"name": case.model}), seed=0)
        clip = open_clip.create_model(case.model, precision="amp_bf16", output_dict=True)
        clip.load_state_dict(ours.clip.state_dict())
        clip = clip.to(device)
        self.optimizer = torch.optim.AdamW(clip.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-6)
        self.loss = open_clip.create_loss(self.args)
        self.trained = torch.compile(clip) if case.compiled else clip
        images = ours.normalise(pictures(case.batch_size, ours.image_size)).contiguous()
        self.batch = waiting(images, device), waiting(captions(case.batch_size), device)

    def __call__(self, steps: int) -> None:
        """So many steps."""
        from open_clip_train.train import train_one_epoch

        loader = Epoch(self.batch, steps, self.case.batch_size)
        data = {"train": SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)}
        train_one_epoch(
            self.trained, data, self.loss, 0, self.optimizer, None, lambda step: None, None, self.args
        )


class Epoch:
    """One batch again and again, as open_clip's loop takes a loader."""

    def __init__(self, batch: tuple[Tensor, Tensor], steps: int, size: int) -> None:
        self.batch, self.num_batches, self.num_samples = batch, steps, steps * size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.num_batches):
            yield self.batch


def objective(arm: str) -> Any:
    """An objective of `conf/objective`, read without Hydra."""
    import yaml

    from rankclip.objectives import Objective

    return Objective.model_validate(yaml.safe_load((ROOT / "conf" / "objective" / f"{arm}.yaml").read_text()))


def recipe() -> Any:
    """The recipe `cc3m-rn50`, read without Hydra."""
    import yaml

    from rankclip.training.spec import TrainSpec

    text = (ROOT / "conf" / "train" / "cc3m-rn50.yaml").read_text()
    return TrainSpec.model_validate(yaml.safe_load(text))


def run(case: Case) -> Found:
    """A case, in this process."""
    from rankclip.models.open_clip import build
    from rankclip.models.spec import ModelSpec
    from rankclip.training.cost import flops_per_pair, peak_flops

    device = torch.device(case.device)
    trainer = (Ours if case.trainer == "ours" else Theirs)(case, device)
    warm_s = seconds(trainer, case.warm, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rate = case.steps * case.batch_size / seconds(trainer, case.steps, device)
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
    counted = build(ModelSpec.model_validate({"name": case.model}), seed=0).train()
    achieved = rate * flops_per_pair(counted, trainer.length)
    most = peak_flops(device, "bf16")
    return Found(
        round(rate, 1), peak and round(peak, 1), round(achieved / 1e12, 3),
        round(achieved / most, 4) if most else None, round(warm_s, 2),
    )  # fmt: skip


def seconds(trainer: Ours | Theirs, steps: int, device: torch.device) -> float:
    """Of so many steps, until the device is done."""
    since = time.perf_counter()
    trainer(steps)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - since


def measure(cases: tuple[Case, ...], device: str) -> dict[str, Any]:
    """Each case in a process of its own; what does not fit, or fails, says why."""
    rows = []
    for case in cases:
        ended = subprocess.run(
            [sys.executable, "-m", "bench.accelerated", "--case", json.dumps(asdict(case))],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        last = (ended.stderr.strip().splitlines() or [""])[-1]
        told = {"failed": last} if ended.returncode else json.loads(ended.stdout.splitlines()[-1])
        rows.append({**asdict(case), **told})
        print(json.dumps(rows[-1]), flush=True)
    return {"machine": machine(device), "steps": rows}


if __name__ == "__main__":
    asked = argparse.ArgumentParser()
    asked.add_argument("--case", required=True)
    print(json.dumps(asdict(run(Case(**json.loads(asked.parse_args().case))))))
