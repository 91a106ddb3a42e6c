"""Captions in the manner of web alt-text, each with the claims it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rankclip.data.shapes import vocabulary as words
from rankclip.data.shapes.latents import Latent, Thing, draw_latent

if TYPE_CHECKING:
    from rankclip.data.shapes.spec import MentionSpec, ShapesSpec


@dataclass(frozen=True)
class Claim:
    """A caption says that its `thing`-th object (-1: the background) has this value of this attribute."""

    thing: int
    attribute: str
    value: int


@dataclass(frozen=True)
class Caption:
    """A text and what it claims of its image."""

    text: str
    claims: tuple[Claim, ...]


class Speaker:
    """Chooses words and word order with one random generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return bool(self.rng.random() < share)

    def pick(self, options: tuple[str, ...], canonical: float = 0.6) -> str:
        """The canonical word with probability `canonical`, else one of the synonyms."""
        if len(options) == 1 or self.chance(canonical):
            return options[0]
        return options[int(self.rng.integers(1, len(options)))]

    def word(self, attribute: str, value: int) -> str:
        """A word for a value."""
        return self.pick(words.ATTRIBUTES[attribute][value])


def phrase(
    speaker: Speaker, thing: Thing, number: int, rates: MentionSpec, ambiguous: bool
) -> tuple[str, list[Claim]]:
    """Words for one object, and the claims in them."""
    said: dict[str, str] = {}
    claims: list[Claim] = []

    def mention(attribute: str, value: int) -> None:
        said[attribute] = speaker.word(attribute, value)
        claims.append(Claim(number, attribute, value))

    named = speaker.chance(rates.shape)
    if ambiguous or (named and speaker.chance(0.12)):
        mention("family", thing.family)
    elif named:
        mention("shape", thing.shape)
    for attribute in () if ambiguous else ("hue", "size", "cell", "fill"):
        if speaker.chance(getattr(rates, attribute)):
            mention(attribute, getattr(thing, attribute))
    return assemble(speaker, said), claims


def assemble(speaker: Speaker, said: dict[str, str]) -> str:
    """Puts mentioned words in one of several orders."""
    noun = said.get("shape") or said.get("family") or "shape"
    before = [said[name] for name in ("size", "fill", "hue") if name in said]
    place = said.get("cell")
    if before and speaker.chance(0.2):
        text = f"{noun}, {' '.join(before)}"
    elif "hue" in said and speaker.chance(0.15):
        text = f"{' '.join([word for word in before if word != said['hue']] + [noun])} in {said['hue']}"
    else:
        text = " ".join([*before, noun])
        if speaker.chance(0.7):
            text = f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
    if place is None:
        return text
    if speaker.chance(0.25):
        return f"{place}: {text}"
    return f"{text} {'at' if speaker.chance(0.5) else 'in'} the {place}"


def truthful(spec: ShapesSpec, latent: Latent, rng: np.random.Generator, ambiguity: float) -> Caption:
    """A caption that is true of `latent`, vague with probability `ambiguity`."""
    speaker = Speaker(rng)
    vague = speaker.chance(ambiguity)
    if vague and speaker.chance(0.25):
        return Caption(speaker.pick(words.VAGUE, canonical=0.3), ())
    texts: list[str] = []
    claims: list[Claim] = []
    for place, thing in enumerate(latent.things):
        if place and not speaker.chance(spec.mentions.other_objects):
            continue
        text, made = phrase(speaker, thing, len(texts), spec.mentions, vague)
        texts.append(text)
        claims += made
    text = (" and " if speaker.chance(0.6) else ", ").join(texts)
    if not vague and speaker.chance(spec.mentions.background):
        text += f" on a {speaker.word('background', latent.background)} background"
        claims.append(Claim(-1, "background", latent.background))
    return Caption(text, tuple(claims))


def raw(spec: ShapesSpec, latent: Latent, rng: np.random.Generator) -> tuple[Caption, bool]:
    """The caption as the web has it, and whether it tells of this image at all."""
    speaker = Speaker(rng)
    wrong = speaker.chance(spec.noise)
    caption = truthful(spec, draw_latent(spec, rng) if wrong else latent, rng, spec.ambiguity)
    text = caption.text
    if speaker.chance(spec.boilerplate):
        extra = words.BOILERPLATE[int(rng.integers(len(words.BOILERPLATE)))]
        text = f"{text} - {extra}" if speaker.chance(0.7) else f"{extra}: {text}"
    return Caption(text, caption.claims), not wrong


def slots(spec: ShapesSpec, latent: Latent, rng: np.random.Generator) -> dict[str, Caption]:
    """The four views of `SLOTS` after `raw`, each true of the image."""
    speaker = Speaker(rng)
    things = latent.things
    details = [
        f"a {speaker.word('size', thing.size)} {speaker.word('fill', thing.fill)} "
        f"{speaker.word('hue', thing.hue)} {speaker.word('shape', thing.shape)} "
        f"at the {speaker.word('cell', thing.cell)}"
        for thing in things
    ]
    behind = speaker.word("background", latent.background)
    names = [speaker.word("shape", thing.shape) for thing in things]
    looks = [f"{speaker.word('fill', thing.fill)} {speaker.word('hue', thing.hue)}" for thing in things]
    ground = Claim(-1, "background", latent.background)
    every = claims_of(latent, ("size", "fill", "hue", "shape", "cell"))
    return {
        "detail": Caption(f"{' and '.join(details)} on a {behind} background", (*every, ground)),
        "objects": Caption(", ".join(names), claims_of(latent, ("shape",))),
        "background": Caption(f"the background is {behind}", (ground,)),
        "style": Caption(f"a drawing in {' and '.join(looks)}", claims_of(latent, ("fill", "hue"))),
    }


def claims_of(latent: Latent, attributes: tuple[str, ...]) -> tuple[Claim, ...]:
    """All claims about these attributes that are true of `latent`."""
    return tuple(
        Claim(number, attribute, getattr(thing, attribute))
        for number, thing in enumerate(latent.things)
        for attribute in attributes
    )
