"""The command `rankclip evaluate`. Nothing heavy is imported before it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

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
        typer.Option(help="Names with commas between, or folders; by default those of the active study."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model that a file of weights is of.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables, both JSON forms and predictions.")
    ] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="File for our JSON form alone.")] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="auto: bf16 on a GPU, checked against fp32.")
    ] = "auto",
    shots: Annotated[
        str | None, typer.Option(help="Images a class of few-shot probes, with commas between: 1,4,16.")
    ] = None,
    verify_published: Annotated[
        bool,
        typer.Option("--verify-published", help="Check open_clip's own table on the sets that are here."),
    ] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="Score every run of the active study that is not scored.")
    ] = False,
) -> None:
    """Score a model on test splits, or what is missing of the active study.

    \b
    rankclip evaluate runs/shapes/clip/seed-0 --benchmarks digits,retrieval
    rankclip evaluate RN50-quickgelu:cc12m --benchmarks imagenet1k --out scores/cc12m
    rankclip evaluate weights.pt --model ViT-B-32 --benchmarks ./wds_mine
    rankclip evaluate --pending

    Images and prompts are embedded once and kept in work/evaluate. RANKCLIP_DEVICE chooses the device.
    """
    given = [checkpoint is not None, pending, verify_published]
    if sum(given) != 1:
        raise InputError(
            "say what to score: `rankclip evaluate CHECKPOINT` one model, `rankclip evaluate --pending` the "
            "runs of the active study, `rankclip evaluate --verify-published` published weights"
        )
    if pending:
        from rankclip import reproduce

        reproduce.evaluate_pending(ROOT)
    elif checkpoint is None:
        _verify_published(precision)
    else:
        found = _scored(checkpoint, _asked(benchmarks), model, precision, _numbers(shots))
        _show(found)
        _write(found, out, json_)


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
        names = [name for name in benchmarks.split(",") if name]
    else:
        names = [] if study is None else study.evaluation.names
    drawn = ROOT / "data" / (study.study.name if study else "") / "benchmarks"
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
    evaluating.embed_apart(checkpoint, model, sets.folders, work, device, precision)
    return checkpoint_scores.score(
        checkpoint, sets, work, model=model, device=device, precision=precision, shots=shots, probes=probes
    )


def _show(found: CheckpointScores) -> None:
    """Prints the table, and what was published of these weights."""
    from rankclip.evaluation import checkpoint_scores, published, verification

    for line in checkpoint_scores.lines(found.scores):
        typer.echo(line)
    how = found.conditions
    said = ", ".join(f"{kind} differ by {value:.1e} at most" for kind, value in how.differences.items())
    typer.echo(
        f"{how.precision} on {how.device}; {how.resize}{f'; from fp32 unit rows of {said}' if said else ''}"
    )
    if found.opened.origin is not None:
        expected = published.official(found.opened.origin, found.opened.model)
        compared = verification.compare(expected, found.scores)
        if any(each.found is not None for each in compared):
            typer.echo("\npublished")
            for line in verification.lines(compared):
                typer.echo(line)


def _write(found: CheckpointScores, out: Path | None, json_: Path | None) -> None:
    """Writes what was asked for: `scores.json` is ours, `clip_benchmark/*.json` theirs."""
    from rankclip import files
    from rankclip.evaluation import results

    if json_ is not None:
        files.write_json(json_, found.ours())
    if out is None:
        return
    results.write_scores(out, found.identity, found.scores, found.conditions)
    for name, content in found.theirs().items():
        files.write_json(out / "clip_benchmark" / name, content)
    files.write_json(out / "scores.json", found.ours())
    typer.echo(f"{out} holds the numbers, and clip_benchmark/ the form of CLIP_benchmark")


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
        sets = asked_sets.find(check.benchmarks, ROOT)
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
