"""Work shards as tasks of a Ray cluster, with the events that the pool of one machine tells."""

from __future__ import annotations

import atexit
import faulthandler
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from rankclip import launch
from rankclip.data import processes
from rankclip.data.crawl.finished import Fetched
from rankclip.data.crawl.shard_job import ShardJob
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import News
from rankclip.data.crawl.stop_rule import Window
from rankclip.data.crawl.workers import Event
from rankclip.data.reasons import Reason
from rankclip.errors import RunError
from rankclip.storage import Store
from rankclip.storage.places import sweep

_CPUS = 0.5
"""Of a task, so that another one uses a core while the last slow URLs of a shard are waited for."""

_MOST_LOST = 20
"""Shards whose tasks die again and again before the cluster is taken for unusable."""

_SCRATCH = "rankclip-crawl"

Tasks = Iterator[tuple[str, bytes]]


def run(
    spec: DownloadSpec,
    hosts: Mapping[str, tuple[str, int]],
    store: Store,
    stops: frozenset[Reason],
    tasks: Tasks,
    log: Path,
    silence_s: float,
    here: Callable[[Tasks], Iterator[Event]],
) -> Generator[Event]:
    """Give out `tasks` (name, payload), no sooner than needed, one Ray task each; events as of `workers.run`.

    Args:
        spec: and hosts, store: as of `ShardJob`.
        stops: as of `Window`.
        log: folder for tracebacks.
        silence_s: a task whose job tells nothing for so long is taken for hung.
        here: does on this machine, in the end, the tasks whose process died each time.

    Raises:
        RunError: Ray does not answer, a task failed, or too many died.
    """
    lost: list[tuple[str, bytes]] = []
    with launch.session():
        slots = processes.asked()
        job = (spec, tuple(hosts.items()), slots or launch.room(_CPUS), store)
        items = (
            {"key": name, "payload": payload, "job": job, "stops": stops, "silence_s": silence_s}
            for name, payload in tasks
        )
        for outcome in launch.stream_tasks(fetch_shard, items, slots=slots, cpus=_CPUS, logs=log):
            name = outcome.item["key"]
            if outcome.ok:
                news, fetched = outcome.value
                yield Event("done", name, fetched)
                yield Event("told", name, news)
            elif not outcome.died:
                raise RunError(f"shard {outcome.error}")
            elif len(lost) == _MOST_LOST:
                raise RunError(
                    f"shard {outcome.error}, as did {_MOST_LOST} others; look at the nodes' memory"
                )
            else:
                lost.append((name, outcome.item["payload"]))
    if lost:
        yield from here(iter(lost))


def fetch_shard(item: dict[str, Any]) -> tuple[News, Fetched]:
    """What became of the rows of a work shard; called in a worker of Ray, which does many shards."""
    job, scratch = _job(*item["job"])
    line = _Line(item["job"][0], item["stops"], item["silence_s"])
    try:
        return line.news, job(item["key"], item["payload"], line, failures=0)
    except BaseException:
        _job.cache_clear()  # a job that failed is of no more use
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(scratch / item["key"], ignore_errors=True)


@functools.cache
def _job(
    spec: DownloadSpec, hosts: tuple[tuple[str, tuple[str, int]], ...], processes: int, store: Store
) -> tuple[ShardJob, Path]:
    """The job of this process, and where it keeps its unfinished shards."""
    sweep(Path(tempfile.gettempdir()), _SCRATCH)
    scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}-{os.getpid()}-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return ShardJob(spec, dict(hosts), processes, store, scratch), scratch


class _Line:
    """Collects news; ends the process when none come, and the task when nearly all are bad."""

    def __init__(self, spec: DownloadSpec, stops: frozenset[Reason], silence_s: float) -> None:
        self.news = News()
        self._window = Window(spec.stop_rows, spec.stop_share, stops)
        self._silence_s = silence_s
        self._heard()

    def report(self, value: News) -> None:
        self._heard()
        self.news.update(value)
        stop = self._window.add("", value)
        if stop is not None:
            raise RunError(stop.message)

    def room(self) -> None:
        """Ray gives out tasks as it sees fit."""

    def _heard(self) -> None:
        # a watch outside the interpreter, whose lock may be what is held for ever
        faulthandler.dump_traceback_later(self._silence_s, exit=True, file=2)
