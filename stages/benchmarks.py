"""Stage `benchmarks`: draw or convert the evaluation sets, each with a validation and a test split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.data.benchmarks import write


def main(out: Annotated[Path, typer.Option(help="Folder of the benchmarks.")]) -> None:
    """Writes every benchmark of the active study and a manifest of their digests."""
    study = config.load()
    write.run(study.evaluation.benchmarks, study.source, out=out)


if __name__ == "__main__":
    lifecycle.stage(main)
