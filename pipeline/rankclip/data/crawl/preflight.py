"""A look at resolver, proxy and disk before the first request of a crawl, which may take days."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pyarrow.parquet as pq
import typer

from rankclip.data import processes
from rankclip.data.crawl import work_shards
from rankclip.data.crawl.client import targets
from rankclip.data.crawl.client.addresses import Addresses
from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason
from rankclip.errors import RunError
from rankclip.storage import Store

PROBED = 32
"""Hosts whose names are looked up."""

ALIVE = 0.7
"""Share of a list's URLs that is expected to give an image, for the estimate of the disk."""

SERVED_BYTES = 150_000
"""Mean size of an image as the web serves it, likewise."""

PIXEL_BYTES = 0.35
"""Bytes that a pixel takes in the JPEGs that img2dataset writes, likewise: CC12M at 256 pixels has 331 GB."""

_WAIT_S = 5.0
_FEW = 4
_MANY = 0.3
_GROUPS, _URLS = 8, 512
_ASPECT = 1.5
_ON = "or set download.preflight=warn to go on regardless"


def run(
    spec: DownloadSpec, urls: Path, rows: int, folder: Path, store: Store, hosts: Collection[str]
) -> None:
    """Say what may be wrong, on standard error, before rows of the table `urls` are fetched.

    Args:
        rows: how many.
        folder: where work in progress lies.
        store: where the tars go; those already there tell how large others will be.
        hosts: those that the study serves itself, of which nothing has to be asked.

    Raises:
        RunError: nothing of the list can be resolved, or the disk cannot hold what is expected; with
            `download.preflight: warn` that is only said.
    """
    names = sample(urls, hosts)
    if names:
        _look_at_proxies()
        _look_at_manners(spec)
        _look_at_resolver(spec, names)
    _look_at_disk(spec, urls, rows, folder, store)


def sample(urls: Path, hosts: Collection[str]) -> list[str]:
    """Up to `PROBED` names of hosts of the table, not those of `hosts`; the same for the same table."""
    found: set[str] = set()
    with pq.ParquetFile(urls) as file:
        last = file.num_row_groups - 1
        for group in sorted({last * step // (_GROUPS - 1) for step in range(_GROUPS)} if last >= 0 else ()):
            batch = next(file.iter_batches(_URLS, row_groups=[group], columns=["url"]), None)
            for url in [] if batch is None else batch["url"].to_pylist():
                try:
                    found.add(targets.parse(url).host)
                except FetchError:
                    continue
    names = [name for name in found - {host.lower() for host in hosts} if not _is_number(name)]
    return sorted(names, key=lambda name: blake2b(name.encode(), digest_size=8).digest())[:PROBED]


def _look_at_proxies() -> None:
    named = [name for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY") if _environment(name)]
    if named:
        _warn(
            f"{named[0]} is set, but the crawler connects directly: which addresses a proxy contacts could "
            "not be checked; where only the proxy leads out, expect `connect` and `dns` for every row"
        )


def _look_at_manners(spec: DownloadSpec) -> None:
    if processes.count() > spec.per_host:
        _warn(
            f"{processes.count()} processes may make a request each to one host at once, more than "
            f"download.per_host={spec.per_host}; set RANKCLIP_PROCESSES to that at most to hold it"
        )


def _look_at_resolver(spec: DownloadSpec, names: list[str]) -> None:
    addresses = Addresses({}, spec.private_hosts)

    def failure(name: str) -> FetchError | None:
        try:
            addresses.endpoints(name, 80, min(spec.timeout_s, _WAIT_S))
        except FetchError as error:
            return error
        return None

    with ThreadPoolExecutor(len(names)) as pool:
        failures = [each for each in pool.map(failure, names) if each is not None]
    lost = [each for each in failures if each.reason is Reason.DNS]
    private = [each for each in failures if each.reason is Reason.BLOCKED_ADDRESS]
    if len(lost) == len(names) and (len(names) >= _FEW or any(each.passing for each in lost)):
        _stop(
            spec,
            f"none of {len(names)} hosts sampled from the list resolves ({lost[0].detail}); look at this "
            "machine's network and its resolver (/etc/resolv.conf)",
        )
    elif len(lost) > _MANY * len(names):
        _warn(
            f"{len(lost)} of {len(names)} hosts sampled from the list do not resolve ({lost[0].detail}); up "
            "to 10 % are usual in an old list: look at the resolver if many rows end as `dns`"
        )
    if len(private) > _MANY * len(names):
        _warn(
            f"{len(private)} of {len(names)} hosts sampled from the list are not at public addresses "
            f"({private[0].detail}); a captive portal or a filtering resolver answers like that"
        )


def _look_at_disk(spec: DownloadSpec, urls: Path, rows: int, folder: Path, store: Store) -> None:
    shard = work_shards.rows_per_shard(spec, urls)
    # what was fetched again makes tars of fewer rows
    tars = [size for name, size in store.sizes(".tar").items() if "-r" not in name]
    size = sum(tars) / len(tars) / shard if tars else ALIVE * image_bytes(spec)
    place = store.local("tar")
    if place is None:  # a bucket; here lies only what is in the making
        rows, place = min(rows, 2 * processes.count() * shard), folder / "tar"
    needed = rows * size
    disk = next(path for path in place.absolute().parents if path.exists())
    free = shutil.disk_usage(disk).free
    if needed > free:
        _stop(
            spec,
            f"the crawl needs about {needed / 1e9:.1f} GB more ({rows:,} rows of "
            f"{size / 1e3:.0f} kB, dead ones included), but {free / 1e9:.1f} GB are free at {disk}; free "
            "some, let RANKCLIP_STORE name a larger place, choose a smaller download.resize",
        )


def image_bytes(spec: DownloadSpec) -> float:
    """Expected size of a stored image."""
    pixels = spec.image_size**2 * {"keep_ratio": _ASPECT, "keep_ratio_largest": 1 / _ASPECT}.get(
        spec.resize, 1.0
    )
    return SERVED_BYTES if spec.resize == "none" else PIXEL_BYTES * pixels


def _is_number(host: str) -> bool:
    """Whether a host is an address, in one of the many ways to write one, and no name."""
    last = host.rpartition(".")[2]
    return ":" in host or last.isdecimal() or last.startswith("0x")


def _environment(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower()) or ""


def _stop(spec: DownloadSpec, message: str) -> None:
    if spec.preflight == "stop":
        raise RunError(f"{message}, {_ON}")
    _warn(message)


def _warn(message: str) -> None:
    typer.echo(f"warning: {message}", err=True)
