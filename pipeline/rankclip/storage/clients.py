"""Arrow's own ways to S3 and to the disk, one of each a process."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from rankclip.errors import InputError

if TYPE_CHECKING:
    from pyarrow import fs

CONNECT_S = 5.0
"""Seconds to wait for a connection; four times as many for the next byte."""

ATTEMPTS = 4
"""Times a request is made before its failure counts; the waits between them grow."""


def s3() -> fs.S3FileSystem:
    """A client for what the AWS_* variables say now.

    Raises:
        InputError: the address of the service is none.
    """
    return _client(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@functools.cache
def _client(settings: tuple[tuple[str, str], ...]) -> fs.S3FileSystem:
    """It reads most of the settings itself; it is costly to make, and serves any number of threads."""
    from pyarrow import fs

    known = dict(settings)
    options: dict[str, str] = {}
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if url := known.get(name):
            scheme, _, host = url.rstrip("/").partition("://")
            if scheme not in ("http", "https") or not host:
                raise InputError(f"{name} is {url!r}; write it as http://HOST:PORT or https://HOST")
            options = {"scheme": scheme, "endpoint_override": host}
            break
    if bundle := known.get("AWS_CA_BUNDLE"):
        options["tls_ca_file_path"] = bundle
    return fs.S3FileSystem(
        **options,
        connect_timeout=CONNECT_S,
        request_timeout=4 * CONNECT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )


@functools.cache
def disk() -> fs.LocalFileSystem:
    """Files of this machine."""
    from pyarrow import fs

    return fs.LocalFileSystem()
