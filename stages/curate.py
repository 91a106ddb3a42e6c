"""Stage `curate`: verify what was crawled, filter it, drop duplicates and give every input row its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.data.curation import curate


def main(data: Annotated[Path, typer.Option(help="The study's folder of data, data/NAME.")]) -> None:
    study = config.load()
    curate.run(study.curate, data=data)


if __name__ == "__main__":
    lifecycle.stage(main)
