from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rankclip import estimate_cli
from rankclip.errors import InputError

ROOT = Path(__file__).parents[2]
APP = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
APP.command()(estimate_cli.estimate)


def test_a_study_of_conf_is_estimated_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(APP, ["shapes-smoke", "study.seeds=[0,1]", "--no-measure", "--sd", "1"])
    assert done.exit_code == 0
    assert "2 seeds an arm" in done.output
    assert "standard deviation 1 points: --sd" in done.output


def test_a_change_without_a_study_is_refused() -> None:
    done = CliRunner().invoke(APP, ["train.lr=1e-3"])
    assert isinstance(done.exception, InputError)
    assert "rankclip estimate shapes train.lr=1e-3" in str(done.exception)


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, rankclip.estimate_cli; print({'torch', 'ray', 'numpy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
