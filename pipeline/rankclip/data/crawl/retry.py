"""Fetching again the rows that failed for certain reasons, in place: what was fetched stays as it is.

The rows of a work shard `NNNNN` that are fetched again make a shard of their own, `NNNNN-rK`, whose rows
take the place of theirs. `retry.json` in the work folder says what is to be fetched until all of it is.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.crawl import coordinate, work_folder, work_shards
from rankclip.data.crawl.coordinate import Extent
from rankclip.data.crawl.finished import round_number
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.stop_rule import PASSING
from rankclip.data.crawl.work_folder import Crawl, Source
from rankclip.data.reasons import Reason
from rankclip.errors import InputError, RunError

REASONS = tuple(reason for reason in Reason if "download" in reason.stage)
"""Those of rows that the download gave no image."""


class Retried(NamedTuple):
    """What a retry did."""

    rows: int
    """Rows that were to be fetched again; 0 where none had failed for one of the reasons."""
    before: Counter[Reason]
    """All rows of the crawl by reason, when the retry was first begun."""
    after: Counter[Reason]


def run(
    spec: DownloadSpec,
    source: Source,
    urls: Path,
    work: Path,
    out: Path,
    reasons: Collection[str],
) -> Retried:
    """Fetch the rows with these reasons again; tars of theirs and a new status.parquet end up in `out`.

    After an interruption the same call goes on with those that are left.

    Args:
        spec: as of the crawl in all that decides its outcome; patience and manners may differ.
        reasons: some of `REASONS`.
        source: and the others, see `download.run`.

    Raises:
        InputError: a reason is not one of `REASONS`.
        RunError: the crawl is not complete; otherwise as `download.run`.
    """
    asked = _checked(reasons)
    with work_folder.opened(spec, source, urls, work, out) as crawl:
        if unfinished := crawl.unfinished():
            raise RunError(
                f"{len(unfinished)} of {len(crawl.shards)} work shards of {urls} have not been fetched with "
                "these limits; run the stage download first"
            )
        notes = crawl.folder / "retry.json"
        plan = _plan(crawl, notes, asked)
        left = {shard: name for shard, name in plan.rounds.items() if name not in crawl.finished}
        if left:
            # that nearly all of these rows fail as before says nothing; an outage would replace what is known
            stops = PASSING - set(asked)
            tables = _tables(crawl, left, asked)
            extent = Extent("retry", len(left), plan.rows - _done(crawl, plan), Counter(), stops)
            coordinate.fetch(crawl, spec, source, tables, extent)
        notes.unlink(missing_ok=True)
        work_folder.export(crawl, out)
        return Retried(plan.rows, plan.before, crawl.counts())


def _checked(reasons: Collection[str]) -> list[Reason]:
    wrong = sorted(set(reasons) - {str(reason) for reason in REASONS})
    if wrong or not reasons:
        what = f"{', '.join(map(repr, wrong))} cannot be fetched again" if wrong else "no reason is named"
        raise InputError(f"{what}; name some of {', '.join(sorted(REASONS))}")
    return sorted(map(Reason, reasons))


class _Plan(NamedTuple):
    rounds: dict[str, str]
    """Work shard -> the shard of those of its rows that are fetched again."""
    rows: int
    before: Counter[Reason]


def _plan(crawl: Crawl, notes: Path, reasons: list[Reason]) -> _Plan:
    """The plan in `notes` when it is for these reasons, else a new one, which is noted."""
    if notes.exists():
        found = files.read_json(notes, "delete it to begin the retry anew")
        if found["reasons"] == reasons:
            counted = Counter({Reason(reason): n for reason, n in found["before"].items()})
            return _Plan(found["rounds"], found["rows"], counted)
    earlier = crawl.finished.rounds()
    before: Counter[Reason] = Counter()
    rounds = {}
    for shard, table in crawl.finished.merged(crawl.shards):
        counts = work_folder.by_reason(table)
        before.update(counts)
        if counts.keys() & set(reasons):
            latest = max(map(round_number, earlier.get(shard, ())), default=0)
            rounds[shard] = f"{shard}-r{latest + 1}"
    for name in rounds.values():  # what is left of an earlier plan has been found too long ago
        shutil.rmtree(crawl.scratch / name, ignore_errors=True)
    plan = _Plan(rounds, sum(before[reason] for reason in reasons), before)
    files.write_json(notes, {"reasons": reasons, **plan._asdict()})
    return plan


def _done(crawl: Crawl, plan: _Plan) -> int:
    """Rows of the plan that are fetched already."""
    return sum(len(crawl.finished.table(name)) for name in plan.rounds.values() if name in crawl.finished)


def _tables(crawl: Crawl, left: dict[str, str], reasons: list[Reason]) -> Iterator[tuple[str, pa.Table]]:
    """Name and table of each shard that is left, in order."""
    wanted = work_shards.slices(crawl.spec, crawl.urls, left.keys())
    for (shard, rows), (_, status) in zip(wanted, crawl.finished.merged(sorted(left)), strict=True):
        failed = status.filter(pc.is_in(status["reason"], pa.array(reasons, pa.string())))
        yield left[shard], rows.filter(pc.is_in(rows["row"], failed["row"].combine_chunks()))
