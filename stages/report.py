"""Stage `report`: compare the arms and write the tables and the page."""

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.report import build
from rankclip.report.scores import Subject


def main(
    results: Annotated[Path, typer.Option(help="Folder of the arms' results.")],
    runs: Annotated[Path, typer.Option(help="Folder of the arms' runs.")],
    ledger: Annotated[Path, typer.Option(help="ledger.parquet, with ledger.json beside it.")],
    shards: Annotated[Path, typer.Option(help="Folder of the shards.")],
    benchmarks: Annotated[Path, typer.Option(help="Folder of the benchmarks.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
) -> None:
    """Writes the tables, the curves and the page, and points reports/ to them."""
    study = config.load()
    meta = study.study
    build.run(
        study.report,
        Subject(meta.name, meta.question, meta.claims, tuple(meta.seeds), tuple(study.arms)),
        results=results,
        runs_folder=runs,
        ledger=ledger,
        shards=shards,
        benchmarks=benchmarks,
        out=out,
    )


if __name__ == "__main__":
    lifecycle.stage(main)
