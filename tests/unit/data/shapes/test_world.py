"""The embedded world: a pure function of (seed, index), with a part that training never sees."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from pydantic import ValidationError

from rankclip.data.shapes import benchmarks, draw
from rankclip.data.shapes import vocabulary as words
from rankclip.data.shapes.captions import Claim, truthful
from rankclip.data.shapes.latents import Latent, Thing, draw_latent, frequencies, held_out
from rankclip.data.shapes.spec import ShapesSpec
from rankclip.data.shapes.world import STREAMS, World, generator
from rankclip.errors import InputError
from tests.unit.data.shapes import worlds

SPEC = worlds.spec()


def answers(world: World, index: int) -> tuple[object, ...]:
    return world.latent(index), world.image(index).tobytes(), world.raw(index), world.slots(index)


def test_the_world_is_a_pure_function_of_seed_and_index() -> None:
    forwards = [answers(World(SPEC), index) for index in range(12)]
    world = World(SPEC)
    backwards = [answers(world, index) for index in reversed(range(12))]
    assert forwards == backwards[::-1]


def test_images_differ_between_indices_and_between_seeds() -> None:
    images = {
        World(worlds.spec(seed=seed)).image(index).tobytes() for seed in range(3) for index in range(20)
    }
    assert len(images) == 60


def test_a_knob_of_the_captions_leaves_images_as_they_are() -> None:
    one, other = World(SPEC), World(worlds.spec(noise=0.9, ambiguity=0.9, boilerplate=0.0))
    assert [one.image(k).tobytes() for k in range(5)] == [other.image(k).tobytes() for k in range(5)]
    assert [one.slots(k) for k in range(5)] == [other.slots(k) for k in range(5)]
    assert [one.raw(k) for k in range(5)] != [other.raw(k) for k in range(5)]


def test_each_question_has_a_random_stream_of_its_own() -> None:
    first = [generator(0, stream, 1).random() for stream in STREAMS]
    assert len(set(first)) == len(STREAMS)


@pytest.fixture(scope="module")
def latents() -> list[Latent]:
    world = World(SPEC)
    return [world.latent(index) for index in range(3000)]


def test_held_out_pairs_are_never_drawn_for_training(latents: list[Latent]) -> None:
    things = [thing for latent in latents for thing in latent.things]
    pairs = {(thing.shape, thing.hue) for thing in things}
    held = set(itertools.product(words.HELD_OUT_SHAPES, words.HELD_OUT_HUES))
    assert not pairs & held
    assert len(held) == 16
    assert {shape for shape, _ in pairs} >= set(words.HELD_OUT_SHAPES)
    assert {hue for _, hue in pairs} >= set(words.HELD_OUT_HUES)


def test_every_image_of_the_composition_benchmark_has_a_held_out_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: dict[str, list[Latent]] = {"composition": [], "shape": [], "colour": []}
    real = draw.draw
    for task, seen in drawn.items():

        def noting(latent: Latent, *rest: object, seen: list[Latent] = seen) -> object:
            seen.append(latent)
            return real(latent, *rest)

        monkeypatch.setattr(draw, "draw", noting)
        classes = benchmarks.draw_classes(SPEC, task, "test", 48).classnames
    assert len(classes) == len(words.HUES)
    assert all(held_out(latent.things[0]) for latent in drawn["composition"])
    pairs = {(latent.things[0].shape, latent.things[0].hue) for latent in drawn["composition"]}
    assert len(pairs) == 16
    assert not any(held_out(latent.things[0]) for task in ("shape", "colour") for latent in drawn[task])


def test_frequencies_fall_as_zipf_says() -> None:
    assert frequencies(4, 1.0).tolist() == pytest.approx([12 / 25, 6 / 25, 4 / 25, 3 / 25])
    assert frequencies(3, 0.0).tolist() == pytest.approx([1 / 3] * 3)
    assert frequencies(2, 2.0).tolist() == pytest.approx([0.8, 0.2])


def test_shapes_and_hues_are_as_frequent_as_zipf_says_less_what_is_held_out(latents: list[Latent]) -> None:
    things = [thing for latent in latents for thing in latent.things if thing.shape < len(words.SHAPES)]
    found = np.zeros((len(words.SHAPES), len(words.HUES)))
    for thing in things:
        found[thing.shape, thing.hue] += 1
    expected = np.outer(frequencies(len(words.SHAPES), SPEC.zipf), frequencies(len(words.HUES), SPEC.zipf))
    expected[np.ix_(words.HELD_OUT_SHAPES, words.HELD_OUT_HUES)] = 0.0
    expected *= len(things) / expected.sum()
    deviations = abs(found - expected) / np.sqrt(expected.clip(min=1.0))
    assert deviations.max() < 4.5


def test_objects_and_digits_have_their_stated_shares(latents: list[Latent]) -> None:
    counts = np.bincount([len(latent.things) for latent in latents], minlength=4) / len(latents)
    assert counts.tolist() == pytest.approx([0.0, *SPEC.objects], abs=0.04)
    things = [thing for latent in latents for thing in latent.things]
    kept = 1 - sum(expected_held_out(SPEC))
    digits = SPEC.digits / (SPEC.digits + (1 - SPEC.digits) * kept)  # a held-out pair is drawn again
    assert np.mean([thing.family == 3 for thing in things]) == pytest.approx(digits, abs=0.03)
    assert all(len({thing.cell for thing in latent.things}) == len(latent.things) for latent in latents)
    assert all(latent.background in range(len(words.BACKGROUNDS)) for latent in latents)


def expected_held_out(spec: ShapesSpec) -> list[float]:
    shapes = frequencies(len(words.SHAPES), spec.zipf)
    hues = frequencies(len(words.HUES), spec.zipf)
    return [shapes[s] * hues[h] for s in words.HELD_OUT_SHAPES for h in words.HELD_OUT_HUES]


def true_of(claim: Claim, latent: Latent, thing: Thing) -> bool:
    held = latent.background if claim.thing < 0 else getattr(thing, claim.attribute)
    return bool(held == claim.value)


def test_every_slot_but_raw_is_true_of_its_image_and_raw_is_wrong_as_often_as_stated() -> None:
    world = World(SPEC)
    for index in range(100):
        latent = world.latent(index)
        for name, caption in world.slots(index).items():
            assert caption.claims, name
            assert all(true_of(claim, latent, latent.things[claim.thing]) for claim in caption.claims), name
            # every claim is said, in one of the words for it
            for claim in caption.claims:
                assert any(word in caption.text for word in words.ATTRIBUTES[claim.attribute][claim.value])
    told = [world.raw(index)[1] for index in range(2000)]
    assert 1 - np.mean(told) == pytest.approx(SPEC.noise, abs=0.03)


def test_captions_claim_what_they_say_and_say_what_they_claim() -> None:
    everything = worlds.spec(mentions=dict.fromkeys(worlds.NO_MENTIONS, 1.0), ambiguity=0.0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        latent = draw_latent(everything, rng)
        caption = truthful(everything, latent, rng, ambiguity=0.0)
        assert len(caption.claims) == 5 * len(latent.things) + 1
        for claim in caption.claims:
            assert any(word in caption.text for word in words.ATTRIBUTES[claim.attribute][claim.value])
    silent = truthful(worlds.spec(mentions=worlds.NO_MENTIONS), latent, rng, ambiguity=0.0)
    assert silent.claims == ()


def test_a_vague_caption_names_a_family_at_best() -> None:
    rng = np.random.default_rng(0)
    latent = draw_latent(SPEC, rng)
    captions = [truthful(SPEC, latent, rng, ambiguity=1.0) for _ in range(200)]
    assert {claim.attribute for caption in captions for claim in caption.claims} == {"family"}
    assert any(not caption.claims for caption in captions)


@pytest.mark.parametrize("task", [*benchmarks.TASKS, "outline"])
def test_splits_share_no_image(task: str) -> None:
    drawn = [set(benchmarks.draw_classes(SPEC, task, split, 36).images) for split in benchmarks.SPLITS]
    assert [len(images) for images in drawn] == [36] * 3
    assert len(set().union(*drawn)) == 3 * 36


def test_retrieval_splits_share_no_image_and_say_at_least_two_things() -> None:
    val, test = (benchmarks.draw_retrieval(SPEC, split, 12) for split in ("val", "test"))
    assert set(val.images).isdisjoint(test.images)
    assert test.captions is not None
    assert test.gains is not None
    own = [test.gains[k, 5 * k : 5 * k + 5] for k in range(12)]
    assert all(len(five) == 5 for five in test.captions)
    assert all((gains == 1.0).all() for gains in own)
    assert test.gains.mean() < 0.8


def test_a_world_that_says_too_little_for_retrieval_is_refused() -> None:
    with pytest.raises(InputError, match=r"source\.mentions are so rare.*raise them"):
        benchmarks.draw_retrieval(worlds.spec(mentions=worlds.NO_MENTIONS), "test", 1)


@pytest.mark.parametrize("objects", [(0.5, 0.3, 0.1), (0.0, 0.0, 0.0), (1.0, 0.5, 0.0)])
def test_shares_of_objects_that_are_no_whole_are_refused(objects: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="add up to"):
        worlds.spec(objects=objects)
