"""The commands `rankclip data benchmarks ...`: published sets, fetched once for all studies."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from rankclip.errors import DataError, InputError

app = typer.Typer(
    help="Published benchmark sets: which there are, fetched from the Hugging Face hub, checked.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Sets, as `list` names them.")]


@app.command("list")
def list_() -> None:
    """The published sets: which splits are here, how large each is.

    They lie in data/public, or in the folder that RANKCLIP_BENCHMARKS names. `rankclip list benchmarks` has
    the other benchmarks too.
    """
    from rankclip.data.benchmarks import places, public
    from rankclip.data.benchmarks.public_sets import SETS

    typer.echo(f"{places.root()}")
    for name, about in SETS.items():
        try:
            here = "-" if public.missing(name) else "+".join(public.splits_here(name))
        except DataError:  # which `verify` explains
            here = "damaged"
        size = f"{about.images:,} images" + (f", {about.classes} classes" if about.classes else "")
        typer.echo(f"{name:21} {here:11} {size:28} {about.line}")


@app.command()
def pull(
    names: Names,
    split: Annotated[
        Literal["test", "train"],
        typer.Option(help="train: the train split too, which linear probes are fitted on."),
    ] = "test",
) -> None:
    """Fetch sets from the Hugging Face hub, or go on where it stopped.

    \b
    rankclip data benchmarks pull imagenet1k vtab-cifar10
    rankclip data benchmarks pull vtab-cifar10 --split train

    Ctrl-C loses nothing: the same command goes on, and what is there is not fetched again. The sets lie in
    data/public, or where RANKCLIP_BENCHMARKS says. HF_ENDPOINT names another hub, HF_TOKEN a token.
    """
    from rankclip.data.benchmarks import pull as pulling
    from rankclip.data.benchmarks.public_sets import SETS

    splits = ("test",) if split == "test" else ("test", "train")
    for name in pulling.known(names):
        try:
            line = pulling.pull(name, splits)
        except KeyboardInterrupt:
            typer.echo(f"{name}: stopped; the same command goes on where it was", err=True)
            raise
        typer.echo(f"{line}; terms: {SETS[name].terms}" if SETS[name].terms else line)


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Sets; by default all that are here.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image too.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take a set that was put there by hand: read it and record it.")
    ] = False,
) -> None:
    """Check every byte of sets against their records.

    \b
    rankclip data benchmarks verify
    rankclip data benchmarks verify imagenet1k --deep
    rankclip data benchmarks verify --adopt imagenet1k     # a folder wds_imagenet1k that no pull made

    Everything that is wrong is printed, and the exit code is then 1; `pull` fetches again what differs.
    """
    from rankclip.data.benchmarks import inventory, places, public
    from rankclip.data.benchmarks import pull as pulling
    from rankclip.data.benchmarks.public_sets import SETS
    from rankclip.data.benchmarks.set_record import read_record

    if adopt and not names:
        raise InputError(
            "`rankclip data benchmarks verify --adopt` needs to be told which set: give its name"
        )
    asked = pulling.known(names) if names else [name for name in SETS if not public.missing(name)]
    if not asked:
        raise InputError(
            f"{places.root()} holds no public set; `rankclip data benchmarks pull NAME` fetches one"
        )
    wrong = 0
    for name in asked:
        folder = places.root() / f"wds_{name}"
        if adopt:
            with pulling.writing(folder):
                inventory.adopt(folder)
        try:
            said = pulling.described(folder, read_record(folder))
            found = list(inventory.faults(folder, deep))
        except DataError as error:
            said, found = str(folder), [str(error)]
        for line in found:
            typer.echo(f"wrong: {line}")
        wrong += len(found)
        typer.echo(f"{said}: {f'{len(found)} wrong' if found else 'all right'}")
    if wrong:
        raise typer.Exit(1)
