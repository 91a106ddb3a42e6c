"""The command as installed: what it says where only the package itself, without the pipeline, is there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def call(*lacking: str) -> subprocess.CompletedProcess[str]:
    """Calls the entry point of pyproject.toml where these packages cannot be imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["scripts"]["rankclip"].split(":")
    hidden = "".join(f"sys.modules[{package!r}] = None; " for package in lacking)
    code = f"import sys; {hidden}from {module} import {name}; sys.argv = ['rankclip', '--help']; {name}()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_without_the_pipeline_the_command_says_in_one_line_what_to_install() -> None:
    for lacking in (("typer", "psutil", "yaml", "pyarrow"), ("psutil",)):
        done = call(*lacking)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith("rankclip: error: ")
        assert "pip install 'rankclip[pipeline]'" in done.stderr


def test_with_the_pipeline_the_command_is_the_command_line() -> None:
    done = call()
    assert (done.returncode, done.stderr) == (0, "")
    assert "repro" in done.stdout


def test_a_module_of_ours_that_is_missing_is_no_matter_of_installing() -> None:
    done = call("rankclip.lifecycle")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
