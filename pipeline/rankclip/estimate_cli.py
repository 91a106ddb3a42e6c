"""The command `rankclip estimate`. Nothing heavy is imported before it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip.errors import InputError

ROOT = Path()


def estimate(
    study: Annotated[
        str | None, typer.Argument(help="A study of conf/; without one, the active study as it is.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes, as in `rankclip use`.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Make a few steps of each arm on this machine.")
    ] = True,
    gpu: Annotated[
        str | None, typer.Option(help="Time on a GPU that is not here, by its peak: A100, H100, L4, ...")
    ] = None,
    utilisation: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of its peak that training reaches.")
    ] = 0.1,
    slots: Annotated[int | None, typer.Option(min=1, help="Runs at once; by default as many as fit.")] = None,
    price: Annotated[
        float | None, typer.Option(min=0.0, help="Of an hour of a GPU, or of a CPU core.")
    ] = None,
    sd: Annotated[
        float | None,
        typer.Option(min=0.0, help="Points by which differences between arms vary from seed to seed."),
    ] = None,
) -> None:
    """What a study will take: memory, time, cost, disk, and the smallest difference that it can detect.

    \b
    rankclip estimate                                    # the active study, a minute of measuring
    rankclip estimate cc3m-rn50 --gpu H100 --price 2.5   # before there is a GPU
    rankclip estimate shapes study.seeds=[0,1] --slots 2

    Steps are measured on pictures and captions like the study's, so that it needs no data. RANKCLIP_WORKERS
    and RANKCLIP_DEVICE count as they do in training.
    """
    from rankclip import composition, config
    from rankclip.estimate import text
    from rankclip.estimate.study import Asked

    if study and "=" in study:
        raise InputError(f"{study!r} is no study; name it first: rankclip estimate shapes {study}")
    chosen = composition.compose(study, changes or []) if study else config.load(ROOT / config.PARAMS)
    if measure and not gpu:
        typer.echo(
            "making a few steps of each arm, as many at once as runs will be; about a minute", err=True
        )
    asked = Asked(measure, gpu, utilisation, slots, price, sd)
    for line in text.lines(chosen, ROOT.absolute(), asked):
        typer.echo(line)
