"""The commands `rankclip data ...`: what became of the active study's rows, and whether all is in order.

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankclip import benchmarks_cli
from rankclip.errors import InputError

if TYPE_CHECKING:
    from rankclip.config import Study

app = typer.Typer(
    help="The data of the active study: what became of every row, and whether all is in order.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(benchmarks_cli.app, name="benchmarks")
Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="REASON,...", help="Reasons, for example dns,timeout or 'http_5*'."),
]

MOST = 100
"""Lines of what is wrong that are printed."""


@app.command()
def ledger(
    reason: Reasons = None,
    by: Annotated[
        Literal["host", "stage", "shard"] | None,
        typer.Option(help="Count by host, stage or tar of the crawl; those that lose most come first."),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Most lines of hosts or of example rows.")] = 20,
    csv: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Also write it there as CSV: every row of --reason, else the counts."
        ),
    ] = None,
    reasons: Annotated[bool, typer.Option("--reasons", help="Explain every reason there is.")] = False,
) -> None:
    """What became of every input row, by reason.

    \b
    rankclip data ledger                        # rows by reason, and whether that is normal
    rankclip data ledger --by host              # the hosts that lose most
    rankclip data ledger --by host --reason dns,timeout
    rankclip data ledger --reason http_404      # some of these rows; with --csv lost.csv all of them
    rankclip data ledger --reasons              # what each reason means

    Each row ends in one reason, and their sum is the input. Before `curate` has run it shows what ingest and
    download have said, and which stages are missing.
    """
    from rankclip.data.inspection import ledger_text, listing

    if reasons:
        show(ledger_text.vocabulary_lines())
        return
    study = active()
    asked = listing.named(reason or [])
    if by:
        show(ledger_text.groups(folder(study), by, asked, rows, csv))
    elif asked:
        show(ledger_text.examples(folder(study), asked, rows, csv))
    else:
        show(ledger_text.counts(folder(study), study.study.name, study.source.expected, csv))


@app.command()
def retry(
    reason: Reasons = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be fetched again.")] = False,
) -> None:
    """Fetch the rows of some reasons again, in place.

    \b
    rankclip data retry --reason dns,timeout --dry-run
    rankclip data retry --reason dns,timeout    # then: rankclip repro
    rankclip data retry --reason 'http_5*' --reason connect

    All other rows stay as they are: new images come into tars of their own, and no tar that is there is
    written again. A retry that was interrupted goes on with the same command.
    """
    from rankclip.data.inspection import listing, retrying

    study = active()
    if not reason:
        raise InputError(
            "`rankclip data retry` needs to be told which rows: `--reason dns,timeout`; "
            "`rankclip data ledger` shows how many there are of each"
        )
    if study.source.is_indexed:
        raise InputError(
            f"{study.study.name} reads tars that were there before, nothing was downloaded; "
            "`rankclip data verify` checks them"
        )
    asked = listing.named(reason)
    show(retrying.plan(folder(study), asked))
    if not dry_run:
        work = Path("work") / study.study.name
        show(retrying.run(study.download, study.source, folder(study), work, asked))


@app.command()
def stats(
    as_json: Annotated[bool, typer.Option("--json", help="The data card as it is stored.")] = False,
) -> None:
    """The data card: counts, survival, sizes, digests.

    \b
    rankclip data stats
    rankclip data stats --json | jq .digests.pool    # one digest for exactly these images
    """
    from rankclip.data.inspection import card

    shown = card.read(folder(active()) / "shards")
    show([json.dumps(shown, indent=2, ensure_ascii=False)] if as_json else card.lines(shown))


@app.command()
def preview(
    n: Annotated[int, typer.Option("--n", min=1, max=1000, help="Pictures.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Another seed shows others.")] = 0,
    reason: Reasons = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="PNG file; by default work/STUDY/preview.png.")
    ] = None,
) -> None:
    """A contact sheet of pictures with their captions.

    \b
    rankclip data preview
    rankclip data preview --n 200 --seed 1 --out more.png
    rankclip data preview --reason duplicate_near    # each beside the one that it is like
    rankclip data preview --reason leak              # each beside the test image

    Pictures are chosen evenly over the data, the same ones for the same seed.
    """
    from rankclip.data.inspection import listing
    from rankclip.data.inspection import preview as sheets

    if out and out.suffix.lower() != ".png":
        raise InputError(f"--out {out} would hold a PNG; give a name that ends in .png")
    study = active()
    name, data = study.study.name, folder(study)
    asked = listing.named(reason or [])
    sheet = sheets.of_reasons(data, name, asked, n, seed) if asked else sheets.pairs(data, name, n, seed)
    target = out or Path("work") / name / "preview.png"
    sheets.write(sheet, target)
    typer.echo(f"{target}  ({sheet.width} x {sheet.height})")


@app.command()
def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte and decode every image.")] = False,
    sample: Annotated[int, typer.Option(min=0, help="Images to decode without --deep.")] = 1000,
) -> None:
    """Check that the finished data are in order.

    \b
    rankclip data verify             # sizes, digests of the tables, every row, a sample of the images
    rankclip data verify --deep      # and the digest of every tar, and every image decoded

    Tars, index, images, captions, ledger and card are held against each other. Everything that is wrong is
    printed with its remedy, and the exit code is then 1.
    """
    from rankclip.data.inspection import verify as verification

    study = active()
    work = Path("work") / study.study.name
    found = verification.run(folder(study), work, indexed=study.source.is_indexed, deep=deep, sample=sample)
    show([f"wrong: {line}" for line in found.faults[:MOST]])
    if len(found.faults) > MOST:
        typer.echo(f"... and {len(found.faults) - MOST:,} more")
    tars = "1 tar" if found.shards == 1 else f"{found.shards:,} tars"
    looked = f"{found.samples:,} samples in {tars}, {found.decoded:,} images decoded"
    if found.faults:
        typer.echo(f"{study.study.name}: {len(found.faults):,} wrong; {looked}")
        raise typer.Exit(1)
    typer.echo(f"{study.study.name}: all right; {looked}{'' if deep else '; --deep reads every byte'}")


def active() -> Study:
    """The active study."""
    from rankclip import config

    return config.load()


def folder(study: Study) -> Path:
    """The study's folder of data."""
    return Path("data") / study.study.name


def show(lines: list[str]) -> None:
    """Prints lines."""
    for line in lines:
        typer.echo(line)
