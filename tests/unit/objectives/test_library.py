"""`RankClipLoss`: the loss for trainers of others."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from rankclip import distributed
from rankclip.objectives import RankClipLoss
from rankclip.objectives.accumulate import accumulate
from rankclip.objectives.batch import gathered
from rankclip.objectives.options import CROSS_MODAL, IN_MODAL
from rankclip.objectives.pairwise import contrastive
from rankclip.objectives.ranking import consistency
from tests import forked

N = 8
OPTIONS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "shuffled": {"teacher": "shuffled", "seed": 5},
    "listnet": {"surrogate": "listnet"},
    "soft_kl": {"surrogate": "soft_kl"},
    "released": {"numerics": "released"},
    "detached": {"temperature": "detached"},
    "a fixed alpha": {"temperature": 20.0},
    "one direction": {"direction": "image_to_text"},
    "the other direction": {"direction": "text_to_image"},
    "no diagonal": {"diagonal": False},
    "decay": {"decay": "log"},
    "top k": {"top_k": 3},
    "smoothing": {"label_smoothing": 0.1},
    "no ranking": {"in_modal": 0.0, "cross_modal": 0.0},
    "small chunks": {"chunk_bytes": 1},
}


class Towers(nn.Module):
    """Two small towers in float64 that give what open_clip's models give."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.image, self.text = parameter(7, 5), parameter(11, 5)
        self.logit_scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.logit_bias = nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))

    def forward(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        return {
            "image_features": normalize(torch.tanh(image @ self.image), dim=1),
            "text_features": normalize(self.text[text].mean(dim=1), dim=1),
            "logit_scale": self.logit_scale.exp(),
            "logit_bias": self.logit_bias,
        }


def pairs(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(N, 7, generator=generator, dtype=torch.float64)
    return images, torch.randint(11, (N, 4), generator=generator)


def gradients(model: nn.Module, total: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    torch.autograd.backward(total)
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}  # type: ignore[union-attr]


def dense(image: Tensor, text: Tensor, alpha: Tensor, in_modal: float, cross_modal: float) -> Tensor:
    """The loss as the paper would write it."""

    def likelihood(student: Tensor, teacher: Tensor) -> Tensor:
        ranked = student.gather(1, teacher.detach().argsort(dim=1, descending=True, stable=True))
        remaining = torch.stack([ranked[:, place:].logsumexp(dim=1) for place in range(len(ranked))], dim=1)
        return (remaining - ranked).mean()

    def ranking(first: Tensor, second: Tensor) -> Tensor:
        return (likelihood(first, second) + likelihood(second, first)) / 2

    cross, own = alpha * image @ text.T, torch.arange(len(image))
    clip = (cross_entropy(cross, own) + cross_entropy(cross.T, own)) / 2
    inside = ranking(alpha * image @ image.T, alpha * text @ text.T)
    return clip + in_modal * inside + cross_modal * ranking(cross, cross.T)


def test_it_is_the_formula_in_value_and_gradient() -> None:
    model, (images, texts) = Towers(), pairs()
    out = model(images, texts)
    expected = dense(out["image_features"], out["text_features"], out["logit_scale"], 0.3, 0.2)
    found = RankClipLoss(in_modal=0.3, cross_modal=0.2)(**model(images, texts))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    expected_gradients = gradients(model, expected + 0 * model.logit_bias)
    for name, gradient in gradients(model, found).items():
        assert (gradient - expected_gradients[name]).norm() <= 1e-12 * expected_gradients[name].norm(), name


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_reaches_the_terms(name: str) -> None:
    options = dict(OPTIONS[name])
    weights = {key: options.pop(key, 0.125) for key in ("in_modal", "cross_modal")}
    loss = RankClipLoss(**weights, **options)
    features = Towers()(*pairs())
    generator = torch.Generator().manual_seed(options.pop("seed", 0) * 1_000_003)
    shuffle = torch.randperm(N, generator=generator)
    image, text, alpha = (features[key] for key in ("image_features", "text_features", "logit_scale"))
    smoothing, _ = options.pop("label_smoothing", 0.0), options.pop("chunk_bytes", None)
    terms = {
        "contrastive": (1.0, lambda rows: contrastive(rows, label_smoothing=smoothing)),
        "rank_in": (weights["in_modal"], lambda rows: consistency(rows, IN_MODAL, **options)),
        "rank_cross": (weights["cross_modal"], lambda rows: consistency(rows, CROSS_MODAL, **options)),
    }
    expected = accumulate(terms, gathered(image, text, alpha, shuffle=shuffle))["loss"]
    torch.testing.assert_close(loss(**features), expected, rtol=1e-12, atol=0)


def test_without_ranking_it_is_open_clips_loss() -> None:
    from open_clip.loss import ClipLoss

    model, loss = Towers(), RankClipLoss(in_modal=0.0, cross_modal=0.0)
    found, expected = loss(**model(*pairs())), ClipLoss()(**model(*pairs()))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    expected_gradients = gradients(model, expected)
    for name, gradient in gradients(model, found).items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_parts_add_up_to_the_loss_and_carry_its_gradient(name: str) -> None:
    model, loss = Towers(), RankClipLoss(**OPTIONS[name]).eval()
    total, parts = loss(**model(*pairs())), loss(**model(*pairs()), output_dict=True)
    assert set(parts) == {"contrastive_loss", "rank_in_loss", "rank_cross_loss"}
    torch.testing.assert_close(sum(parts.values()), total, rtol=1e-12, atol=0)
    expected = gradients(model, total)
    for parameter, gradient in gradients(model, sum(parts.values())).items():
        torch.testing.assert_close(gradient, expected[parameter], rtol=1e-12, atol=1e-15)


def test_a_trainer_can_ramp_the_weights() -> None:
    loss, features = RankClipLoss(), Towers()(*pairs())
    values = []
    for progress in (0.0, 1 / 3, 2 / 3, 1.0):
        loss.in_modal = loss.cross_modal = min(3 * progress, 2) / 16
        values.append(loss(**features, output_dict=True))
    ranks = torch.stack([parts["rank_in_loss"] + parts["rank_cross_loss"] for parts in values])
    torch.testing.assert_close(ranks, ranks[-1] * torch.tensor([0.0, 0.5, 1.0, 1.0], dtype=ranks.dtype))
    assert loss.in_modal == RankClipLoss().in_modal
    loss.in_modal = -1.0
    with pytest.raises(ValueError, match="in_modal = -1"):
        loss(**features)


def test_the_shuffled_teacher_depends_on_seed_and_step_alone() -> None:
    features = {key: value.detach() for key, value in Towers()(*pairs()).items()}
    losses = [RankClipLoss(teacher="shuffled", seed=seed) for seed in (3, 3, 4)]
    seen = [[float(loss(**features)) for _ in range(4)] for loss in losses]
    assert seen[0] == seen[1]
    assert len({*seen[0], *seen[2]}) == 8
    later = RankClipLoss(teacher="shuffled", seed=3)
    losses[0].step -= 2
    later.load_state_dict(losses[0].state_dict())
    assert [float(later(**features)) for _ in range(2)] == seen[0][2:]
    later.eval()
    assert len({float(later(**features)) for _ in range(2)}) == 1


@pytest.mark.parametrize("teacher", ["other_modality", "shuffled"])
def test_workers_tell_each_other_their_sizes_once_a_call(
    teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def sizes(n: int, device: torch.device) -> list[int]:
        told.append(n)
        return [n]

    monkeypatch.setattr(distributed, "sizes", sizes)
    RankClipLoss(teacher=teacher)(**Towers()(*pairs()))
    assert told == [N]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_taken_and_computed_in_single(dtype: torch.dtype) -> None:
    features = Towers()(*pairs())
    halves = {
        key: features[key].detach().to(dtype).requires_grad_() for key in ("image_features", "text_features")
    }
    scale = features["logit_scale"].detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = RankClipLoss()(**halves, logit_scale=scale)
    expected = RankClipLoss()(*(half.detach().float() for half in halves.values()), scale)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    torch.autograd.backward(found)
    assert all(half.grad is not None and half.grad.dtype == dtype for half in halves.values())


def test_a_scaled_loss_keeps_small_gradients_of_half_features() -> None:
    features = Towers()(*pairs())
    image, text = features["image_features"].detach().half(), features["text_features"].detach().half()
    half, single = image.clone().requires_grad_(), image.float().requires_grad_()
    alpha, scale = 1e-5, 2.0**16  # a GradScaler's first scale, more than float16 holds
    torch.autograd.backward(scale * RankClipLoss()(half, text, alpha))
    torch.autograd.backward(scale * RankClipLoss()(single, text.float(), alpha))
    assert half.grad is not None
    assert single.grad is not None
    assert (half.grad.float() - single.grad).norm() <= 1e-3 * single.grad.norm()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_can_be_evaluated_without_gradient(mode: Callable[[], Any]) -> None:
    features = Towers()(*pairs())
    expected = RankClipLoss()(**features)
    with mode():
        found = RankClipLoss()(**features)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected)


def test_the_scale_may_be_a_number_or_a_list_of_one() -> None:
    features = Towers()(*pairs())
    image, text, alpha = (
        features[key].detach() for key in ("image_features", "text_features", "logit_scale")
    )
    expected = RankClipLoss()(image, text, alpha)
    for given in (float(alpha), alpha[None]):
        torch.testing.assert_close(RankClipLoss()(image, text, given), expected)
    with pytest.raises(ValueError, match=r"logit_scale has shape \[2\]"):
        RankClipLoss()(image, text, torch.ones(2))


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a teacher": ({"teacher": "oracle"}, ["teacher = 'oracle'", "'other_modality', 'shuffled'"]),
    "a surrogate": ({"surrogate": "x"}, ["surrogate = 'x'", "'plackett_luce', 'listnet', 'soft_kl'"]),
    "numerics": ({"numerics": "x"}, ["numerics = 'x'", "'exact', 'released'"]),
    "a direction": ({"direction": "x"}, ["direction = 'x'", "'both', 'image_to_text', 'text_to_image'"]),
    "a decay": ({"decay": None}, ["decay = None", "'none', 'log'"]),
    "a temperature": ({"temperature": "x"}, ["temperature = 'x'", "'shared', 'detached'"]),
    "no temperature": ({"temperature": None}, ["temperature = None", "'shared', 'detached'"]),
    "a cold temperature": ({"temperature": 0.0}, ["temperature = 0.0"]),
    "a true temperature": ({"temperature": True}, ["temperature = True"]),
    "no place": ({"top_k": 0}, ["top_k = 0"]),
    "half a place": ({"top_k": 2.5}, ["top_k = 2.5"]),
    "a negative weight": ({"cross_modal": -0.1}, ["cross_modal = -0.1"]),
    "a weight that is none": ({"in_modal": float("nan")}, ["in_modal = nan"]),
    "a smoothing": ({"label_smoothing": 1.0}, ["label_smoothing = 1.0"]),
    "no memory": ({"chunk_bytes": 0}, ["chunk_bytes = 0"]),
    "listnet with decay": ({"surrogate": "listnet", "decay": "log"}, ["decay", "plackett_luce"]),
    "soft_kl with top k": ({"surrogate": "soft_kl", "top_k": 2}, ["top_k", "plackett_luce"]),
    "released listnet": ({"numerics": "released", "surrogate": "listnet"}, ["'released'", "'listnet'"]),
    "released top k": ({"numerics": "released", "top_k": 2}, ["top_k", "numerics = 'exact'"]),
    "released, no diagonal": ({"numerics": "released", "diagonal": False}, ["'released'", "diagonal"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_option_is_refused_in_one_line(case: str) -> None:
    options, told = WRONG[case]
    with pytest.raises(ValueError) as raised:
        RankClipLoss(**options)
    assert [words for words in told if words not in str(raised.value)] == []
    assert "\n" not in str(raised.value)


BAD: dict[str, tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], str]] = {
    "NaN": (lambda image, text: (image * torch.nan, text), "NaN"),
    "zeros": (lambda image, text: (image, text * 0), "zero"),
    "one pair": (lambda image, text: (image[:1], text[:1]), "1 pair"),
    "a caption too few": (lambda image, text: (image, text[1:]), "shape"),
    "not normalised": (lambda image, text: (2 * image, text), "normalise"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_features_are_refused_with_the_cause(case: str) -> None:
    spoil, told = BAD[case]
    features = Towers()(*pairs())
    with pytest.raises(ValueError, match=told):
        RankClipLoss()(*spoil(features["image_features"], features["text_features"]), features["logit_scale"])


def test_what_it_prints_makes_it_again() -> None:
    for options in OPTIONS.values():
        shown = repr(RankClipLoss(**options))
        again = eval(shown, {"RankClipLoss": RankClipLoss})
        assert repr(again) == shown
        assert "contrastive + in_modal * rank_in + cross_modal * rank_cross" in shown
        assert max(map(len, shown.splitlines())) <= 110


def test_torch_alone_is_enough() -> None:
    code = """
import sys, warnings
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name)
BLOCKED = {"pydantic", "numpy", "ray", "open_clip", "mlflow", "pyarrow", "hydra", "yaml"}
sys.meta_path.insert(0, Refuse())
warnings.filterwarnings("ignore", message=".*NumPy.*")  # torch's own
import torch
from rankclip.objectives import RankClipLoss
features = torch.nn.functional.normalize(torch.randn(2, 6, 4), dim=2).requires_grad_()
RankClipLoss()(*features, torch.tensor(14.0)).backward()
print(features.grad.norm() > 0, sorted(BLOCKED & set(sys.modules)))
"""
    package = Path(__file__).parents[3] / "pipeline"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(package), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("tensor(True) []", "")


class Loader(list[tuple[Tensor, Tensor]]):
    num_samples, num_batches = 4 * N, 4


@pytest.mark.parametrize("accum_freq", [1, 2])
def test_open_clips_own_trainer_trains_with_it(accum_freq: int) -> None:
    from open_clip_train.train import train_one_epoch

    model = Towers().float()
    loader = Loader([(image.float(), text) for image, text in map(pairs, range(4))])
    data = {"train": SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)}
    arguments = Namespace(
        device="cpu", precision="fp32", accum_freq=accum_freq, distill=False, skip_scheduler=True,
        grad_clip_norm=None, horovod=False, rank=0, local_rank=0, world_size=1, log_every_n_steps=100,
        batch_size=N, wandb=False,
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = RankClipLoss()

    def value() -> float:
        with torch.no_grad():
            return sum(float(loss(**model(*batch))) for batch in loader)

    before = value()
    for epoch in range(3):
        train_one_epoch(model, data, loss, epoch, optimizer, None, None, None, arguments)
    assert value() < before


def work(rank: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=workers
    )
    rows = slice(0, 5) if rank == 0 else slice(5, N)
    torch.save(
        {name: trained(options, rows) for name, options in OPTIONS.items()}, Path(folder, f"{rank}.pt")
    )
    torch.distributed.barrier()  # torch 2.4 may hang in destroying a group whose thread still holds a tensor
    torch.distributed.destroy_process_group()


def trained(options: dict[str, Any], rows: slice) -> dict[str, Tensor]:
    """Parameters after two steps on these rows of each batch, and what the second said."""
    model: nn.Module = Towers()
    if torch.distributed.is_initialized():
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = RankClipLoss(**options)
    for step in range(2):
        images, texts = pairs(seed=step)
        parts = loss(**model(images[rows], texts[rows]), output_dict=True)
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
    moved = {name.removeprefix("module."): value.detach() for name, value in model.named_parameters()}
    return moved | {name: value.detach() for name, value in parts.items()}


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("workers")
    forked.run(work, 2, 2, str(folder))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", OPTIONS)
def test_two_uneven_workers_under_ddp_train_as_one(
    two_workers: list[dict[str, dict[str, Tensor]]], name: str
) -> None:
    one = trained(OPTIONS[name], slice(None))
    first, second = (worker[name] for worker in two_workers)
    for key, expected in one.items():
        found = (first[key] + second[key]) / 2 if key.endswith("_loss") else first[key]
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(first[key], second[key]) for key in one if not key.endswith("_loss"))
