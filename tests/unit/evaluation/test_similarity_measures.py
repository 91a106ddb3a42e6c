"""Spearman's correlation with what people say, and with the truth of the drawn world."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from rankclip.data.benchmarks.crisscrossed import Kind, Ratings
from rankclip.evaluation import metrics, similarity
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Measured
from rankclip.evaluation.similarity import ALL_PAIRS, LATENTS, sampled_spearman
from tests.unit.evaluation.splits import captioned, directions, numbered


def made(images: int = 30, dimensions: int = 8, seed: int = 0) -> Embedded:
    """Images and two captions each, all in random directions."""
    every = directions(3 * images, dimensions, seed)
    return captioned(every[:images], numbered([2] * images), every[images:])


def texts(embedded: Embedded) -> Tensor:
    return embedded.texts([caption for said in embedded.captions for caption in said])


def rated(kind: Kind, queries: Tensor, candidates: Tensor, pairs: int, seed: int) -> Ratings:
    """Random pairs, rated by a rising function of their product."""
    rng = np.random.default_rng(seed)
    query, candidate = rng.integers(0, len(queries), pairs), rng.integers(0, len(candidates), pairs)
    score = ((queries[query] * candidates[candidate]).sum(dim=1).double() + 1).pow(3).numpy()
    return Ratings(kind, query, candidate, score)


def values(measured: list[Measured]) -> dict[tuple[str, str], float]:
    return {(one.metric, one.protocol): one.value for one in measured}


def test_a_model_that_finds_alike_what_people_do_scores_one_for_every_kind() -> None:
    embedded = made()
    said = texts(embedded)
    kinds: dict[Kind, tuple[Tensor, Tensor]] = {
        "image_image": (embedded.images, embedded.images),
        "text_text": (said, said),
        "image_text": (said, embedded.images),  # captions ask for images, as in the published table
    }
    ratings = [rated(kind, *rows, pairs=200, seed=1) for kind, rows in kinds.items()]
    found = values(similarity.measure(embedded, ratings))
    assert len(found) == 9
    for (metric, _), value in found.items():
        assert value == pytest.approx(0.0 if metric.endswith("_sd") else 1.0, abs=1e-9)


def test_ratings_of_other_pairs_than_those_named_do_not_agree() -> None:
    embedded = made()
    right = rated("image_text", texts(embedded), embedded.images, pairs=400, seed=1)
    moved = Ratings("image_text", np.roll(right.query, 1), right.candidate, right.score)
    assert abs(values(similarity.measure(embedded, [moved]))["image_text_spearman", ALL_PAIRS]) < 0.2


def test_over_all_pairs_it_is_the_correlation_that_scipy_finds() -> None:
    embedded = made()
    ratings = rated("image_image", embedded.images, embedded.images, pairs=150, seed=2)
    noisy = np.round(ratings.score + np.random.default_rng(0).normal(0, 1, 150), 1)
    found = values(
        similarity.measure(embedded, [Ratings("image_image", ratings.query, ratings.candidate, noisy)])
    )
    model = (embedded.images[ratings.query] * embedded.images[ratings.candidate]).sum(dim=1)
    expected = stats.spearmanr(model.numpy(), noisy).statistic
    assert found["image_image_spearman", ALL_PAIRS] == pytest.approx(expected, abs=1e-12)


def slow_sampled(model: Tensor, human: Tensor, query: Tensor, draws: int) -> tuple[float, float]:
    """Half of the queries, one pair of each, again and again; mean and sd over samples."""
    rng = np.random.default_rng(123)
    of_query = [np.flatnonzero(query.numpy() == one) for one in np.unique(query)]
    found = []
    for _ in range(draws):
        chosen = rng.permutation(len(of_query))[: len(of_query) // 2]
        taken = [rng.choice(of_query[one]) for one in chosen]
        found.append(stats.spearmanr(model[taken].numpy(), human[taken].numpy()).statistic)
    return float(np.mean(found)), float(np.std(found, ddof=1))


def test_samples_are_of_half_of_the_queries_and_one_pair_each() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randint(40, (300,), generator=generator)
    human = torch.rand(300, generator=generator).double() + query / 10  # queries differ: their pairs depend
    model = human + torch.rand(300, generator=generator)
    mean, sd = slow_sampled(model, human, query, draws=1500)
    found = sampled_spearman(model, human, query)
    assert float(found.mean()) == pytest.approx(mean, abs=5 * sd / 1000**0.5)
    assert float(found.std()) == pytest.approx(sd, rel=0.12)
    assert float(stats.spearmanr(model, human).statistic) != pytest.approx(mean, abs=0.001)


def test_every_model_is_measured_on_the_same_samples() -> None:
    query, human = torch.arange(40) // 2, torch.rand(40, generator=torch.Generator().manual_seed(1))
    model = torch.rand(40, generator=torch.Generator().manual_seed(2))
    found = sampled_spearman(model, human, query, seed=3)
    assert torch.equal(sampled_spearman(model, human, query, seed=3), found)
    torch.testing.assert_close(sampled_spearman(-model, human, query, seed=3), -found)
    assert not torch.equal(sampled_spearman(model, human, query, seed=4), found)


def test_memory_is_bounded_without_a_change_of_the_samples_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query, human = torch.arange(40) // 2, torch.rand(40, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(similarity, "AT_ONCE", 60)  # three samples of 20 queries
    found = sampled_spearman(human, human, query, draws=10)
    torch.testing.assert_close(found, torch.ones(10, dtype=torch.float64))


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="3 queries are too few"):
        sampled_spearman(torch.rand(6), torch.rand(6), torch.arange(6) % 3)


def test_a_model_that_knows_the_latents_scores_one_and_a_random_one_near_none() -> None:
    truth = made(40)
    latents, gains = truth.images, truth.images @ texts(truth).T
    found = values(similarity.measure_true(truth, gains, latents))
    assert {metric for metric, _ in found} == {
        "image_text_spearman", "text_image_spearman", "image_image_spearman"
    }  # fmt: skip
    assert {protocol for _, protocol in found} == {LATENTS}
    assert list(found.values()) == pytest.approx([1.0] * 3, abs=1e-3)  # products of float32, summed otherwise
    other = values(similarity.measure_true(made(40, seed=9), gains, latents))
    assert max(abs(value) for value in other.values()) < 0.15


def test_correlations_with_the_truth_are_means_over_queries_of_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded, other = made(9), made(9, seed=5)
    gains = (other.images @ texts(other).T * 3).round()  # truth with ties
    monkeypatch.setattr(metrics, "ROWS", 4)
    measured = {one.metric: one for one in similarity.measure_true(embedded, gains, other.images)}
    scores = (embedded.images @ texts(embedded).T).numpy()
    by_row = [stats.spearmanr(scores[i], gains[i].numpy()).statistic for i in range(9)]
    items = measured["image_text_spearman"].items
    assert items is not None
    assert items.value.tolist() == pytest.approx(by_row, abs=1e-12)
    by_column = [stats.spearmanr(scores[:, j], gains[:, j].numpy()).statistic for j in range(18)]
    assert measured["text_image_spearman"].value == pytest.approx(np.nan_to_num(by_column).mean(), abs=1e-12)
    alike, true = ((one.images @ one.images.T).numpy() for one in (embedded, other))
    without_own = [stats.spearmanr(np.delete(alike[i], i), np.delete(true[i], i)).statistic for i in range(9)]
    assert measured["image_image_spearman"].value == pytest.approx(np.mean(without_own), abs=1e-12)


def test_what_is_not_known_is_not_measured() -> None:
    assert similarity.measure_true(made(), None, None) == []
    assert [one.metric for one in similarity.measure_true(made(), None, made().images)] == [
        "image_image_spearman"
    ]
