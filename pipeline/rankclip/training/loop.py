"""The training loop: a generator of reports that knows nothing of Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from rankclip import distributed, files
from rankclip.data.loading.loader import Loaded
from rankclip.errors import DataError, Preempted, RunError
from rankclip.evaluation.validation import validation_top1
from rankclip.models.open_clip import build
from rankclip.models.trained import Encoder
from rankclip.objectives.batch import Batch as Pairs
from rankclip.training import checkpoint as checkpoints
from rankclip.training.averaged import Averaged
from rankclip.training.batch_norm import batch_norms
from rankclip.training.checkpoint import Checkpoint
from rankclip.training.device import chosen
from rankclip.training.feed import Feed
from rankclip.training.interruption import Pauses
from rankclip.training.kept import Kept
from rankclip.training.left_out import LeftOut
from rankclip.training.logit_scale import clamp_alpha, follow, path_of
from rankclip.training.meter import Meter
from rankclip.training.optim import build_optimizer, set_rates
from rankclip.training.parallel import prepared, refuse
from rankclip.training.request import CODE, TrainRequest
from rankclip.training.step import diagnostics, shuffle_of, train_step
from rankclip.training.teachers import Teachers, evaluating
from rankclip.training.validation import Shared, validation_set
from rankclip.training.verdicts import Verdicts

Report = dict[str, Any]


class Training:
    """A run from its checkpoint, or its start, to its end.

    Args:
        request: the run.
        stopping: says whether this worker was asked to stop.

    Raises:
        DataError: shards, benchmarks or checkpoint are missing or damaged.
        InputError: the recipe does not fit the data, the workers or the device.
    """

    def __init__(self, request: TrainRequest, stopping: Callable[[], bool] = lambda: False) -> None:
        files.require_code(request.key, request.code, CODE)
        torch.set_num_threads(request.train.threads)
        self.request, self.spec, self.objective = request, request.train, request.objective
        self.device = chosen(request.machine)
        dropped = self.spec.patch_dropout
        self.model = build(request.model, request.seed, self.objective.bounded, patch_dropout=dropped)
        if self.spec.initial_alpha is not None:
            self.model.logit_scale.data.fill_(math.log(self.spec.initial_alpha))
        self.model.to(self.device)
        refuse(self.spec.batch_size, self.model, device=self.device)
        self.feed = Feed(request, self.model.image_size, self.device)
        leader = request.followed
        self.path = None if leader is None else path_of(leader, request.key)
        self.model.logit_scale.requires_grad_(self.path is None)
        self.optimizer = build_optimizer(self.model, self.spec)
        needs = self.objective.needs
        averages = "averaged" in needs or self.spec.weights == "averaged"
        self.averaged = Averaged(self.model, self.spec.ema_decay) if averages else None
        self.teachers = Teachers(needs, request.key, self.feed, self.averaged, self.spec)
        self.kept = Kept(self.spec, request.folder, self.model, self.averaged)
        self.sets = [validation_set(request, name) for name in self.spec.validation]
        self.left_out, self.verdicts = LeftOut(request, self.feed), Verdicts()
        self.step, self.metrics_bytes = 0, 0
        self.meter = Meter(self.spec, self.device)
        self.asked = False
        self.pauses = Pauses(request.machine.checkpoint_minutes, stopping, self.device)
        self.resume()
        if self.path is not None:
            self.settle_alpha()

    def resume(self) -> None:
        """Goes back to where the last checkpoint was saved: the last that the first worker finds whole."""
        folder, first = self.request.folder, distributed.rank() == 0
        saved = checkpoints.load(folder) if first else None
        step = distributed.agreed(saved.step if saved else 0)
        self.feed.quarantine.rewind(step)
        if not step:
            self.left_out.rewind(0, 0)
            return
        saved = saved or checkpoints.read(checkpoints.path(folder, step))
        try:
            self.model.load_state_dict(saved.model)
            self.optimizer.load_state_dict(saved.optimizer)
            if self.averaged is not None:
                self.averaged.model.load_state_dict(saved.averaged or {})
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"{checkpoints.path(folder, step)} is a checkpoint of another model than "
                f"{self.request.model.name} ({files.one_line(error)}); delete it to train from the start"
            ) from error
        self.left_out.rewind(step, saved.left_out)
        self.kept.rewind(saved.improved)
        self.step, self.meter.elapsed_s, self.metrics_bytes = step, saved.elapsed_s, saved.metrics_bytes

    def save(self, metrics_bytes: int) -> None:
        """Saves a checkpoint of this moment."""
        state = Checkpoint(
            step=self.step,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            elapsed_s=self.meter.elapsed_s,
            metrics_bytes=metrics_bytes,
            averaged=None if self.averaged is None else self.averaged.model.state_dict(),
            left_out=len(self.left_out),
            improved=self.kept.improved,
        )
        checkpoints.save(self.request.folder, state, self.request.machine.keep_checkpoints)

    def reports(self) -> Iterator[Report]:
        """Trains; yields a report for each line of metrics.jsonl, numbers by name.

        When a report has `checkpoint: True`, the caller calls `save` before it goes on. One that has nothing
        else is no line: it is time to save.

        Raises:
            Preempted: a worker was asked to stop; what was yielded last was the save.
            RunError: too many batches have no finite loss.
        """
        self.model.train()
        wrapped: nn.Module | None = None
        for batch in self.meter.waiting(self.feed.batches(self.step, self.spec.steps)):
            if wrapped is None:
                self.meter.count_flops(self.model, batch.tokens)
                wrapped = prepared(self.model, self.request.machine, self.device)
            self.advance(wrapped, batch)
            self.judge()
            validates, saves = self.due(self.spec.validate_every), self.due(self.spec.checkpoint_every)
            line = self.due(self.spec.log_every) or validates or saves or bool(self.diagnosed)
            saves, stops = saves or self.asked, self.asked and self.stops()
            if not (line or saves):
                continue
            report = self.report(batch.epoch)
            if validates:
                report |= self.validate()
                saves |= self.kept.improves(self.step, report["val/mean_top1"])
            yield (report if line else {}) | {"checkpoint": saves}
            if saves:
                self.pauses.saved()
                self.asked = False
            if stops:
                # when one leaves its launcher ends the others: the first maybe in the middle of its save
                distributed.agreed(None)
                raise Preempted(
                    f"{self.request.key}: stopped as asked and saved at step {self.step} of "
                    f"{self.spec.steps}; run the same command again to go on"
                )
            self.meter.restart()

    def judge(self, *, wait: bool = False) -> None:
        """Counts batches that were left out, and notes whether a worker asked for a save.

        Args:
            wait: whether to wait for what a GPU says of the last step.

        Raises:
            RunError: one batch too many was left out.
        """
        for verdict in self.verdicts.known(wait=wait):
            self.asked |= verdict.asked
            if verdict.fault:
                self.left_out.add(verdict.step, verdict.fault)

    def stops(self) -> bool:
        """Whether a worker is to stop, and there is a step to stop before; a collective."""
        return self.pauses.stops() and self.step < self.spec.steps

    def report(self, epoch: int) -> Report:
        """What is known after a step; waits for the device, and for the other workers."""
        self.judge(wait=True)
        skipped = {"skipped": len(self.left_out)} if len(self.left_out) else {}
        return {
            "step": self.step,
            "epoch": epoch,
            **self.values(),
            "lr": self.rates[0],
            "lr_logit_scale": self.rates[1],
            **self.meter.read(),
            "quarantined": self.feed.settle(self.step),
            **skipped,
            **self.diagnosed,
        }

    def advance(self, wrapped: nn.Module, batch: Loaded) -> None:
        """One step.

        Raises:
            RunError: the batch has no loss.
        """
        self.rates = set_rates(self.optimizer, self.spec, self.step)
        shuffle = shuffle_of(self.spec.batch_size, self.request.seed, self.step)
        progress = self.step / self.spec.steps
        start_random(random_seed(self.request.seed, self.step, distributed.rank()), self.device)
        self.step += 1
        diagnosed = bool(self.spec.diagnose_every and self.due(self.spec.diagnose_every))
        examine = self.examine if diagnosed else None
        teachers = self.teachers.of(self.model, batch, diagnosed=diagnosed)
        self.diagnosed: dict[str, float] = {}
        try:
            done = train_step(
                wrapped, self.optimizer, self.objective, batch.images, batch.tokens, progress, shuffle,
                teachers=teachers, micro_batch=self.spec.micro_batch, examine=examine,
                precision=self.spec.precision, clip_norm=self.spec.clip_norm, asking=self.pauses.asked_for(),
            )  # fmt: skip
        except ValueError as error:
            raise RunError(f"{self.request.key}: step {self.step}: {files.one_line(error)}") from error
        self.verdicts.add(self.step, done)
        self.losses = done.values | {"gradient_norm": done.gradient_norm}
        self.settle_alpha()
        if self.averaged is not None:
            self.averaged.update(self.model, self.step)

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
        """Loss, terms, norm of the gradient and alpha of the last step; those that a batch left out has."""
        named = self.losses | {"logit_scale": self.model.logit_scale.detach().exp()}
        numbers = torch.stack(
            [value.double() for value in named.values()]
        ).tolist()  # one wait for the device
        return {name: number for name, number in zip(named, numbers, strict=True) if math.isfinite(number)}

    def inexact(self) -> dict[str, str]:
        """What the record must say of a recipe that does not train on exactly its batches."""
        pairs, whole = self.spec.micro_batch, self.spec.batch_size // distributed.world_size()
        if pairs is None or pairs >= whole or not batch_norms(self.model):
            return {}
        return {"batch_norm": f"statistics of micro-batches of {pairs} pairs, not of all {whole}"}

    def validate(self) -> dict[str, float]:
        """Zero-shot top-1 on the validation splits, and its seconds; costs the run no random number."""
        since = time.monotonic()
        with evaluating(self.model):
            encoder = Shared(Encoder(self.kept.validated(), self.request.model))
            scores = validation_top1(encoder, self.sets)
        return scores | {"validation_s": time.monotonic() - since}


def random_seed(seed: int, step: int, rank: int) -> int:
    """What torch's random numbers start from in a step of a worker, so that a resumed run draws the same."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])


def start_random(seed: int, device: torch.device) -> None:
    """Sets the generators that a step on a device draws from; torch.manual_seed takes far longer."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
