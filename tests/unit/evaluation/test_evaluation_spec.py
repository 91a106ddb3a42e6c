"""The evaluation section of a study."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from rankclip.evaluation.spec import EvaluationSpec

SHAPE = {"name": "shape", "images": 24}
DIGITS = {"name": "digits", "images": 20, "side": 32}


def test_a_section_survives_the_way_to_a_worker_and_back() -> None:
    section = {"benchmarks": [SHAPE, DIGITS, {"name": "retrieval", "images": 10}]}
    spec = EvaluationSpec.model_validate(section)
    assert spec.dump() == section
    assert spec.names == ["shape", "digits", "retrieval"]


def test_a_benchmark_listed_twice_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="benchmark shape is listed more than once"):
        EvaluationSpec.model_validate({"benchmarks": [SHAPE, DIGITS, SHAPE]})


@pytest.mark.parametrize(
    ("benchmarks", "said"),
    [
        ([], "at least 1"),
        ([{"name": "imagenet", "images": 20}], "'shape'.*'composition'.*'retrieval'.*'digits'"),
        ([{"name": "shape"}], "Field required"),
        ([{**SHAPE, "side": 32}], "Extra inputs"),
        ([{**DIGITS, "images": 25}], "multiple of 10"),
        ([{**DIGITS, "images": 880}], "less than or equal to 870"),
    ],
)
def test_wrong_sections_are_refused_with_the_choices(benchmarks: list[dict[str, object]], said: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){said}"):
        EvaluationSpec.model_validate({"benchmarks": benchmarks})


def test_the_section_imports_nothing_heavy() -> None:
    code = (
        "import sys, rankclip.evaluation.spec;"
        "print([m for m in ('torch', 'pyarrow', 'numpy', 'PIL', 'sklearn', 'open_clip') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
