"""The studies of published lists are complete but for the list, and their figures fit together."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import pytest

from rankclip import composition
from rankclip.config import Study
from rankclip.data.ingestion.selection import Drawn
from rankclip.data.ingestion.spec import Subset
from rankclip.data.sources.expected import Expected
from rankclip.data.sources.listed import ListSpec

ROOT = Path(__file__).parents[4]
LISTS = {"cc3m": 3_318_333, "cc12m": 12_423_374, "table": 15_388_848}
STUDIES = ("cc3m-rn50", "cc3m-500k-rn50", "cc3m-vitb32", "cc12m-vitb16", "yfcc15m-rn50")
EPOCHS = dict(zip(STUDIES, (30, 30, 32, 35, 32), strict=True))

each_study = pytest.mark.parametrize("name", STUDIES)


@functools.cache
def study(name: str) -> Study:
    return composition.compose(name, [f"source.path={ROOT / 'README.md'}"], ROOT / "conf")


def listed(name: str) -> tuple[ListSpec, Expected]:
    """The source of a study, and what is expected of it."""
    source = study(name).source
    assert isinstance(source, ListSpec)
    assert source.expected is not None
    return source, source.expected


@each_study
def test_the_list_is_known_by_its_rows_and_by_what_others_got_of_it(name: str) -> None:
    source, expected = listed(name)
    of = LISTS[source.name] if source.subset is None else source.subset.pairs
    low, high = expected.survival
    assert expected.rows == of
    assert low <= expected.pairs / expected.rows <= high
    assert len(expected.origin) > 20
    assert "ask whoever" not in source.licence


@each_study
def test_training_lasts_the_epochs_of_its_recipe_at_the_pairs_expected(name: str) -> None:
    chosen, (_, expected) = study(name), listed(name)
    an_epoch = expected.pairs // chosen.train.batch_size
    assert chosen.train.steps == EPOCHS[name] * an_epoch
    assert chosen.train.validate_every == an_epoch
    assert chosen.train.warmup_steps < chosen.train.steps / 4


@each_study
def test_ranking_is_compared_with_clip_and_a_control_over_seeds_and_nothing_is_removed(
    name: str,
) -> None:
    chosen = study(name)
    assert list(chosen.arms) == ["clip", "rankclip", "rankclip_shuffled"]
    assert (chosen.study.claims, len(chosen.study.seeds)) == (True, 3)
    assert chosen.curate.remove == ()


def test_the_keys_of_the_half_million_are_those_that_the_rule_gives() -> None:
    subset = listed("cc3m-500k-rn50")[0].subset
    assert subset is not None
    drawn = Drawn(subset, LISTS["cc3m"])
    assert drawn.record() == {"pairs": 500_000, "of": LISTS["cc3m"], "sha256": subset.sha256}


@pytest.mark.parametrize("data", ["cc3m", "list", "cc3m-wds", "webdataset"])
def test_the_recipe_of_the_half_million_goes_with_other_data(tmp_path: Path, data: str) -> None:
    (tmp_path / "cc3m-train-0000.tar").touch()
    of = f"source.place={tmp_path}" if "w" in data else f"source.path={ROOT / 'README.md'}"
    chosen = composition.compose("cc3m-500k-rn50", [f"data={data}", of], ROOT / "conf")
    assert chosen.train.steps == study("cc3m-500k-rn50").train.steps
    assert getattr(chosen.source, "subset", None) is None
    assert chosen.source.expected is None or chosen.source.expected.rows != 500_000


def test_the_rule_of_a_subset_takes_a_few_lines_to_follow() -> None:
    lots = sorted((hashlib.blake2b(f"7/{row}".encode(), digest_size=8).digest(), row) for row in range(999))
    keys = "".join(f"{row:09d}\n" for row in sorted(row for _, row in lots[:100]))
    drawn = Drawn(Subset(pairs=100, seed=7), 999)
    assert drawn.record()["sha256"] == hashlib.sha256(keys.encode()).hexdigest()
