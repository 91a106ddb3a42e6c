"""Which URL has which trouble."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from rankclip.data.shapes.trouble import KINDS, PLAIN, TroubleSpec, assign, shares

NONE = dict.fromkeys(KINDS, 0.0)


def test_each_kind_has_its_stated_share() -> None:
    spec = TroubleSpec()
    counts = Counter(assign(spec, seed=0, n=5000))
    assert {kind: counts[kind] for kind in KINDS} == {
        kind: round(5000 * s) for kind, s in shares(spec).items()
    }
    assert counts[PLAIN] == 5000 - sum(counts[kind] for kind in KINDS)


def test_the_assignment_follows_from_the_seed_alone() -> None:
    spec = TroubleSpec()
    assert assign(spec, 1, 500) == assign(spec, 1, 500)
    assert assign(spec, 1, 500) != assign(spec, 2, 500)


def test_a_change_of_one_share_leaves_kinds_before_it_where_they_were() -> None:
    more = assign(TroubleSpec(exif_rotated=0.1), 3, 1000)
    less = assign(TroubleSpec(exif_rotated=0.0), 3, 1000)
    assert all(a == b or a == "exif_rotated" for a, b in zip(more, less, strict=True))


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_the_first_image_is_plain_however_few_there_are(n: int) -> None:
    kinds = assign(TroubleSpec(**{**NONE, "duplicate_image": 1.0}), 0, n)
    assert kinds == [PLAIN, *["duplicate_image"] * (n - 1)][:n]


def test_shares_beyond_the_whole_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"add up to 1\.1"):
        TroubleSpec(**{**NONE, "png": 0.6, "webp": 0.5})
