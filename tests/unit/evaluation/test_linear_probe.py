"""Linear probes on features whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rankclip.errors import DataError, InputError
from rankclip.evaluation import linear_probe
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.logistic import Regression
from rankclip.evaluation.scores import Measured

CLASSES = ("ox", "ass", "owl", "hen", "cat", "dog")


def no_texts(texts: Sequence[str]) -> Tensor:
    raise AssertionError(f"a probe asked for {len(texts)} texts")


def split(name: str, labels: Tensor, features: Tensor, classnames: tuple[str, ...] = CLASSES) -> Embedded:
    keys = tuple(f"s{number}" for number in range(len(labels)))
    return Embedded(
        "beasts", name, "classification", name, keys, features, labels, (), classnames, ("a {c}",), no_texts
    )


def beasts(count: int, spread: float, seed: int = 0, name: str = "train", dimensions: int = 16) -> Embedded:
    """Features around one centre a class; the centres are the same for every split."""
    centres = 5 * torch.randn(6, dimensions, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(count) % 6
    drawing = torch.Generator().manual_seed(seed)
    return split(name, labels, centres[labels] + spread * torch.randn(count, dimensions, generator=drawing))


def values(measured: list[Measured]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for one in measured:
        found.setdefault(one.protocol, {})[one.metric] = one.value
    return found


def test_classes_that_a_plane_parts_are_told_apart_by_every_protocol() -> None:
    found = values(linear_probe.measure(beasts(60, 0.1), beasts(30, 0.1, 1, "test"), shots=(2,)))
    ones = dict.fromkeys(("top1", "mean_per_class", "top3", "top5"), 1.0)
    protocols = ("linear_probe_cyclip", "linear_probe_logistic", "linear_probe_2shot")
    assert found == dict.fromkeys(protocols, ones)


def test_features_that_say_nothing_score_chance() -> None:
    drawing = torch.Generator().manual_seed(5)
    labels = torch.arange(1200) % 6
    train, test = (split(name, labels, torch.randn(1200, 8, generator=drawing)) for name in ("train", "test"))
    for metrics in values(linear_probe.measure(train, test, shots=(2,))).values():
        for metric, chance in {"top1": 1 / 6, "mean_per_class": 1 / 6, "top3": 1 / 2, "top5": 5 / 6}.items():
            assert metrics[metric] == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 1200) ** 0.5)


def test_predictions_depend_on_no_label_of_the_test_split() -> None:
    train, test = beasts(30, 4), beasts(60, 4, 1, "test")
    turned = replace(test, labels=torch.full((60,), 3))
    for ours, theirs in zip(
        linear_probe.measure(train, test), linear_probe.measure(train, turned), strict=True
    ):
        if ours.items is not None and theirs.items is not None:
            assert torch.equal(ours.items.prediction, theirs.items.prediction)


def test_a_chosen_penalty_beats_none_where_most_dimensions_are_noise() -> None:
    train, test = beasts(120, 20, dimensions=100), beasts(600, 20, 1, "test", dimensions=100)
    chosen = linear_probe.logistic_regression(train, test)[0].value
    labels = train.labels
    assert labels is not None
    free = Regression(train.features, labels, 6).fit(1e-6).logits(test.features)
    assert chosen > float((free.argmax(dim=1) == test.labels).double().mean())


def test_more_shots_help() -> None:
    train, test = beasts(300, 6), beasts(600, 6, 1, "test")
    scores = [linear_probe.few_shot(train, test, k)[0].value for k in (1, 4, 16)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.1


def test_a_few_shot_score_is_the_mean_over_its_draws() -> None:
    train, test = beasts(60, 6), beasts(60, 6, 1, "test")
    one_by_one = [linear_probe.few_shot(train, test, 2, seeds=(seed,))[0].value for seed in (0, 1, 2)]
    assert len(set(one_by_one)) > 1
    together = linear_probe.few_shot(train, test, 2)[0]
    assert together.value == pytest.approx(sum(one_by_one) / 3)
    assert together.items is not None
    assert float(together.items.value.mean()) == together.value


def test_a_class_that_neither_split_has_is_let_be() -> None:
    train, test = beasts(60, 0.1), beasts(30, 0.1, 1, "test")
    names = (*CLASSES, "yak")
    found = linear_probe.measure(
        replace(train, classnames=names), replace(test, classnames=names), shots=(2,)
    )
    assert {one.value for one in found} == {1.0}


def without(embedded: Embedded, label: int) -> Embedded:
    assert embedded.labels is not None
    kept = embedded.labels != label
    return replace(embedded, labels=embedded.labels[kept], features=embedded.features[kept])


@pytest.mark.parametrize(
    ("train", "says"),
    [
        (
            without(beasts(60, 1), 3),
            r"class 'hen' \(label 3\) of benchmark beasts is in split test but not in",
        ),
        (beasts(6, 1), "has one image a class, so none to choose a penalty on"),
        (replace(beasts(60, 1), labels=None), "beasts has no labels"),
        (replace(beasts(60, 1), digest="test"), "hold the same images"),
        (replace(beasts(60, 1), classnames=CLASSES[::-1]), r"not the same classes \(6 and 6\)"),
    ],
)
def test_splits_that_make_no_probe_are_refused(train: Embedded, says: str) -> None:
    with pytest.raises(DataError, match=says):
        linear_probe.logistic_regression(train, beasts(30, 1, name="test"))


def test_a_probe_learns_on_the_train_split_alone() -> None:
    with pytest.raises(ValueError, match="on split train alone, not on val of beasts"):
        linear_probe.cyclip(beasts(60, 1, name="val"), beasts(30, 1, name="test"))


def test_more_shots_than_a_class_has_images_are_refused() -> None:
    train, test = beasts(60, 1), beasts(30, 1, name="test")
    with pytest.raises(DataError, match=r"class 'ox' .* has 10 images in split train, but 10 shots and one"):
        linear_probe.few_shot(train, test, 10)
    with pytest.raises(InputError, match="probe of 0 images a class"):
        linear_probe.few_shot(train, test, 0)


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    count=st.integers(0, 6),
    seed=st.integers(0, 9),
)
def test_a_draw_takes_so_many_of_each_class_and_leaves_all_others(
    labels: list[int], count: int, seed: int
) -> None:
    given_labels = torch.tensor(labels)
    taken, rest = linear_probe.drawn(
        given_labels, torch.full((5,), count), torch.Generator().manual_seed(seed)
    )
    assert sorted([*taken.tolist(), *rest.tolist()]) == list(range(len(labels)))
    sizes = given_labels.bincount(minlength=5)
    assert given_labels[taken].bincount(minlength=5).tolist() == sizes.clamp_max(count).tolist()
