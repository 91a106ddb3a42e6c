"""The tables of the world fit each other, and everything in them can be drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rankclip.data.shapes import draw
from rankclip.data.shapes import vocabulary as words
from rankclip.data.shapes.latents import Latent, Thing


def test_tables_that_belong_together_have_one_length() -> None:
    assert len(words.KINDS) == len(words.SHAPES) + 10
    assert len(words.FAMILY_OF) == len(words.KINDS)
    assert len(words.HUE_DEGREES) == len(words.HUES)
    assert len(words.SIZE_RADII) == len(words.SIZES)
    assert len(words.CELLS) == 9
    assert len(words.SHAPES) >= 12
    assert draw.OUTLINES.keys() | {"ring"} == {options[0] for options in words.SHAPES}


def test_every_family_has_members_and_digits_are_one() -> None:
    assert set(words.FAMILY_OF) == set(range(len(words.FAMILIES)))
    families = {
        kind[0]: words.FAMILIES[family][0] for kind, family in zip(words.KINDS, words.FAMILY_OF, strict=True)
    }
    assert families["square"] == families["hexagon"] == "polygon"
    assert families["circle"] == families["ring"] == "round shape"
    assert families["star"] == families["arrow"] == "pointed shape"
    assert families["digit seven"] == "digit"


def test_sizes_grow_and_hues_go_round_the_wheel() -> None:
    assert list(words.SIZE_RADII) == sorted(set(words.SIZE_RADII))
    assert list(words.HUE_DEGREES) == sorted(set(words.HUE_DEGREES))
    assert 0.0 <= words.HUE_DEGREES[0] <= words.HUE_DEGREES[-1] < 360.0


@pytest.mark.parametrize("attribute", words.ATTRIBUTES)
def test_no_word_stands_for_two_values(attribute: str) -> None:
    said = [word for options in words.ATTRIBUTES[attribute] for word in options]
    assert len(set(said)) == len(said)
    assert all(word and word == word.strip() and not set("\t\r\n") & set(word) for word in said)


def test_what_is_held_out_leaves_each_of_its_shapes_and_hues_in_training() -> None:
    assert set(words.HELD_OUT_SHAPES) < set(range(len(words.SHAPES)))
    assert set(words.HELD_OUT_HUES) < set(range(len(words.HUES)))


def silhouette(shape: int, fill: int, side: int = 64) -> np.ndarray:
    thing = Thing(shape=shape, hue=0, size=4, cell=4, fill=fill)
    return np.asarray(draw.silhouette(thing, np.random.default_rng(0), side * draw.OVERSAMPLING)) > 127


@pytest.mark.parametrize("fill", range(len(words.FILLS)), ids=[options[0] for options in words.FILLS])
def test_every_kind_is_drawn_in_every_fill_and_unlike_the_others(fill: int) -> None:
    masks = [silhouette(shape, fill) for shape in range(len(words.KINDS))]
    assert all(mask.mean() > 0.01 for mask in masks)
    for one, other in itertools.combinations(masks, 2):
        assert (one ^ other).sum() > 0.1 * min(one.sum(), other.sum())


@pytest.mark.parametrize("fill", range(1, len(words.FILLS)))
def test_a_texture_shows_less_than_the_solid_object(fill: int) -> None:
    square = [options[0] for options in words.SHAPES].index("square")
    solid, textured = silhouette(square, 0), silhouette(square, fill)
    assert textured.sum() < 0.9 * solid.sum()


def picture(background: int, *things: Thing, noise: float = 0.0) -> np.ndarray:
    return np.asarray(draw.draw(Latent(things, background), np.random.default_rng(1), 32, noise)).astype(
        float
    )


def test_every_background_looks_different() -> None:
    looks = [picture(kind) for kind in range(len(words.BACKGROUNDS))]
    assert all(look.shape == (32, 32, 3) for look in looks)
    assert all(abs(one - other).mean() > 8.0 for one, other in itertools.combinations(looks, 2))


def test_an_object_is_where_its_cell_is_as_large_as_its_size_and_in_its_hue() -> None:
    for cell, size, hue in ((0, 0, 0), (2, 1, 3), (8, 2, 5)):
        thing = Thing(shape=1, hue=hue, size=size, cell=cell, fill=0)
        image = picture(0, thing)
        coloured = np.argwhere(image.max(axis=2) - image.min(axis=2) > 100.0)
        centre = coloured.mean(axis=0) / 31  # cells are centred at 0.2, 0.5 and 0.8
        assert [round((float(place) - 0.2) / 0.3) for place in centre] == list(divmod(cell, 3))
        # a square whose corners lie on the circle of its radius
        assert len(coloured) / 1024 == pytest.approx(2 * words.SIZE_RADII[size] ** 2, rel=0.3)
        middle = image[tuple(np.round(coloured.mean(axis=0)).astype(int))]
        assert int(middle.argmax()) == {0: 0, 3: 1, 5: 2}[hue]


def test_noise_is_as_strong_as_stated() -> None:
    difference = picture(1, noise=0.05) - picture(1)
    assert difference.std() == pytest.approx(0.05 * 255, rel=0.1)


def test_a_line_drawing_is_thin_dark_and_on_white() -> None:
    image = np.asarray(draw.line_drawing(1, np.random.default_rng(0), 32)).astype(float)
    assert (image == 255.0).mean() > 0.5
    assert image.min() < 160.0
    assert (image.max(axis=2) - image.min(axis=2)).max() == 0.0
