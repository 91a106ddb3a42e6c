"""What the ledger says of a row beside its reason: sizes, and the other image of a duplicate or a leak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.curation.census import OK, Census
from rankclip.data.curation.duplicates import NONE
from rankclip.data.curation.findings import BIT, CHECKS, Findings
from rankclip.data.curation.references import References
from rankclip.data.curation.spec import Check, CurateSpec
from rankclip.data.reasons import printable


class Details:
    """Texts for single rows: those that fail a check, or whose image cannot be used."""

    def __init__(
        self,
        spec: CurateSpec,
        census: Census,
        findings: Findings,
        references: References,
        urls: Path,
        remedy: str,
    ) -> None:
        """`urls`: the table that knows the keys of the originals; `remedy` is for it.

        Raises:
            DataError: `urls` cannot be read.
        """
        self._spec = spec
        self._census = census
        self._findings = findings
        self._references = references
        named = [rows[rows != NONE] for rows in (findings.exact, findings.near)]
        self._originals = np.unique(np.concatenate(named))
        self._keys = _keys(urls, self._originals, remedy)

    def of(self, row: int, removed_by: Check | None, caption: str) -> str:
        """Why a row was removed; of one that stays, all that was found. Both fit a table."""
        if self._census.reasons[row] != OK:
            at = int(np.searchsorted(self._census.failed["row"].to_numpy(), row))
            return str(self._census.failed["detail"][at].as_py())
        failed = [check for check in CHECKS if self._findings.flags[row] & BIT[check]]
        said = [self._said(row, check, caption) for check in ([removed_by] if removed_by else failed)]
        return printable("; ".join(dict.fromkeys(said)))

    def _said(self, row: int, check: Check, caption: str) -> str:
        if check == "caption":
            return f"caption of {len(caption)} characters"
        if check == "blocklist":
            return f"caption matches {self._found_in(caption)!r}"
        if check == "leak":
            number = self._findings.leaks[row]
            other = str(self._references.names[int(number)].as_py())
            if (self._census.digests[row] == self._references.digests[number]).all():
                return f"same bytes as {other}"
            return f"looks like {other} {self._differ(row, self._references.hashes[number])}"
        if check == "duplicate_exact":
            return f"same bytes as {self._key(self._findings.exact[row])}"
        if check == "duplicate_near":
            original = self._findings.near[row]
            return f"looks like {self._key(original)} {self._differ(row, self._census.hashes[original])}"
        return f"{self._census.widths[row]} x {self._census.heights[row]}"

    def _found_in(self, caption: str) -> str:
        told = pa.array([caption])
        return next(
            pattern
            for pattern in self._spec.blocklist
            if pc.match_substring_regex(told, pattern, ignore_case=True)[0].as_py()
        )

    def _key(self, row: np.int32) -> str:
        return str(self._keys[int(np.searchsorted(self._originals, row))].as_py())

    def _differ(self, row: int, other: np.uint64) -> str:
        return f"({np.bitwise_count(self._census.hashes[row] ^ other)} bits differ)"


def _keys(urls: Path, rows: np.ndarray, remedy: str) -> pa.ChunkedArray:
    """The keys of `rows`, which rise."""
    found = []
    for table in files.read_batches(urls, ["row", "key"], remedy):
        here = table["row"].to_numpy()
        some = rows[np.searchsorted(rows, here[0]) : np.searchsorted(rows, here[-1], "right")]
        found.append(table["key"].filter(pa.array(np.isin(here, some))).combine_chunks())
    return pa.chunked_array(found, pa.string())
