"""The command `rankclip evaluate`. Nothing heavy is imported before it is called."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankclip import evaluate_output
from rankclip.errors import InputError, RunError

if TYPE_CHECKING:
    from rankclip.evaluation.asked_sets import AskedSets
    from rankclip.evaluation.checkpoint_scores import CheckpointScores

ROOT = Path()
WORK = Path("work", "evaluate")
"""Below the repository: where rows of checkpoints of any origin are kept."""


def evaluate(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            help="Folder of a run or of an exported model, file of weights, MODEL:TAG, hf-hub:NAME."
        ),
    ] = None,
    benchmarks: Annotated[
        str | None,
        typer.Option(
            help="Names with commas between, or folders, ./wds_mine; by default those of the active study."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model that a file of weights is of; `rankclip list models` has them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables, both JSON forms and predictions.")
    ] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="File for our JSON form alone.")] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="auto: bf16 on a GPU, checked against fp32.")
    ] = "auto",
    shots: Annotated[
        str | None,
        typer.Option(help="Images a class of few-shot probes: 1,4,16. They learn from a set's train split."),
    ] = None,
    verify_published: Annotated[
        bool,
        typer.Option("--verify-published", help="Check open_clip's own table on the sets that are here."),
    ] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="Score every run of the active study that is not scored.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Delete the rows that are kept, of studies too; scores stay.")
    ] = False,
) -> None:
    """Score a model on test splits, or what is missing of the active study.

    \b
    rankclip evaluate runs/shapes/clip/seed-0 --benchmarks digits,retrieval
    rankclip evaluate RN50-quickgelu:cc12m --benchmarks imagenet1k --out scores/cc12m
    rankclip evaluate weights.pt --model ViT-B-32 --benchmarks ./wds_mine
    rankclip evaluate --pending

    `rankclip list benchmarks` has the names of sets, `rankclip data benchmarks pull NAME` fetches one.

    Rows of images and prompts are kept in work/evaluate, so that the same set is not embedded again; Ctrl-C
    loses only those of the set it is at. `rankclip evaluate --forget` gives their space back.
    RANKCLIP_DEVICE chooses the device.
    """
    given = [checkpoint is not None, pending, verify_published, forget]
    if sum(given) != 1:
        raise InputError(
            "say what to score: `rankclip evaluate CHECKPOINT` one model, `rankclip evaluate --pending` the "
            "runs of the active study, `rankclip evaluate --verify-published` published weights"
        )
    if checkpoint is None:
        chosen = "" if precision == "auto" or verify_published else precision
        _refuse({"--benchmarks": benchmarks, "--model": model, "--out": out, "--json": json_,
                 "--shots": shots, "--precision": chosen})  # fmt: skip
    if forget:
        _forget()
    elif pending:
        from rankclip import reproduce

        reproduce.evaluate_pending(ROOT)
    elif checkpoint is None:
        _verify_published(precision)
    else:
        wanted, sets = _numbers(shots), _asked(benchmarks)
        evaluate_output.require_writable(out, json_)
        if wanted and not any((folder / "train").is_dir() for folder in sets.folders.values()):
            raise InputError(
                f"--shots {shots}: none of these sets has a train split here, from which few-shot probes "
                "learn; `rankclip data benchmarks pull NAME --split train` fetches one"
            )
        found = _scored(checkpoint, sets, model, precision, wanted)
        evaluate_output.show(found)
        evaluate_output.write(found, out, json_)


def _refuse(options: dict[str, object]) -> None:
    """Raises InputError: an option was given that is of a single checkpoint alone."""
    for name, value in options.items():
        if value:
            raise InputError(f"{name} belongs to `rankclip evaluate CHECKPOINT`; leave it out here")


def _forget() -> None:
    """Deletes the rows of checkpoints of any origin and those of runs of studies.

    Raises:
        RunError: another process scores there.
    """
    from rankclip import lifecycle

    work = ROOT / WORK.parts[0]
    folders = [*work.glob("*/embeddings"), *work.glob("*/scores/embeddings")]
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    for folder in folders:
        with lifecycle.lock(folder.parent, wait_s=1):
            shutil.rmtree(folder)
    typer.echo(f"{size / 1e6:,.0f} MB of rows deleted from {work}; scores and results are as they were")


def _asked(benchmarks: str | None) -> AskedSets:
    """The sets that were named, or those of the active study.

    Raises:
        InputError: one is unknown, or none is here.
    """
    from rankclip import config
    from rankclip.evaluation import asked_sets

    active = (ROOT / config.PARAMS).exists()
    if benchmarks is None and not active:
        raise InputError(f"{config.PARAMS} is missing here, so no study says which; name --benchmarks")
    study = config.load(ROOT / config.PARAMS) if active else None
    if benchmarks is not None:
        names = [name for word in benchmarks.split(",") if (name := word.strip())]
        if not names:
            raise InputError(f"--benchmarks {benchmarks!r} names none; `rankclip list benchmarks` shows them")
    else:
        names = [] if study is None else study.evaluation.names
    drawn = ROOT / "data" / study.study.name / "benchmarks" if study else None
    found = asked_sets.find(names, drawn)
    for line in found.missing.values():
        typer.echo(f"left out: {line}", err=True)
    if not found.folders:
        raise InputError("no benchmark that was asked for is here; name others, or fetch them as said above")
    return found


def _numbers(shots: str | None) -> list[int]:
    """Raises InputError: one is no positive number."""
    words = shots.split(",") if shots else []
    for word in words:
        if not word.isdecimal() or int(word) < 1:
            raise InputError(f"--shots {shots!r}: {word!r} is no number of images; write 1,4,16 say")
    return [int(word) for word in words]


def _scored(
    checkpoint: str,
    sets: AskedSets,
    model: str | None,
    precision: Literal["auto", "fp32", "bf16"],
    shots: list[int],
    probes: bool = True,
) -> CheckpointScores:
    from rankclip import evaluate as evaluating
    from rankclip.evaluation import checkpoint_scores
    from rankclip.training.machine import Machine

    work, device = (ROOT / WORK).absolute(), Machine.here().device
    with _stoppable(), nullcontext() if Path(checkpoint).exists() else _published(checkpoint):
        evaluating.embed_apart(checkpoint, model, sets.folders, work, device, precision, probes=probes)
        return checkpoint_scores.score(
            checkpoint,
            sets,
            work,
            model=model,
            device=device,
            precision=precision,
            shots=shots,
            probes=probes,
        )


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; what is embedded is kept: the same command goes on from there", err=True)
        raise


@contextmanager
def _published(checkpoint: str) -> Iterator[None]:
    """Weights that open_clip fetches, or has kept.

    Raises:
        InputError: it has not, and the hub cannot be reached.
    """
    from rankclip.data.benchmarks import hub

    with hub.quick_to_fail() as why:
        try:
            yield
        except InputError as error:
            if not why or error.__cause__ is None:  # the latter: there are no such weights
                raise
            raise InputError(
                f"the weights {checkpoint} are not kept here, and {why}; check the network, HF_ENDPOINT and "
                "HF_HUB_OFFLINE, or fetch them elsewhere and give the file, with --model"
            ) from error


def _verify_published(precision: Literal["auto", "fp32", "bf16"]) -> None:
    """In float32 where nothing else is asked for, as the published numbers are.

    Raises:
        InputError: no set is here.
        RunError: a published number does not come out.
    """
    from rankclip.data.benchmarks import public
    from rankclip.evaluation import asked_sets, verification

    plan = verification.plan(public.missing)
    for line in plan.missing.values():
        typer.echo(f"left out: {line}", err=True)
    if not plan.checks:
        raise InputError("no set is here of which open_clip published numbers; fetch one as said above")
    wrong = 0
    for check in plan.checks:
        sets = asked_sets.find(check.benchmarks, None)
        tag, exact = f"{check.model}:{check.pretrained}", "fp32" if precision == "auto" else precision
        found = _scored(tag, sets, None, exact, [], probes=False)
        compared = verification.compare(check.expected, found.scores)
        typer.echo(f"{tag}, {found.conditions.precision}")
        for line in verification.lines(compared):
            typer.echo(line)
        wrong += sum(each.verdict == "differs" for each in compared)
    if wrong:
        raise RunError(
            f"{wrong} published numbers do not come out within {100 * verification.TOLERANCE:g} points"
        )
