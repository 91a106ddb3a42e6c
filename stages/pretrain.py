"""Stage `pretrain`: train an arm's model once for each seed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle, pretrain


def main(
    arm: Annotated[str, typer.Option(help="Name of the arm.")],
    data: Annotated[Path, typer.Option(help="The study's folder of data, with shards and benchmarks.")],
    work: Annotated[Path, typer.Option(help="Folder of runs by key, kept between calls.")],
    out: Annotated[Path, typer.Option(help="Folder of the arm's runs.")],
) -> None:
    """Trains the seeds that are not trained yet and exports all."""
    study = config.load()
    seeds = study.study.seeds
    asked = pretrain.requests(arm, study.arms[arm], study.model, study.train, seeds, data=data, work=work)
    pretrain.run(asked, study.study.name, root=Path.cwd(), out=out)


if __name__ == "__main__":
    lifecycle.stage(main)
