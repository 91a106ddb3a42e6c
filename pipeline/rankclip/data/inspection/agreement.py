"""Whether the shards hold exactly the rows that the ledger accepts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.inspection.tally import Tally
from rankclip.data.reasons import Reason
from rankclip.errors import DataError

LEDGER_REMEDY = "run `rankclip repro`"
REMEDY = "run `dvc repro -f -s shard`, or `-s index` where tars are read in place"


def require_same_samples(ledger: Path, index: Path) -> None:
    """Compares the accepted rows of the ledger, in their order, with the samples of `index.parquet`.

    Raises:
        DataError: a file is missing, or they differ in number, keys or order.
    """
    accepted = pa.chunked_array(
        [
            chunk
            for table in files.read_batches(ledger, ["key", "reason"], LEDGER_REMEDY)
            for chunk in table.filter(pc.equal(table["reason"], Reason.OK.value))["key"].chunks
        ],
        pa.string(),
    )
    held, differs = 0, -1
    for table in files.read_batches(index, ["key"], REMEDY):
        ours = accepted.slice(held, len(table))
        if differs < 0 and not ours.equals(table["key"]):
            n = min(len(ours), len(table))
            same = pc.equal(ours.slice(0, n), table["key"].slice(0, n)).to_numpy()
            differs = held + int(np.argmin(same) if not same.all() else n)
        held += len(table)
    if held != len(accepted):
        raise DataError(f"{index.parent} holds {held} samples but {ledger} accepts {len(accepted)}; {REMEDY}")
    if differs >= 0:
        raise DataError(
            f"{index} and the accepted rows of {ledger} differ from sample {differs} on; {REMEDY}"
        )


def require_same_counts(card: Mapping[str, Any], tally: Tally, shards: Path) -> None:
    """Compares the data card of `shards` with the ledger.

    Raises:
        DataError: the card was made from another ledger.
    """
    if (card["input"], card["ok"]) != (tally.rows, tally.ok):
        raise DataError(
            f"{shards / 'card.json'} says {card['ok']} of {card['input']} rows, the ledger {tally.ok} of "
            f"{tally.rows}; {REMEDY}"
        )
