"""The project's own MLflow database, made whole or not at all."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from rankclip import files
from rankclip.tracking.place import database, uri


def ready(root: Path) -> str:
    """`uri(root)`, with the project's own database made where it is the one asked for and is missing.

    MLflow makes a database by some seventy migrations over more than a second. One that is killed among them
    stays half made for ever: the next migration finds its own columns there.
    """
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    address, place = uri(root), database(root)
    if address != f"sqlite:///{place}" or place.exists():
        return address
    with tempfile.TemporaryDirectory(prefix="rankclip-mlflow-") as folder:
        made = Path(folder) / place.name
        MlflowClient(tracking_uri=f"sqlite:///{made}").search_experiments(max_results=1)
        with files.replace(place, keep=True) as temporary:
            shutil.copyfile(made, temporary)
    return address
