"""Stage `curate`: verify what was crawled, check and compare it, and give every input row its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.data.curation import curate


def main(
    data: Annotated[Path, typer.Option(help="The study's folder of data, data/NAME.")],
    work: Annotated[Path, typer.Option(help="Folder for work in progress of this study, work/NAME.")],
) -> None:
    """Writes ledger.parquet and ledger.json."""
    study = config.load()
    curate.run(study.curate, data=data, work=work)


if __name__ == "__main__":
    lifecycle.stage(main)
