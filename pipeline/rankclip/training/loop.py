"""The training loop: a generator of reports that knows nothing of Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from rankclip import distributed, files
from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.data.benchmarks.benchmark_folder import read_split
from rankclip.data.loading.loader import Loaded
from rankclip.errors import DataError, RunError
from rankclip.evaluation.suite import validation_top1
from rankclip.models.open_clip import Encoder, build
from rankclip.objectives.batch import Batch as Pairs
from rankclip.training import checkpoint as checkpoints
from rankclip.training.checkpoint import Checkpoint
from rankclip.training.feed import Feed
from rankclip.training.logit_scale import clamp_alpha, follow, path_of
from rankclip.training.optim import build_optimizer, learning_rate
from rankclip.training.parallel import batch_norms, parallel, refuse
from rankclip.training.request import CODE, TrainRequest
from rankclip.training.step import diagnostics, finite, shuffle_of, train_step
from rankclip.training.teachers import Teachers

Report = dict[str, Any]


class Training:
    """A run from its checkpoint, or its start, to its end.

    Raises:
        DataError: shards, benchmarks or checkpoint are missing or damaged.
        InputError: the recipe does not fit the data or the workers.
    """

    def __init__(self, request: TrainRequest) -> None:
        files.require_code(request.key, request.code, CODE)
        torch.set_num_threads(request.train.threads)
        torch.manual_seed(request.seed)
        self.request, self.spec, self.objective = request, request.train, request.objective
        self.model = build(request.model, request.seed, self.objective.bounded)
        refuse(self.spec.batch_size, self.model)
        self.feed = Feed(request, self.model.image_size, self.model.mean.device)
        leader = request.followed
        self.path = None if leader is None else path_of(leader, request.key)
        self.model.logit_scale.requires_grad_(self.path is None)
        self.optimizer = build_optimizer(self.model, self.spec)
        self.teachers = Teachers(self.objective.needs, request.key, self.feed, self.model, self.spec)
        self.sets = [validation_set(request, name) for name in self.spec.validation]
        self.step, self.elapsed_s, self.metrics_bytes = 0, 0.0, 0
        self.resume()
        if self.path is not None:
            self.settle_alpha()

    def resume(self) -> None:
        """Goes back to where the last checkpoint was saved."""
        saved = checkpoints.load(self.request.folder)
        self.feed.quarantine.rewind(saved.step if saved else 0)
        if saved is None:
            return
        try:
            self.model.load_state_dict(saved.model)
            self.optimizer.load_state_dict(saved.optimizer)
            self.teachers.load_state_dict(saved.averaged)
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"{self.request.folder / checkpoints.NAME} is a checkpoint of another model than "
                f"{self.request.model.name} ({files.one_line(error)}); delete it to train from the start"
            ) from error
        torch.set_rng_state(saved.random)
        self.step, self.elapsed_s, self.metrics_bytes = saved.step, saved.elapsed_s, saved.metrics_bytes

    def save(self, metrics_bytes: int) -> None:
        """Saves a checkpoint of this moment."""
        state = Checkpoint(
            step=self.step,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            random=torch.get_rng_state(),
            elapsed_s=self.elapsed_s,
            metrics_bytes=metrics_bytes,
            averaged=self.teachers.state_dict(),
        )
        checkpoints.save(self.request.folder, state)

    def reports(self) -> Iterator[Report]:
        """Trains; yields a report for each line of metrics.jsonl, numbers by name.

        When a report has `checkpoint: True`, the caller calls `save` before it goes on.
        """
        wrapped = parallel(self.model)
        self.model.train()
        since, first = time.monotonic(), self.step
        for batch in self.feed.batches(self.step, self.spec.steps):
            rate = self.advance(wrapped, batch)
            validates, saves = self.due(self.spec.validate_every), self.due(self.spec.checkpoint_every)
            if not (self.due(self.spec.log_every) or validates or saves or self.diagnosed):
                continue
            now = time.monotonic()
            self.elapsed_s += now - since
            speed = (self.step - first) * self.spec.batch_size / max(now - since, 1e-9)
            report = {"step": self.step, "epoch": batch.epoch, **self.values(), "lr": rate}
            report |= {"samples_per_s": round(speed, 1), "elapsed_s": round(self.elapsed_s, 1)}
            report |= {"quarantined": self.feed.settle(self.step), **self.diagnosed}
            if validates:
                report |= self.validate()
            yield report | {"checkpoint": saves}
            since, first = time.monotonic(), self.step

    def advance(self, wrapped: nn.Module, batch: Loaded) -> float:
        """One step; returns its learning rate.

        Raises:
            RunError: training has diverged.
        """
        rate = learning_rate(self.spec, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        shuffle = shuffle_of(self.spec.batch_size, self.request.seed, self.step)
        progress = self.step / self.spec.steps
        self.step += 1
        diagnosed = bool(self.spec.diagnose_every and self.due(self.spec.diagnose_every))
        examine = self.examine if diagnosed else None
        teachers = self.teachers.of(self.model, batch, diagnosed=diagnosed)
        self.diagnosed: dict[str, float] = {}
        try:
            self.losses = train_step(
                wrapped, self.optimizer, self.objective, batch.images, batch.tokens, progress, shuffle,
                teachers=teachers, micro_batch=self.spec.micro_batch, examine=examine,
            )  # fmt: skip
        except ValueError as error:
            raise RunError(f"{self.request.key}: step {self.step}: {files.one_line(error)}") from error
        self.settle_alpha()
        self.teachers.update(self.model, self.step)
        return rate

    def examine(self, batch: Pairs) -> None:
        """Keeps what diagnostics say of a step."""
        self.diagnosed = diagnostics(self.objective, batch)

    def settle_alpha(self) -> None:
        """Brings alpha to where it may be, or to where the run is that it follows."""
        if self.path is not None:
            follow(self.model.logit_scale, self.path, self.step)
        else:
            clamp_alpha(self.model.logit_scale, self.spec.max_alpha if self.objective.bounded else None)

    def due(self, every: int) -> bool:
        """Whether something done every so many steps, and at the end, is due."""
        return self.step % every == 0 or self.step == self.spec.steps

    def values(self) -> dict[str, float]:
        """Loss, terms and alpha of the last step.

        Raises:
            RunError: one is not finite.
        """
        alpha = self.model.logit_scale.detach().exp()
        return finite(self.losses | {"logit_scale": alpha}, self.step, self.request.key)

    def inexact(self) -> dict[str, str]:
        """What the record must say of a recipe that does not train on exactly its batches."""
        pairs, whole = self.spec.micro_batch, self.spec.batch_size // distributed.world_size()
        if pairs is None or pairs >= whole or not batch_norms(self.model):
            return {}
        return {"batch_norm": f"statistics of micro-batches of {pairs} pairs, not of all {whole}"}

    def validate(self) -> dict[str, float]:
        """Zero-shot top-1 on the validation splits; costs the run no random number."""
        self.model.eval()
        scores = validation_top1(Encoder(self.model, self.request.model), self.sets)
        self.model.train()
        return scores


def validation_set(request: TrainRequest, name: str) -> BenchmarkSplit:
    """The validation split of a benchmark.

    Raises:
        DataError: it is missing, damaged, or not the one that the driver's manifest lists.
    """
    split = read_split(request.benchmarks / f"wds_{name}", "val")
    if split.digest != request.validation[name]:
        raise DataError(
            f"{request.benchmarks / f'wds_{name}'} ({split.digest}) is not what its manifest lists "
            f"({request.validation[name]}); make it again with `dvc repro -f -s benchmarks`"
        )
    return split
