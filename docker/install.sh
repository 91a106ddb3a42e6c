#!/bin/sh
# Installs the locked packages and the library in /opt/venv; both targets of the Dockerfile run it.
set -eu
python3 -m venv /opt/venv
/opt/venv/bin/python -m pip install --no-cache-dir --quiet uv==0.13.9
UV_COMPILE_BYTECODE=1 /opt/venv/bin/uv pip install --no-cache --python /opt/venv/bin/python -r requirements.lock
/opt/venv/bin/uv pip install --no-cache --python /opt/venv/bin/python --no-deps --editable .
