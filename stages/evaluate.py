"""Stage `evaluate`: score an arm's runs on the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, evaluate, lifecycle
from rankclip.tracking import Tracker


def main(
    arm: Annotated[str, typer.Option(help="Name of the arm.")],
    runs: Annotated[Path, typer.Option(help="The arm's folder of runs.")],
    benchmarks: Annotated[Path, typer.Option(help="Folder of the benchmarks.")],
    work: Annotated[Path, typer.Option(help="Folder of scores by key, kept between calls.")],
    out: Annotated[Path, typer.Option(help="Folder of the arm's results.")],
) -> None:
    """Scores the seeds that are not scored yet and merges all into the arm's results."""
    study = config.load()
    tracker = Tracker(Path.cwd(), study.study.name)
    evaluate.run(study.evaluation, arm, runs=runs, benchmarks=benchmarks, work=work, out=out, tracker=tracker)


if __name__ == "__main__":
    lifecycle.stage(main)
