"""Diagnostics, against dense autograd on the whole batch, and on two real workers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from scipy.stats import kendalltau
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from rankclip.objectives.batch import Batch, gathered
from rankclip.objectives.diagnostics import diagnose
from rankclip.objectives.options import CROSS_MODAL, IN_MODAL, Direction, Matrix, Teacher
from rankclip.objectives.pairwise import contrastive, cyclic, sigmoid
from rankclip.objectives.ranking import consistency
from rankclip.objectives.rows import Rows
from rankclip.objectives.sampled import Sample
from tests import forked

N, D, ALPHA = 24, 6, 9.0


@dataclass(frozen=True)
class Ranking:
    """A rank term as an objective has it: callable, with the pair that it compares."""

    pair: tuple[Matrix, Matrix]
    teacher: Teacher = "other_modality"
    direction: Direction = "both"

    def __call__(self, rows: Rows) -> Tensor:
        return consistency(rows, self.pair, teacher=self.teacher, direction=self.direction)


TERMS = {"rank_cross": Ranking(CROSS_MODAL), "contrastive": contrastive, "rank_in": Ranking(IN_MODAL)}
CONTROLS = {
    "rank_cross": Ranking(CROSS_MODAL, teacher="shuffled"),
    "rank_in": Ranking(IN_MODAL, teacher="shuffled"),
}


def vectors(seed: int, n: int = N, d: int = D) -> Tensor:
    """Unit rows."""
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(n, d, generator=generator, dtype=torch.float64) + 0.3, dim=1)


def batch(n: int = N, rows: slice = slice(None)) -> Batch:
    image = vectors(0, n)
    return gathered(
        image[rows],
        normalize(image + vectors(1, n), dim=1)[rows],
        torch.tensor(ALPHA, dtype=torch.float64),
        shuffle=torch.randperm(n, generator=torch.Generator().manual_seed(2)),
        latents=vectors(3, n)[rows],
    )


def dense(name: str, image: Tensor, text: Tensor, log_alpha: Tensor, shuffle: Tensor | None) -> Tensor:
    """A term by its formula, with all N x N scores at hand."""
    alpha = log_alpha.exp()
    S, A, B = alpha * image @ text.T, alpha * image @ image.T, alpha * text @ text.T
    if name == "contrastive":
        own = torch.arange(len(S))
        return (cross_entropy(S, own) + cross_entropy(S.T, own)) / 2
    pair = (A, B) if name == "rank_in" else (S, S.T)
    teachers = pair if shuffle is None else (pair[1][shuffle][:, shuffle], pair[0][shuffle][:, shuffle])
    teachers = teachers if shuffle is not None else pair[::-1]
    likelihoods = []
    for student, teacher in zip(pair, teachers, strict=True):
        ranked = student.gather(1, teacher.argsort(dim=1, descending=True, stable=True))
        likelihoods.append((ranked.flip(1).logcumsumexp(1).flip(1) - ranked).mean())
    return sum(likelihoods) / 2


def pull(name: str, of: Batch, shuffled: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient on embeddings before they are normalised, and on the logit scale, by dense autograd."""
    image, text = (end.detach().clone().requires_grad_() for end in (of.images, of.texts))
    log_alpha = of.alpha.detach().log().requires_grad_()
    value = dense(
        name, normalize(image, dim=1), normalize(text, dim=1), log_alpha, of.shuffle if shuffled else None
    )
    *ends, scale = torch.autograd.grad(value, [image, text, log_alpha])
    return value.detach(), torch.stack(ends), scale


def cosine(first: Tensor, second: Tensor) -> float:
    return torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0).item()


def test_value_and_gradients_are_those_of_the_dense_formulas() -> None:
    whole = batch()
    found = diagnose(TERMS, CONTROLS, whole)
    for name in TERMS:
        value, ends, scale = pull(name, whole)
        assert found[f"{name}/value"] == pytest.approx(value.item(), rel=1e-12)
        assert found[f"{name}/gradient_norm"] == pytest.approx(ends.norm().item(), rel=1e-10)
        assert found[f"{name}/logit_scale_gradient"] == pytest.approx(scale.item(), rel=1e-10)


