"""The command `rankclip sweep`. Nothing heavy is imported before it is called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from rankclip.errors import InputError

ROOT = Path()
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def sweep(
    name: Annotated[
        str, typer.Argument(metavar="[SWEEP]", help="`rankclip list sweeps` shows them.")
    ] = "rank-weights",
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Of the sweep (trials=8, stopping.rungs=2), or of every trial (train.steps=500).",
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="A study of conf/ whose data are there; by default the active one.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials of each arm.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="For trials, as 90s, 20m or 8h; re-runs come on top.")
    ] = None,
    gpu_hours: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="For trials, those of earlier calls and under way included, where they train on GPUs; "
            "re-runs come on top.",
        ),
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; by default as many as fit.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the last sweep of this name, as it was started.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would be done, and end.")
    ] = False,
) -> None:
    """Search the settings of arms, stop what falls behind, and name a winner from fresh seeds.

    \b
    rankclip sweep rank-weights --dry-run            # what it would try, and how long it would take
    rankclip sweep rank-weights --time-budget 10m    # Ctrl-C saves; the same command goes on
    rankclip sweep temperature --study shapes --trials 40

    Trials are judged in validation alone. The best are trained again with fresh seeds, beside the arm as it
    is; the winner becomes a file of conf/arm, and only its test scores are read.
    """
    from rankclip.sweep import command
    from rankclip.sweep.budget import Limits

    asked = [*(changes or []), *([f"trials={trials}"] if trials else [])]
    if "=" in name:
        raise InputError(f"{name!r} is no sweep; name it first: rankclip sweep rank-weights {name}")
    seconds = None if time_budget is None else seconds_of(time_budget)
    raise typer.Exit(
        command.run(
            ROOT, name, asked, study, Limits(seconds, gpu_hours, concurrent), resume=resume, dry_run=dry_run
        )
    )


def seconds_of(text: str) -> float:
    """A time as people write it.

    Raises:
        InputError: it is none.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text.strip())
    if not found or not float(found[1]):
        raise InputError(f"--time-budget {text} is no time; write 90s, 20m, 8h or 2d")
    return float(found[1]) * UNITS[found[2]]
