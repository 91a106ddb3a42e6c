#!/bin/sh
# Installs the locked packages and the library, built by the locked setuptools, in /venv; both targets of the
# Dockerfile run it.
set -eu
python3 -m venv /venv
/venv/bin/python -m pip install --no-cache-dir --quiet uv==0.13.9
UV_COMPILE_BYTECODE=1 /venv/bin/uv pip install --no-cache --python /venv/bin/python -r requirements.lock
/venv/bin/uv pip install --no-cache --python /venv/bin/python --no-deps --no-build-isolation --editable .
