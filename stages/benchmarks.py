"""Stage `benchmarks`: draw the study's evaluation sets, list them with the published ones that are here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.data.benchmarks import write


def main(out: Annotated[Path, typer.Option(help="Folder of the benchmarks.")]) -> None:
    """Writes the benchmarks of the active study and a manifest of the digests of all."""
    study = config.load()
    write.run(study.evaluation.benchmarks, study.source, out=out)


if __name__ == "__main__":
    lifecycle.stage(main)
