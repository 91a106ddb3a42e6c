"""Stage `download`: fetch the images of the URL table with img2dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankclip import config, lifecycle
from rankclip.data import sources
from rankclip.data.crawl import download


def main(
    urls: Annotated[Path, typer.Option(help="The checked URL table.")],
    work: Annotated[Path, typer.Option(help="Folder for work in progress; it survives interruptions.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the crawl's status table, and of its tars without RANKCLIP_STORE.")
    ],
) -> None:
    """Writes 00000.tar ..., status.parquet and record.json."""
    study = config.load()
    download.run(study.download, sources.crawled(study.source), urls=urls, work=work, out=out)


if __name__ == "__main__":
    lifecycle.stage(main)
