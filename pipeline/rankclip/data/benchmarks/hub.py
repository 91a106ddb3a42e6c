"""The only door to huggingface_hub: what a data repository holds, and its files, fetched piece by piece.

The library's own download keeps nothing of a file of which it was killed in the middle, and a tar here has up
to a gigabyte; so the part is ours (`FILE.part`), and the library continues it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankclip import files
from rankclip.errors import DataError, InputError, RunError, disk_full

TIMEOUT_S = 30.0
"""For the list of a repository's files."""

ANSWER_S = 5.0
"""Within which a hub answers that can be reached."""

BLOCK = 1 << 20


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, as the hub lists it."""

    path: str
    size: int
    digest: str
    """sha256 (64 digits) of what is stored apart, else git's sha1 (40 digits) of the blob."""


@dataclass(frozen=True)
class Repository:
    """A data repository at one commit."""

    name: str
    revision: str
    """The commit."""
    files: dict[str, HubFile]


def endpoint() -> str:
    """Address of the hub: HF_ENDPOINT, by default https://huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def repository(name: str, revision: str | None = None) -> Repository:
    """The files of a data repository at a commit, by default its newest.

    Raises:
        InputError: the hub has no such repository, or gives it to those alone who agreed to its terms.
        RunError: the hub cannot be reached, or it fails.
        DataError: its answer is no list of files.
    """
    from huggingface_hub import HfApi

    with _explained(name):
        info = HfApi(endpoint=endpoint()).dataset_info(
            name, revision=revision, timeout=TIMEOUT_S, files_metadata=True
        )
    found = {}
    for one in info.siblings or ():
        digest = one.lfs.sha256 if one.lfs else one.blob_id
        if one.size is None or not digest:
            raise DataError(f"{endpoint()} does not say size and digest of {one.rfilename} in {name}")
        found[one.rfilename] = HubFile(one.rfilename, one.size, digest)
    if not info.sha:
        raise DataError(f"{endpoint()} does not say which commit of {name} it lists")
    return Repository(name, info.sha, found)


@contextmanager
def quick_to_fail() -> Iterator[str]:
    """Where the hub does not answer, its client uses only what it has kept while the block runs.

    It would ask again for half a minute for every file, and open_clip looks for a checkpoint under two names.
    Yields why the hub cannot be reached, in half a line; nothing where it answers.
    """
    from huggingface_hub import constants

    chosen, why = constants.HF_HUB_OFFLINE, unreachable()
    constants.HF_HUB_OFFLINE = chosen or bool(why)
    try:
        yield why
    finally:
        constants.HF_HUB_OFFLINE = chosen


def unreachable() -> str:
    """Why the hub cannot be reached, in half a line; empty where it answers, whatever it says."""
    from huggingface_hub.utils import get_session

    try:
        get_session().head(endpoint(), timeout=ANSWER_S)
    except Exception as error:  # of whichever HTTP library the client is made with
        return f"{endpoint()} cannot be reached ({files.one_line(error)})"
    return ""


def fetch(source: Repository, file: HubFile, target: Path, advance: Callable[[int], object]) -> None:
    """Fetches a file to `target`; one that is there and whole stays, a part of it is continued.

    Args:
        advance: is told of bytes as they come, of a part from earlier too.

    Raises:
        InputError: as `repository`.
        RunError: the hub cannot be reached or fails, or what came is not what it lists.
        OSError: with the path as its file name, where the part cannot be written.
    """
    if is_whole(target, file):
        advance(file.size)
        return
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    try:
        with _Counted(part, advance) as sink, _explained(source.name):
            done = sink.seek(0, os.SEEK_END)
            advance(done)
            if done < file.size:
                _get(source, file, sink, done)
    except OSError as error:
        number = errno.ENOSPC if disk_full(error) else error.errno or errno.EIO
        raise OSError(number, os.strerror(number), str(part)) from error
    if not is_whole(part, file):
        part.unlink()
        raise RunError(
            f"what {endpoint()} sent for {file.path} of {source.name} is not what it lists "
            f"({file.size:,} bytes, {file.digest}); it was deleted, give the same command again"
        )
    files.flush(part)
    part.replace(target)


def is_whole(path: Path, file: HubFile) -> bool:
    """Whether a file is the one that the hub lists, by size and digest."""
    return path.is_file() and path.stat().st_size == file.size and _digest(path, file) == file.digest


def _digest(path: Path, file: HubFile) -> str:
    if len(file.digest) == 64:
        return files.sha256(path)
    git = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stored:
        while block := stored.read(BLOCK):
            git.update(block)
    return git.hexdigest()


def _get(source: Repository, file: HubFile, sink: _Counted, done: int) -> None:
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get, logger
    from huggingface_hub.utils import build_hf_headers, disable_progress_bars

    disable_progress_bars()  # ours shows the whole set
    # a break loses what is not written: 10 MB by default, which a bad line might never get in one piece
    constants.DOWNLOAD_CHUNK_SIZE = min(constants.DOWNLOAD_CHUNK_SIZE, BLOCK)
    logger.setLevel(logging.ERROR)  # else two lines in the middle of it for every break
    address = hf_hub_url(
        source.name, file.path, repo_type="dataset", revision=source.revision, endpoint=endpoint()
    )
    # no expected size: `fetch` says more clearly, and deletes, what has another
    http_get(address, sink, resume_size=done, headers=build_hf_headers())


class _NotWrittenError(OSError):
    """What is wrong with the disk, and not with the network."""


class _Counted(io.BufferedWriter):
    """A file that is written on at its end and tells how many bytes came."""

    def __init__(self, path: Path, advance: Callable[[int], object]) -> None:
        super().__init__(io.FileIO(path, "a"))
        self._advance = advance

    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data)
        except OSError as error:
            raise _NotWrittenError(error.errno, error.strerror) from error
        self._advance(written)
        return written

    def truncate(self, size: int | None = None, /) -> int:
        kept = self.tell() if size is None else size
        self._advance(kept - self.seek(0, os.SEEK_END))
        return super().truncate(kept)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Errors of the hub's client as ours, a line each."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise InputError(
            f"{endpoint()} gives {name} to those alone who agreed to its terms: agree on its page, then give "
            "your token in HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{endpoint()} has no data set {name}, or it is private; check HF_ENDPOINT, or give a token in "
            "HF_TOKEN"
        ) from None
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise InputError(
            f"{endpoint()} has no longer what it listed of {name} ({files.one_line(error)})"
        ) from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        said = f"{endpoint()} answers {code} {error.response.reason_phrase}".rstrip() + f" for {name}"
        if code in (401, 403):
            raise InputError(f"{said}; give a token that may read it in HF_TOKEN") from None
        raise RunError(f"{said}; give the same command again later, what is fetched is kept") from None
    except Exception as error:
        # of whichever HTTP library the client is made with, beside OSError
        if isinstance(error, _NotWrittenError) or disk_full(error):
            raise
        raise RunError(
            f"{endpoint()} cannot be reached or breaks off for {name} ({files.one_line(error)}); check the "
            "network, HF_ENDPOINT and HF_HUB_OFFLINE, then give the same command again: what is fetched is "
            "kept"
        ) from None
