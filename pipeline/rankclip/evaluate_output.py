"""What `rankclip evaluate CHECKPOINT` prints and writes. Nothing heavy is imported before it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rankclip.errors import InputError, RunError, disk_full

if TYPE_CHECKING:
    from rankclip.evaluation.checkpoint_scores import CheckpointScores


def require_writable(out: Path | None, json_: Path | None) -> None:
    """Refuses, before hours of work and not after, a folder and a file that cannot be made.

    Raises:
        InputError: one of them cannot be made.
    """
    if json_ is not None and json_.is_dir():
        raise InputError(f"--json {json_} is a folder; give a file, {json_ / 'scores.json'} say")
    for option, folder in (("--out", out), ("--json", json_.parent if json_ is not None else None)):
        if folder is None:
            continue
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            what = "may not be written" if there.is_dir() else "is no folder"
            raise InputError(f"{option} {folder}: {there} {what}; name another place")


def show(found: CheckpointScores) -> None:
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


def write(found: CheckpointScores, out: Path | None, json_: Path | None) -> None:
    """Writes what was asked for: `scores.json` is ours, `clip_benchmark/*.json` theirs.

    Raises:
        RunError: a file cannot be written.
    """
    try:
        _write(found, out, json_)
    except OSError as error:
        if disk_full(error):  # which every command says
            raise
        raise RunError(f"{out or json_} cannot be written ({error}); name another place") from error


def _write(found: CheckpointScores, out: Path | None, json_: Path | None) -> None:
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
