"""The recipes of conf/train: whole epochs of their data, and those of RankCLIP as they are told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankclip import composition
from rankclip.training.optim import learning_rates
from rankclip.training.spec import TrainSpec

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
LIST = f"source.path={ROOT / 'README.md'}"
STUDIES = {
    "cc3m-500k-rn50": "cc3m-500k-rn50",
    "cc3m": "cc3m-rn50",
    "rankclip": "cc3m-rn50",
    "cc12m": "cc12m-vitb16",
    "yfcc15m": "yfcc15m-rn50",
}
"""A study of the data that recipes with names that begin so are for."""

RECIPES = [name for name in composition.names("train", CONF) if name != "shapes"]


def recipe(name: str) -> tuple[TrainSpec, int]:
    """The recipe and the steps of an epoch of its data."""
    study = next(study for start, study in STUDIES.items() if name.startswith(start))
    chosen = composition.compose(study, [LIST, f"train={name}"], CONF)
    assert chosen.source.expected is not None
    return chosen.train, chosen.source.expected.pairs // chosen.train.batch_size


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_whole_epochs_of_its_data_and_is_validated_after_each(name: str) -> None:
    train, epoch = recipe(name)
    assert train.steps % epoch == 0
    assert train.validate_every == epoch
    assert 0 < train.warmup_steps < 0.2 * train.steps


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_in_its_file_what_it_is_and_where_its_numbers_are_from(name: str) -> None:
    comment = [line for line in (CONF / "train" / f"{name}.yaml").read_text().splitlines() if line[:1] == "#"]
    assert len(comment) >= 1
    assert all(line.startswith("# ") and len(line) <= 112 for line in comment)


def test_the_released_recipe_of_rankclip_has_no_warm_up_and_no_last_epoch() -> None:
    train, epoch = recipe("rankclip-released")
    assert (train.schedule_ahead, train.steps) == (epoch, 64 * epoch)
    rates = [learning_rates(train, step)[0] for step in (0, train.steps - epoch, train.steps - 1)]
    assert rates == pytest.approx([5e-4, 0.0, 0.0], rel=1e-2, abs=1e-18)


def test_the_mended_recipe_of_rankclip_is_the_released_one_but_for_its_schedule() -> None:
    (train, epoch), (released, _) = recipe("rankclip"), recipe("rankclip-released")
    assert train.dump() == released.dump() | {"schedule_ahead": 0}
    assert learning_rates(train, 0)[0] == pytest.approx(5e-8)
    assert learning_rates(train, train.steps - epoch)[0] > 1e-7