def test_cosines_are_those_with_the_contrastive_term_and_with_the_own_control() -> None:
    whole = batch()
    found = diagnose(TERMS, CONTROLS, whole)
    for name in ("rank_cross", "rank_in"):
        own, other = pull(name, whole)[1], pull("contrastive", whole)[1]
        shuffled = pull(name, whole, shuffled=True)[1]
        assert found[f"{name}/cosine_contrastive"] == pytest.approx(cosine(own, other), abs=1e-10)
        assert found[f"{name}/cosine_shuffled"] == pytest.approx(cosine(own, shuffled), abs=1e-10)
        assert abs(found[f"{name}/cosine_shuffled"]) < 0.95
    assert not {"contrastive/cosine_contrastive", "contrastive/cosine_shuffled"} & found.keys()


def test_a_term_without_a_pair_has_no_ranking() -> None:
    found = diagnose({"cyclic_in": lambda rows: cyclic(rows, IN_MODAL)}, {}, batch())
    assert found.keys() == {
        "cyclic_in/value",
        "cyclic_in/gradient_norm",
        "cyclic_in/logit_scale_gradient",
        "cyclic_in/cosine_contrastive",
        "image/in_modal_cosine",
        "text/in_modal_cosine",
    }
    assert found["cyclic_in/logit_scale_gradient"] == 0.0


def smoothed(rows: Rows) -> Tensor:
    return contrastive(rows, label_smoothing=0.5)


def test_the_reference_is_plain_contrastive_whatever_the_objective_has() -> None:
    whole = batch()
    expected = cosine(pull("rank_in", whole)[1], pull("contrastive", whole)[1])
    for others in ({}, {"contrastive": smoothed}, {"contrastive": contrastive}):
        found = diagnose({**others, "rank_in": TERMS["rank_in"]}, {}, whole)
        assert found["rank_in/cosine_contrastive"] == pytest.approx(expected, abs=1e-10)
        assert "contrastive/cosine_contrastive" not in found
    values = [diagnose({"contrastive": term}, {}, whole) for term in (smoothed, contrastive)]
    assert values[0]["contrastive/value"] != values[1]["contrastive/value"]


@pytest.mark.parametrize("others", [{}, TERMS])
def test_a_sigmoid_term_gets_its_bias(others: dict[str, Callable[[Rows], Tensor]]) -> None:
    parameter = torch.tensor(-4.0, dtype=torch.float64, requires_grad=True)
    whole = replace(batch(), bias=parameter.square() / -2)
    found = diagnose({"sigmoid": sigmoid, **others}, CONTROLS if others else {}, whole)
    image, text = (end.detach().clone().requires_grad_() for end in (whole.images, whole.texts))
    log_alpha = whole.alpha.log().requires_grad_()
    signs = 2 * torch.eye(N, dtype=torch.float64) - 1
    logits = log_alpha.exp() * normalize(image, dim=1) @ normalize(text, dim=1).T - 8.0
    value = -logsigmoid(signs * logits).sum() / N
    *ends, scale = torch.autograd.grad(value, [image, text, log_alpha])
    assert found["sigmoid/value"] == pytest.approx(value.item(), rel=1e-12)
    assert found["sigmoid/logit_scale_gradient"] == pytest.approx(scale.item(), rel=1e-10)
    expected = cosine(torch.stack(ends), pull("contrastive", whole)[1])
    assert found["sigmoid/cosine_contrastive"] == pytest.approx(expected, abs=1e-10)
    assert {name.split("/")[0] for name in found} >= others.keys()
    assert parameter.grad is None
    whole.bias.backward()  # the step's own graph is still whole


