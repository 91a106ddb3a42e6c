"""What evaluation demands of an encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from rankclip.errors import DataError
from rankclip.evaluation.encoder import embed_texts, image_rows
from rankclip.evaluation.reference import LatentEncoder, NoiseEncoder


class Counting(NoiseEncoder):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(dimensions=8)
        self.asked: list[list[str]] = []

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        self.asked.append(list(texts))
        return super().encode_texts(texts)


class Broken(NoiseEncoder):
    """Gives what it was made with, whatever is asked."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = rows

    def image_features(self, prepared: Sequence[bytes]) -> Tensor:
        return self.rows

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        return self.rows


def test_equal_texts_are_encoded_once_and_get_equal_rows_in_the_order_asked() -> None:
    encoder = Counting()
    rows = embed_texts(encoder, ["a", "b", "a", "c", "b"], batch=2)
    assert encoder.asked == [["a", "b"], ["c"]]
    assert torch.equal(rows, NoiseEncoder(8).encode_texts(["a", "b", "a", "c", "b"]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_embeddings_that_are_not_finite_are_refused_with_the_remedy(bad: float) -> None:
    with pytest.raises(DataError, match="not finite; its training diverged"):
        image_rows(Broken(torch.tensor([[bad, 0.0]])), [b"x"])


def test_an_embedding_without_a_direction_is_refused_of_images_and_of_texts() -> None:
    nothing = Broken(torch.zeros(1, 2))
    for embed in (lambda: image_rows(nothing, [b"x"]), lambda: embed_texts(nothing, ["x"])):
        with pytest.raises(DataError, match="an embedding of length 0; its training diverged"):
            embed()


@pytest.mark.parametrize("rows", [torch.ones(2, 2), torch.ones(1)])
def test_an_encoder_that_gives_the_wrong_shape_is_refused(rows: Tensor) -> None:
    with pytest.raises(ValueError, match=r"must give \[1, D\]"):
        image_rows(Broken(rows), [b"x"])


def test_an_image_without_a_direction_is_refused() -> None:
    with pytest.raises(DataError, match="embedding of length 0"):
        image_rows(Broken(torch.zeros(1, 4)), [b"x"])


def test_rows_can_be_learned_from() -> None:
    rows = embed_texts(NoiseEncoder(4), ["a", "b"])
    weight = torch.ones(4, requires_grad=True)
    (rows @ weight).sum().backward()  # refuses what came from inference mode
    assert weight.grad is not None


def test_an_encoder_that_does_not_normalise_is_refused() -> None:
    with pytest.raises(ValueError, match="must have length 1"):
        embed_texts(Broken(torch.tensor([[3.0, 4.0]])), ["x"])


def test_noise_depends_on_content_kind_and_seed_alone() -> None:
    one = NoiseEncoder(16)
    assert torch.equal(one.image_features([b"a", b"b"])[1], NoiseEncoder(16).image_features([b"b"])[0])
    assert not torch.equal(one.image_features([b"a"]), one.encode_texts(["a"]))
    assert not torch.equal(one.image_features([b"a"]), NoiseEncoder(16, seed=1).image_features([b"a"]))


def test_latents_are_looked_up_and_those_of_texts_normalised() -> None:
    encoder = LatentEncoder({b"i": torch.tensor([3.0, 4.0])}, {"t": torch.tensor([0.0, 2.0])})
    torch.testing.assert_close(encoder.image_features([b"i"]), torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(encoder.encode_texts(["t"]), torch.tensor([[0.0, 1.0]]))
