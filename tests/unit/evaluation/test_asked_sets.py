"""Which benchmarks a person means."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankclip.data.benchmarks import places
from rankclip.errors import InputError
from rankclip.evaluation import asked_sets
from tests.unit.evaluation.known import Known


@pytest.fixture(autouse=True)
def nothing_public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of public sets."""
    monkeypatch.setenv(places.PLACE, str(tmp_path / "public"))
    return tmp_path / "public"


def test_sets_of_the_study_and_folders_are_found_in_the_order_asked(known: Known) -> None:
    folder = known.folder / "wds_pairs"
    found = asked_sets.find([str(folder), "letters"], known.folder)
    assert list(found.folders.items()) == [("pairs", folder), ("letters", known.folder / "wds_letters")]
    assert found.missing == {}


def test_the_folder_one_is_in_is_found_by_its_name(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(known.folder / "wds_pairs" / "test")
    assert asked_sets.find(["../"], known.folder).folders == {"pairs": known.folder / "wds_pairs"}


def test_a_folder_that_is_no_set_is_told_before_anything_is_opened(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(known.folder)
    said = r"^wds_pairs/test has no test/; give a folder that holds classnames\.txt and test/$"
    with pytest.raises(InputError, match=said):
        asked_sets.find(["wds_pairs/test"], None)
    with pytest.raises(InputError, match=r"'wds_pairs' is unknown; did you mean \./wds_pairs\?.*there are$"):
        asked_sets.find(["wds_pairs"], None)


def test_what_is_not_here_is_named_with_the_remedy(known: Known) -> None:
    found = asked_sets.find(["letters", "imagenet1k", "sugarcrepe"], known.folder)
    assert list(found.folders) == ["letters"]
    assert "rankclip data benchmarks pull imagenet1k" in found.missing["imagenet1k"]
    assert "coco/val2017" in found.missing["sugarcrepe"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["leters"], r"'leters' is unknown; did you mean letters\?.*there are letters, pairs"),
        (["imagenet"], r"did you mean imagenet1k\?"),
        (["letters", "letters"], "letters is asked for twice"),
        (["./nothing"], "./nothing is no folder"),
        (["vtab/cifar10"], r"vtab/cifar10 is no folder; did you mean vtab-cifar10\?"),
        (["letters:val"], r"'letters:val' is unknown; did you mean letters\? it is always the test split"),
    ],
)
def test_what_is_meant_is_asked_in_a_line(known: Known, names: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        asked_sets.find(names, known.folder)
    assert "\n" not in str(raised.value)
