"""The command line. Nothing heavy is imported before a command needs it, so that help comes at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankclip import compare_cli, data_cli, estimate_cli, evaluate_cli, lifecycle, sweep_cli
from rankclip.errors import InputError

if TYPE_CHECKING:
    from rankclip.config import Study

app = typer.Typer(
    help="Studies of ranking consistency in image-text pretraining: crawl, pretrain, evaluate, compare.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(data_cli.app, name="data")
Changes = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes, for example train.lr=2e-3.")
]
ROOT = Path()


@app.command()
def use(
    study: Annotated[str, typer.Argument(help="Name of a study; `rankclip list studies` shows them.")],
    changes: Changes = None,
) -> None:
    """Make STUDY the active one: compose conf/, check it, write params.yaml.

    A change sets any key (train.lr=2e-3, study.seeds=[0,1]) or takes a configuration by its name
    (model=shapes-vit, arms.mine.objective=rankclip).
    """
    from rankclip import composition, config

    chosen = composition.compose(study, changes or [])
    config.write(chosen)
    typer.echo(f"{chosen.study.name} is active: {described(chosen)}. Next: rankclip repro")


@app.command()
def check() -> None:
    """Check params.yaml, the active study, without running anything."""
    from rankclip import config

    typer.echo(f"params.yaml is right: {described(config.load())}")


@app.command("list")
def list_(
    what: Annotated[
        Literal[
            "objectives",
            "models",
            "studies",
            "recipes",
            "benchmarks",
            "data",
            "captions",
            "sweeps",
            "arms",
            "runs",
        ],
        typer.Argument(
            help="What to list; arms: that sweeps found; runs: of the active study, arm and seed."
        ),
    ],
) -> None:
    """List what can be chosen, with a line on each."""
    from rankclip import catalogue

    for name, line in catalogue.entries(what):
        typer.echo(f"{name:20} {line}".rstrip())


app.command()(estimate_cli.estimate)


@app.command()
def repro() -> None:
    """Run what is missing of the active study, and write its report."""
    from rankclip import reproduce

    raise typer.Exit(reproduce.run(ROOT))


@app.command()
def pretrain(
    pending: Annotated[
        bool, typer.Option("--pending", help="Train every run that is missing, of all arms at once.")
    ] = False,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Most runs at once; by default as many as fit.")
    ] = None,
) -> None:
    """Train the missing runs of all arms side by side; `dvc repro` then adopts them."""
    from rankclip import reproduce

    ask_for(pending, "pretrain")
    reproduce.pretrain_pending(ROOT, slots)


@app.command()
def train(
    arm: Annotated[str, typer.Option(help="An arm of the active study.")],
    seed: Annotated[int, typer.Option(min=0, help="Its seed.")],
    out: Annotated[Path | None, typer.Option(help="Folder for a copy of the finished run.")] = None,
    track: Annotated[
        bool, typer.Option(help="Whether MLflow is told meanwhile; `dvc repro` tells it in any case.")
    ] = True,
    changes: Changes = None,
) -> None:
    """Train one run in this process, without Ray or DVC, which then adopts it; also a script for torchrun.

    `torchrun --nproc-per-node 8 -m rankclip train --arm clip --seed 0` spreads it over eight GPUs.
    """
    from rankclip import single_run

    if said := single_run.train(ROOT, arm, seed, changes or [], out=out, track=track):
        typer.echo(said)


app.command()(evaluate_cli.evaluate)
app.command()(sweep_cli.sweep)
app.command()(compare_cli.compare)


@app.command()
def ui(port: Annotated[int, typer.Option(min=1024, max=65535, help="Port on this machine.")] = 5000) -> None:
    """Show all runs in MLflow, on this machine only."""
    from rankclip import reproduce

    raise typer.Exit(reproduce.ui(ROOT, port))


@app.command()
def doctor() -> None:
    """Check this machine, a line each: ok, or what to do."""
    from rankclip import doctor as doctor_

    raise typer.Exit(doctor_.run(ROOT))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, runs/STUDY/ARM/seed-K say.")],
    folder: Annotated[Path, typer.Argument(help="Folder that is made.")],
    to: Annotated[
        Literal["open_clip", "safetensors", "hf"],
        typer.Option(help="hf: as open_clip, with a model card for Hugging Face."),
    ] = "open_clip",
) -> None:
    """Write RUN's model to FOLDER for other programs; open_clip loads `local-dir:FOLDER`."""
    from rankclip.exchange import exporting

    exporting.export(run, to, folder, ROOT)
    typer.echo(f"{folder} holds the model of {run}")


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="A file of torch's or safetensors, or a tag of open_clip's.")],
    origin: Annotated[
        Literal["open_clip", "rankclip-official", "cyclip"], typer.Option("--from", help="Whose it is.")
    ],
    model: Annotated[str, typer.Option(help="Its name; `rankclip list models` shows them.")],
    out: Annotated[Path, typer.Option(help="Folder that is made, in the form of a run.")],
) -> None:
    """Make a run's folder of a model of another program; no code of the file runs."""
    from rankclip.exchange import importing

    spec = importing.import_(file, origin, model, out)
    typer.echo(
        f"{out} holds {file} as {spec.name}; a study starts from it with model={spec.name} "
        f"model.pretrained={out / importing.WEIGHTS}"
    )


def ask_for(pending: bool, command: str) -> None:
    """Refuses a command that was not told what to do."""
    if not pending:
        raise InputError(
            f"`rankclip {command}` does what is missing when told so: `rankclip {command} --pending`; "
            f"one arm alone is `dvc repro {command}@ARM`, everything `rankclip repro`"
        )


def described(study: Study) -> str:
    """A study in half a line."""
    arms, seeds, train = len(study.arms), len(study.study.seeds), study.train
    said = f"{arms} arms x {seeds} seeds, {train.steps} steps of {train.batch_size} pairs, {study.model.name}"
    if study.source.expected is None:
        return said
    pairs = study.source.expected.pairs  # other data may have other ones than the recipe was made for
    return f"{said}, {train.steps * train.batch_size / pairs:.1f} epochs of the {pairs:,} pairs expected"


def main() -> None:
    """Entry point."""
    lifecycle.run(app)
