"""Where every row of the input ended: the ledger, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rankclip import files
from rankclip.errors import DataError

OK = "ok"


@dataclass(frozen=True)
class Downloads:
    """`rows`: input rows; `reasons`: (reason, stage, rows), `ok` first, then by falling count."""

    rows: int
    reasons: tuple[tuple[str, str, int], ...]

    @property
    def accepted(self) -> int:
        """Rows that became training samples."""
        return sum(count for reason, _, count in self.reasons if reason == OK)


def read_downloads(ledger: Path, shards: Path) -> Downloads:
    """The ledger's reasons, checked against the input and the shards.

    Args:
        ledger: `ledger.parquet`; beside it `ledger.json` states the number of input rows.
        shards: the folder with `index.parquet`, whose samples the accepted rows must be.

    Raises:
        DataError: a file is missing, or an input row is lost, counted twice or without a reason.
    """
    table = files.read_table(ledger, ["row", "reason", "stage", "key"])
    rows, reasons = table.column("row").to_pylist(), table.column("reason").to_pylist()
    stated = files.read_json(ledger.with_suffix(".json")).get("input")
    if sorted(rows) != list(range(len(rows))) or len(rows) != stated or not all(reasons):
        raise DataError(
            f"{ledger} has {len(rows)} rows, {len(set(rows))} of them distinct, for {stated} input rows; "
            "each input row needs exactly one reason; run `dvc repro -f -s curate`"
        )
    accepted = {
        key for key, reason in zip(table.column("key").to_pylist(), reasons, strict=True) if reason == OK
    }
    sharded = files.read_table(shards / "index.parquet", ["key"]).column("key").to_pylist()
    if len(sharded) != len(accepted) or set(sharded) != accepted:
        raise DataError(
            f"{shards} holds {len(sharded)} samples but {ledger} accepts {len(accepted)}; "
            "run `dvc repro -f -s shard`"
        )
    counted = Counter(zip(reasons, table.column("stage").to_pylist(), strict=True))
    ordered = sorted(counted.items(), key=lambda item: (item[0][0] != OK, -item[1], item[0]))
    return Downloads(len(rows), tuple((reason, stage or "", count) for (reason, stage), count in ordered))
