"""The shape of the shared space: distances by hand, agreements against slow twins."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from rankclip.errors import DataError
from rankclip.evaluation import geometry, metrics
from rankclip.evaluation.embedded import Embedded
from tests.unit.evaluation.splits import captioned, directions, numbered


def pairs(images: Tensor, texts: Tensor) -> Embedded:
    return captioned(images, numbered([1] * len(images)), texts)


def values(embedded: Embedded) -> dict[str, float]:
    return {one.metric: one.value for one in geometry.measure(embedded)}


AXES = torch.eye(3)


def test_distances_of_three_pairs_are_those_found_by_hand() -> None:
    images, texts = AXES, torch.stack([AXES[0], AXES[2], AXES[1]])
    found = values(pairs(images, texts))
    assert found["alignment"] == pytest.approx((0 + 2 + 2) / 3)
    assert found["modality_gap"] == pytest.approx(0.0, abs=1e-7)
    assert found["image_uniformity"] == pytest.approx(-4.0, abs=1e-6)  # all at a squared distance of 2
    # of the pairs (image i, text j < i): (1, 0) and (2, 0) at 2, (2, 1) at 0
    assert found["uniformity"] == pytest.approx(math.log((2 * math.exp(-4) + 1) / 3), abs=1e-6)


def test_the_gap_is_the_distance_between_the_means() -> None:
    images, texts = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[-1.0, 0.0], [0.0, -1.0]])
    assert geometry.modality_gap(images, texts) == pytest.approx(math.sqrt(2))


def test_points_spread_over_the_sphere_are_more_uniform_than_points_on_a_cap() -> None:
    spread = functional.normalize(directions(200, 16, 0), dim=1)
    cap = functional.normalize(directions(200, 16, 0) + 4 * torch.eye(16)[0], dim=1)
    assert geometry.uniformity(spread, spread) < geometry.uniformity(cap, cap) < 0


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_uniformity_is_the_mean_over_pairs_however_many_rows_are_taken_at_once(rows: int) -> None:
    one, other = (functional.normalize(directions(11, 4, seed), dim=1) for seed in (0, 1))
    kernel = [math.exp(-2 * float((one[i] - other[j]).square().sum())) for i in range(11) for j in range(i)]
    expected = math.log(sum(kernel) / len(kernel))
    assert geometry.uniformity(one, other, rows) == pytest.approx(expected, abs=1e-6)


AGREEMENTS = ("in_modal_tau", "cross_modal_tau", "in_modal_top10", "cross_modal_top10", "neighbour_agreement")


def test_texts_that_lie_as_their_images_do_agree_wholly() -> None:
    rows = directions(30, 8, 0)
    found = values(pairs(rows, rows))
    assert [found[name] for name in AGREEMENTS] == pytest.approx([1.0] * 5)
    assert found["alignment"] == pytest.approx(0.0, abs=1e-9)


def test_a_gap_between_modalities_that_rank_alike_does_not_hide_their_agreement() -> None:
    rows = directions(30, 8, 0)
    padded = torch.cat([rows, torch.zeros(30, 1)], dim=1)
    turned = torch.cat([-rows, torch.zeros(30, 1)], dim=1)  # the opposite side of the sphere
    found = values(pairs(padded, turned))
    assert found["alignment"] == pytest.approx(4.0)
    assert [found[name] for name in AGREEMENTS] == pytest.approx([1.0] * 5)


def test_random_modalities_agree_by_chance_alone() -> None:
    found = values(pairs(directions(200, 32, 0), directions(200, 32, 1)))
    assert abs(found["in_modal_tau"]) < 0.03
    assert abs(found["cross_modal_tau"]) < 0.03
    assert found["in_modal_top10"] == pytest.approx(10 / 199, abs=0.03)
    assert found["neighbour_agreement"] < 0.05


def test_a_model_that_tells_nothing_apart_does_not_agree_with_itself() -> None:
    same = torch.ones(40, 4)
    found = values(pairs(same, same))
    assert [found[name] for name in AGREEMENTS] == [0.0] * 5


def test_agreements_equal_their_slow_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "ROWS", 5)
    embedded = pairs(directions(17, 4, 0), directions(17, 4, 1))
    images, texts = embedded.images, embedded.texts([said[0] for said in embedded.captions])
    matrices = {
        "in_modal": (images @ images.T, texts @ texts.T),
        "cross_modal": (images @ texts.T, texts @ images.T),
    }
    found = {one.metric: one for one in geometry.measure(embedded)}
    for name, (one, other) in matrices.items():
        taus, shared = [], []
        for i in range(17):
            others = [j for j in range(17) if j != i]
            taus.append(stats.kendalltau(one[i, others].numpy(), other[i, others].numpy()).statistic)
            best = [
                set(sorted(others, key=lambda j: -row[j])[:10])
                for row in (one[i].tolist(), other[i].tolist())
            ]
            shared.append(len(best[0] & best[1]) / 10)
        assert found[f"{name}_tau"].value == pytest.approx(sum(taus) / 17)
        assert found[f"{name}_top10"].value == pytest.approx(sum(shared) / 17)
    items = found["neighbour_agreement"].items
    assert items is not None
    for target, scores in ((items.prediction, images @ images.T), (items.target, texts @ texts.T)):
        assert target.tolist() == scores.fill_diagonal_(-2).argmax(dim=1).tolist()
    assert items.value.tolist() == (items.target == items.prediction).double().tolist()


def test_the_order_of_the_pairs_does_not_matter() -> None:
    images, texts = directions(40, 6, 0), directions(40, 6, 1) + directions(40, 6, 0)
    moved = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    one, other = values(pairs(images, texts)), values(pairs(images[moved], texts[moved]))
    for name, value in one.items():
        if name != "uniformity":  # of images with the texts before them, as CyCLIP has it
            assert other[name] == pytest.approx(value, abs=1e-6), name


def test_of_several_captions_the_first_is_an_images_text() -> None:
    images = directions(12, 4, 0)
    texts = directions(24, 4, 1)
    texts[::2] = images
    found = values(captioned(images, numbered([2] * 12), texts))
    assert found["alignment"] == pytest.approx(0.0, abs=1e-9)


def test_so_few_pairs_that_every_place_is_shared_have_no_overlap_of_ten() -> None:
    found = values(pairs(directions(11, 4, 0), directions(11, 4, 1)))
    assert "in_modal_top10" not in found
    assert "in_modal_tau" in found
    with pytest.raises(DataError, match="benchmark made has 2 images; geometry needs 3"):
        values(pairs(directions(2, 4, 0), directions(2, 4, 1)))


def test_an_image_without_a_caption_is_refused_by_name() -> None:
    embedded = captioned(directions(3, 4, 0), [("a",), (), ("b",)], directions(2, 4, 1))
    with pytest.raises(DataError, match="image s1 of benchmark made, split test, has no caption"):
        geometry.measure(embedded)
