from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from rankclip.data.curation.spec import CurateSpec


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"blocklist": ["(a"]}, r"'\(a' is no regular expression as RE2 knows them \(missing \)"),
        ({"blocklist": ["(?=a)b"]}, "invalid perl operator"),
        ({"blocklist": ["a*"]}, "'a\\*' is found in an empty caption, so in every one"),
        ({"blocklist": [""]}, "at least 1 character"),
        ({"blocklist": [f"{n}[^a]{{1000}}b" for n in range(100)]}, "pattern too large"),
        ({"remove": ["ugly"]}, "'too_small'"),
        ({"remove": ["leak", "leak"]}, "names a check twice"),
        ({"remove": ["duplicate_near"]}, "not duplicate_exact"),
        ({"remove": ["duplicate_near", "duplicate_exact"], "near_distance": None}, "near_distance is null"),
        ({"near_distance": 5}, "less than or equal to 4"),
        ({"min_caption_chars": 9, "max_caption_chars": 8}, "min_caption_chars 9 is above"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CurateSpec.model_validate(values)


def test_nothing_is_removed_unless_asked_for() -> None:
    assert CurateSpec().remove == ()


def test_looks_are_no_check_where_they_are_not_compared() -> None:
    assert "duplicate_near" not in CurateSpec(near_distance=None).checks
    assert "leak" in CurateSpec(near_distance=None).checks


def test_only_a_blocklist_loads_a_large_package() -> None:
    code = (
        "import sys; from rankclip.data.curation.spec import CurateSpec; CurateSpec();"
        "sys.exit('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
