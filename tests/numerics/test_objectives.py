"""Objectives against open_clip and against sums written out, in value and gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from open_clip.loss import ClipLoss
from pydantic import ValidationError
from torch import Tensor

from rankclip.objectives import Objective
from rankclip.objectives.schedule import Constant, Linear
from rankclip.objectives.similarities import Similarities, relabelled, similarities

N, D = 9, 6
ONE = {"name": "constant", "value": 1.0}
RAMP = {"name": "linear", "initial": 0.0, "final": 0.125, "start": 0.0, "end": 2 / 3}
SHUFFLE = torch.randperm(N, generator=torch.Generator().manual_seed(5))


def objective(name: str, **weights: Any) -> Objective:
    teacher = "shuffled" if name.endswith("shuffled") else "other_modality"
    terms = [
        {"name": term, "weight": weight} | ({} if term == "contrastive" else {"teacher": teacher})
        for term, weight in weights.items()
    ]
    return Objective.model_validate({"name": name, "terms": terms})


CLIP = objective("clip", contrastive=ONE)
RANKCLIP = objective("rankclip", contrastive=ONE, rank_cross=RAMP, rank_in=RAMP)


def inputs(dtype: torch.dtype = torch.float64, alpha: float = 20.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    image, text = (
        torch.nn.functional.normalize(torch.randn(N, D, generator=generator, dtype=torch.float64), dim=1)
        for _ in range(2)
    )
    return (
        image.to(dtype).requires_grad_(),
        text.to(dtype).requires_grad_(),
        torch.tensor(alpha, dtype=dtype, requires_grad=True),
    )


def batch_of(image: Tensor, text: Tensor, alpha: Tensor) -> Similarities:
    return similarities(image, text, alpha, image, text, torch.arange(len(image)), SHUFFLE)


def slow_list_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of the likelihood of the teacher's ranking, one place after the other."""
    total = student.new_zeros(())
    for row in range(len(student)):
        scores = teacher[row].tolist()
        left = sorted(range(len(scores)), key=lambda column, scores=scores: (-scores[column], column))
        while left:
            total = total + torch.logsumexp(student[row, left], dim=0) - student[row, left[0]]
            left = left[1:]
    return total / student.numel()


def slow_term(name: str, image: Tensor, text: Tensor, alpha: Tensor, shuffle: Tensor | None) -> Tensor:
    first, second = {
        "rank_cross": (alpha * image @ text.T, alpha * text @ image.T),
        "rank_in": (alpha * image @ image.T, alpha * text @ text.T),
    }[name]
    teachers = [second.detach(), first.detach()]
    if shuffle is not None:
        teachers = [teacher[shuffle][:, shuffle] for teacher in teachers]
    return (slow_list_loss(first, teachers[0]) + slow_list_loss(second, teachers[1])) / 2


def assert_same(found: Tensor, expected: Tensor, leaves: tuple[Tensor, ...], tolerance: float) -> None:
    assert found.item() == pytest.approx(expected.item(), rel=tolerance)
    gradients = zip(torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), strict=True)
    for one, other in gradients:
        assert other.norm() > 0
        assert (one - other).norm() <= 10 * tolerance * other.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_clip_is_the_loss_of_open_clip(dtype: torch.dtype, tolerance: float) -> None:
    leaves = inputs(dtype)
    assert_same(CLIP(batch_of(*leaves), 0.5)["loss"], ClipLoss()(*leaves), leaves, tolerance)


@pytest.mark.parametrize("term", ["rank_cross", "rank_in"])
@pytest.mark.parametrize("name", ["alone", "alone_shuffled"])
def test_a_rank_term_is_the_sum_written_out(term: str, name: str) -> None:
    leaves = inputs()
    expected = slow_term(term, *leaves, SHUFFLE if name == "alone_shuffled" else None)
    assert_same(objective(name, **{term: ONE})(batch_of(*leaves), 0.0)["loss"], expected, leaves, 1e-12)


def test_the_loss_is_the_weighted_sum_of_the_terms_it_reports() -> None:
    values = RANKCLIP(batch_of(*inputs()), 0.5)
    weight = 0.125 * 0.75
    total = values["contrastive"] + weight * (values["rank_cross"] + values["rank_in"])
    assert list(values) == ["loss", "contrastive", "rank_cross", "rank_in"]
    assert values["loss"].item() == pytest.approx(total.item(), rel=1e-14)