def test_deciles_are_shares_of_the_gradient_on_the_scores() -> None:
    whole = batch()
    found = diagnose({"rank_in": TERMS["rank_in"]}, {}, whole)
    falls = torch.zeros(10, dtype=torch.float64)
    for student, teacher in ((whole.images, whole.texts), (whole.texts, whole.images)):
        ranked = (ALPHA * student @ student.T).gather(1, (teacher @ teacher.T).argsort(descending=True))
        ranked = ranked.detach().requires_grad_()
        (ranked.flip(1).logcumsumexp(1).flip(1) - ranked).sum().backward()
        for place, amount in enumerate(ranked.grad.abs().sum(0)):
            falls[10 * place // N] += amount
    shares = [found[f"rank_in/decile_{tenth}"] for tenth in range(1, 11)]
    assert shares == pytest.approx((falls / falls.sum()).tolist(), abs=1e-12)
    assert max(shares) > 2 * min(shares)


def test_deciles_of_one_direction_are_those_of_its_student_alone() -> None:
    @dataclass(frozen=True)
    class OneWay(Ranking):
        def __call__(self, rows: Rows) -> Tensor:
            return consistency(rows, self.pair, direction="image_to_text", top_k=2)

    found = diagnose({"rank_in": OneWay(IN_MODAL)}, {}, batch())
    assert found["rank_in/decile_1"] > 0.3
    assert sum(found[f"rank_in/decile_{tenth}"] for tenth in range(1, 11)) == pytest.approx(1.0)


def tau(students: Tensor, teachers: Tensor) -> float:
    """Mean agreement of rows without their own columns."""
    others = ~torch.eye(N, dtype=torch.bool)
    pairs = zip(students, teachers, others, strict=True)
    return sum(kendalltau(one[keep], two[keep]).statistic for one, two, keep in pairs) / N


@pytest.mark.parametrize("teacher", ["other_modality", "shuffled", "oracle", "soft", "consensus"])
@pytest.mark.parametrize("direction", ["both", "image_to_text", "text_to_image"])
def test_agreement_is_that_of_each_student_with_what_taught_it(
    teacher: Teacher, direction: Direction
) -> None:
    others = (vectors(4), vectors(5))
    whole = replace(batch(), averaged=others, described=vectors(6).unsqueeze(1))
    found = diagnose({"rank_in": Ranking(IN_MODAL, teacher, direction)}, {}, whole)
    A, B = whole.images @ whole.images.T, whole.texts @ whole.texts.T
    of_images, of_texts = {
        "other_modality": (A, B),
        "shuffled": tuple(of[whole.shuffle][:, whole.shuffle] for of in (A, B)),
        "oracle": (whole.latents @ whole.latents.T,) * 2,
        "soft": tuple(of @ of.T for of in others),
        "consensus": (A, vectors(6) @ vectors(6).T),
    }[teacher]
    taus = {"image_to_text": tau(A, of_texts), "text_to_image": tau(B, of_images)}
    expected = sum(taus.values()) / 2 if direction == "both" else taus[direction]
    assert found["rank_in/kendall_tau"] == pytest.approx(expected, abs=1e-12)


def test_ties_are_the_share_of_teacher_entries_that_have_an_equal() -> None:
    whole = batch()
    text = whole.text.clone()
    text[:6] = text[0]  # six identical captions: 6 of 24 entries of each row of B, none of A
    found = diagnose({"rank_in": TERMS["rank_in"]}, {}, replace(whole, text=text, texts=text))
    assert found["rank_in/ties"] == pytest.approx(6 / 24 / 2)
    assert diagnose({"rank_in": TERMS["rank_in"]}, {}, whole)["rank_in/ties"] == 0.0


def test_equal_rankings_agree_fully_and_latents_are_compared_with_each_matrix() -> None:
    whole = batch()
    same = replace(whole, text=whole.image, texts=whole.images, latents=whole.images)
    found = diagnose(TERMS, {}, same)
    for quantity in ("kendall_tau", "top10_overlap"):
        assert found[f"rank_in/{quantity}"] == pytest.approx(1.0)
        assert found[f"rank_cross/{quantity}"] == pytest.approx(1.0)
        for matrix in ("image_text", "text_image", "image_image", "text_text"):
            assert found[f"{matrix}/latent_{quantity}"] == pytest.approx(1.0)
    found = diagnose(TERMS, {}, whole)
    assert 0.05 < found["rank_in/kendall_tau"] < 0.95
    assert abs(found["image_image/latent_kendall_tau"]) < 0.2
    assert not any("latent" in name for name in diagnose(TERMS, {}, replace(whole, latents=None)))


def test_in_modal_cosine_is_the_mean_over_different_rows() -> None:
    whole = batch()
    found = diagnose({"contrastive": contrastive}, {}, whole)
    for modality, embeddings in (("image", whole.images), ("text", whole.texts)):
        products = embeddings @ embeddings.T
        expected = products[~torch.eye(N, dtype=torch.bool)].mean().item()
        assert found[f"{modality}/in_modal_cosine"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [2, 9, 100, 1025, 3000])
def test_the_sample_takes_each_column_at_most_once_and_never_the_own(size: int) -> None:
    sample = Sample(batch(size))
    rows = sample.columns.batch.rows
    assert len(rows.unique()) == min(64, size)
    assert sample.picked.shape == (len(rows), min(1024, size - 1))
    assert (sample.picked.diff(dim=1) > 0).all()
    assert not (sample.picked == rows.unsqueeze(1)).any()
    assert sample.picked.min() >= 0
    assert sample.picked.max() < size


def test_what_is_undefined_is_left_out() -> None:
    one = vectors(0, 1).expand(12, D).contiguous()
    equal = Batch(one, one, torch.tensor(ALPHA), one, one, torch.arange(12), latents=one)
    found = diagnose(TERMS, {}, equal)
    assert all(map(math.isfinite, found.values()))
    assert found["rank_in/value"] == pytest.approx(math.lgamma(13) / 12)
    assert not any("kendall" in name or "overlap" in name for name in found)
    for size in (2, 9):  # nine have no tenths, and no ten best beside the own
        small = diagnose(TERMS, CONTROLS, batch(size))
        assert all(map(math.isfinite, small.values()))
        assert not any("decile" in name or "overlap" in name for name in small)


def test_rounded_embeddings_are_diagnosed_and_get_no_gradient() -> None:
    with torch.no_grad():
        whole = batch(200)
    image, text = whole.image.bfloat16().requires_grad_(), whole.text.bfloat16().requires_grad_()
    rounded = replace(whole, image=image, text=text, images=image, texts=text, alpha=whole.alpha.float())
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        found = diagnose(TERMS, CONTROLS, rounded)
    exact = diagnose(TERMS, CONTROLS, whole)
    assert found.keys() == exact.keys()
    for name in TERMS:
        assert found[f"{name}/gradient_norm"] == pytest.approx(exact[f"{name}/gradient_norm"], rel=0.02)
    assert image.grad is None
    assert text.grad is None


def test_a_trainer_that_rounds_its_products_changes_nothing() -> None:
    whole = batch(200)
    image, text = whole.image.float(), whole.text.float()
    single = replace(whole, image=image, text=text, images=image, texts=text, alpha=whole.alpha.float())
    exact = diagnose(TERMS, CONTROLS, single)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert diagnose(TERMS, CONTROLS, single) == exact


SPLITS = ((0, 15, N), (0, N, N))  # uneven; the second worker without any


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    parts = [slice(split[rank], split[rank + 1]) for split in SPLITS]
    torch.save(
        [diagnose(TERMS, CONTROLS, batch(rows=part)) for part in parts], Path(folder, f"rank-{rank}.pt")
    )
    torch.distributed.destroy_process_group()


def test_two_workers_find_the_numbers_of_one_on_the_whole_batch(tmp_path: Path) -> None:
    forked.run(work, 2, str(tmp_path))
    one = diagnose(TERMS, CONTROLS, batch())
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(2))
    assert first == second
    for found in first:
        assert found == pytest.approx(one, rel=1e-9, abs=1e-12)
