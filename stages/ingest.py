"""Stage `ingest`: the source's list of captions and URLs to a checked table of URLs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.data import sources
from rankclip.data.ingestion import ingest


def main(out: Annotated[Path, typer.Option(help="Folder of the study's data.")]) -> None:
    """Writes source/, urls.parquet, refused.parquet and ingest.json."""
    study = config.load()
    ingest.run(study.ingest, sources.crawled(study.source), out=out)


if __name__ == "__main__":
    lifecycle.stage(main)
