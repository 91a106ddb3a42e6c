"""Stage `index`: describe the samples of tars that are at hand, in their place of crawl, curate and shard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.data.indexing import index
from rankclip.errors import InputError


def main(
    data: Annotated[Path, typer.Option(help="The study's folder of data, data/NAME.")],
    work: Annotated[Path, typer.Option(help="Folder for work in progress of this study, work/NAME.")],
) -> None:
    study = config.load()
    if not study.source.is_indexed:
        raise InputError(f"source {study.source.name} is crawled; run `dvc repro -s shard`, not index")
    index.run(study.source, study.captions, data=data, work=work)


if __name__ == "__main__":
    lifecycle.stage(main)
