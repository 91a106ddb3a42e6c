"""Stage `shard`: pack the curated samples into tars with an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.data.sharding import shards


def main(
    data: Annotated[Path, typer.Option(help="The study's folder of data, data/NAME.")],
    work: Annotated[Path, typer.Option(help="Folder for work in progress of this study, work/NAME.")],
) -> None:
    study = config.load()
    shards.run(study.shard, study.source, study.captions, data=data, work=work)


if __name__ == "__main__":
    lifecycle.stage(main)