@pytest.mark.parametrize("name", ["image_text", "text_image", "image_image", "text_text"])
def test_the_shuffled_teacher_is_the_matrix_with_its_pairs_relabelled(name: str) -> None:
    image, text, alpha = inputs()
    batch = batch_of(image, text, alpha)
    whole = getattr(batch, name).detach()
    found = alpha.detach() * relabelled(batch, name)
    assert torch.allclose(found, whole[SHUFFLE][:, SHUFFLE], rtol=1e-13, atol=1e-13)
    assert not found.requires_grad

    def places_of_own(matrix: Tensor) -> Tensor:
        return (matrix > matrix.diagonal()[:, None]).sum(1)

    assert torch.equal(places_of_own(found), places_of_own(whole)[SHUFFLE])
    if name in ("image_image", "text_text"):
        assert not places_of_own(found).any()


def test_some_workers_rows_of_the_shuffled_teacher_are_those_of_the_whole() -> None:
    image, text, alpha = inputs()
    rows = torch.arange(3, 7)
    part = similarities(image[rows], text[rows], alpha, image, text, rows, SHUFFLE)
    whole = relabelled(batch_of(image, text, alpha), "image_text")
    assert torch.allclose(relabelled(part, "image_text"), whole[rows], rtol=1e-14, atol=0)


def test_a_weight_of_zero_is_clip_bit_for_bit() -> None:
    leaves = inputs(torch.float32)
    ours, clip = RANKCLIP(batch_of(*leaves), 0.0), CLIP(batch_of(*leaves), 0.0)
    assert list(ours) == ["loss", "contrastive"]
    assert torch.equal(ours["loss"], clip["loss"])
    gradients = (torch.autograd.grad(values["loss"], leaves) for values in (ours, clip))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_before_any_weight_has_begun_the_loss_is_a_zero_with_zero_gradients() -> None:
    leaves = inputs()
    values = objective("ranks", rank_cross=RAMP)(batch_of(*leaves), 0.0)
    assert values["loss"].item() == 0.0
    assert not any(gradient.any() for gradient in torch.autograd.grad(values["loss"], leaves))


@pytest.mark.parametrize("asked", [CLIP, RANKCLIP], ids=lambda asked: asked.name)
def test_the_order_of_the_batch_does_not_matter(asked: Objective) -> None:
    image, text, alpha = inputs()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(8))
    loss = asked(batch_of(image, text, alpha), 1.0)["loss"]
    assert asked(batch_of(image[order], text[order], alpha), 1.0)["loss"].item() == pytest.approx(loss.item())


def test_half_precision_inputs_are_compared_in_float32_also_under_autocast() -> None:
    image, text, alpha = (leaf.detach().bfloat16() for leaf in inputs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        batch = batch_of(image, text, alpha)
        teacher = relabelled(batch, "image_image")
    matrices = (batch.image_text, batch.text_image, batch.image_image, batch.text_text, teacher)
    assert {matrix.dtype for matrix in matrices} == {torch.float32}
    expected = alpha.float() * image.float() @ text.float().T
    assert torch.allclose(batch.image_text, expected, rtol=1e-5, atol=1e-5)


def test_the_linear_schedule_is_the_released_ramp() -> None:
    ramp = Linear.model_validate(RAMP)
    for k in range(101):
        assert ramp(k / 100) == pytest.approx(min(max(3 * k / 100, 0.0), 2.0) / 16, abs=1e-15)
    assert ramp.largest == 0.125


def test_a_linear_weight_waits_moves_and_stays() -> None:
    falling = Linear(name="linear", initial=1.0, final=0.5, start=0.2, end=0.6)
    assert [falling(p) for p in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.5])
    assert falling.largest == 1.0
    assert Constant(name="constant", value=0.3)(0.9) == 0.3


@pytest.mark.parametrize("end", [0.2, 0.5])
def test_a_linear_weight_that_ends_before_it_starts_is_refused(end: float) -> None:
    with pytest.raises(ValidationError, match=r"starts at 0\.5"):
        Linear(name="linear", initial=0.0, final=1.0, start=0.5, end=end)


ZERO = {"name": "constant", "value": 0.0}
REFUSED = {
    "adds no term to CLIP": ("rankclip", {"contrastive": ONE, "rank_cross": ZERO, "rank_in": ZERO}),
    "it is `clip`": ("other", {"contrastive": ONE}),
    "is the contrastive term alone": ("clip", {"contrastive": ONE, "rank_in": RAMP}),
    "no term with a weight above zero": ("clip", {"contrastive": ZERO}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_an_objective_that_is_not_what_it_is_called_is_refused(reason: str) -> None:
    name, weights = REFUSED[reason]
    with pytest.raises(ValidationError, match=reason):
        objective(name, **weights)


def test_a_term_given_twice_is_refused() -> None:
    terms = [{"name": "contrastive", "weight": ONE}] * 2
    with pytest.raises(ValidationError, match="name one term twice"):
        Objective.model_validate({"name": "clip", "terms": terms})


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_weight_that_is_no_finite_share_of_the_loss_is_refused(value: float) -> None:
    with pytest.raises(ValidationError):
        Constant(name="constant", value=value)
