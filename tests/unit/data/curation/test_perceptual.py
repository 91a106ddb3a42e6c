from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from rankclip.data.curation import perceptual
from rankclip.data.curation.verdicts import judge
from tests.unit.data.crawled import encoded
from tests.unit.data.curation.scenes import copies, decoded, scene


def hashed(images: Sequence[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
    pixels = [np.frombuffer(perceptual.shrunk(image), np.uint8).reshape(32, 32) for image in images]
    return perceptual.hashes(np.stack(pixels))


def test_copies_of_a_picture_look_like_it() -> None:
    for seed in range(10):
        image = scene(seed)
        hashes, meant = hashed([image, *map(decoded, copies(image).values())])
        assert meant.all()
        assert (np.bitwise_count(hashes ^ hashes[0]) <= 4).all()


def test_different_scenes_do_not_look_alike() -> None:
    hashes, _ = hashed([scene(seed, (64, 48)) for seed in range(200)])
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])[np.triu_indices(len(hashes), 1)]
    assert apart.min() > 4
    assert abs(apart.mean() - 32) < 1  # as of hashes drawn at random


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (64, 64), "white"),
        Image.new("L", (64, 48), 7),
        Image.linear_gradient("L"),
        Image.fromarray(np.random.default_rng(0).integers(120, 123, (200, 200, 3), dtype=np.uint8)),
    ],
    ids=["white", "grey", "gradient", "noise of two grey levels"],
)
def test_the_hash_of_a_picture_without_structure_means_nothing(image: Image.Image) -> None:
    assert not hashed([image])[1].any()


def test_a_hash_does_not_depend_on_what_is_hashed_with_it() -> None:
    images = [scene(seed, (40, 30)) for seed in range(1100)]
    together, _ = hashed(images)
    assert (together == np.concatenate([hashed([image])[0] for image in images])).all()


def test_half_of_the_bits_are_set() -> None:
    assert (np.bitwise_count(hashed([scene(seed) for seed in range(5)])[0]) == 32).all()


def test_nothing_gives_nothing() -> None:
    hashes, meant = perceptual.hashes(np.empty((0, 32, 32), np.uint8))
    assert (len(hashes), len(meant)) == (0, 0)


def test_what_is_hashed_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = scene(1)
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    ours = judge(turned, 10**6)
    assert (ours.width, ours.height) == upright.size
    assert ours.pixels == judge(encoded(upright, "PNG"), 10**6).pixels


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (5000, 2), (31, 33)])
def test_any_shape_can_be_hashed(size: tuple[int, int]) -> None:
    assert len(perceptual.shrunk(Image.new("RGB", size, "red"))) == 32 * 32
