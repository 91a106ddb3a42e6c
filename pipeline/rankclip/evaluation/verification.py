"""Does open_clip's own table come out of this code? Published weights on the sets that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rankclip.evaluation import published
from rankclip.evaluation.published import Published
from rankclip.evaluation.scores import Scores

TOLERANCE = 0.001
"""Largest difference, a share, of the same weights on the same set: other versions of decoder, resizing and
arithmetic move a few images of ten thousand."""

Verdict = Literal["agrees", "differs", "other protocol", "not measured"]


@dataclass(frozen=True)
class Check:
    """Weights of open_clip's and the published numbers that they must reach again."""

    model: str
    pretrained: str
    expected: tuple[Published, ...]

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Names of the sets that it takes, each once."""
        return tuple(dict.fromkeys(row.benchmark for row in self.expected))


@dataclass(frozen=True)
class Plan:
    """What can be checked with the sets that are there."""

    checks: tuple[Check, ...]
    missing: dict[str, str]
    """By the name of a set that is not there: a line with the remedy."""


@dataclass(frozen=True)
class Compared:
    """A published number and ours."""

    published: Published
    found: float | None
    """In [0, 1]; `None` where it was not measured."""
    verdict: Verdict


def plan(missing: Callable[[str], str | None]) -> Plan:
    """open_clip's weights with published numbers under our protocols, on the sets that are there.

    Args:
        missing: of a benchmark's name a line with the remedy, or `None` where the set is there.
    """
    own = [row for row in published.rows() if row.pretrained is not None and not row.theirs]
    lines = {name: missing(name) for name in dict.fromkeys(row.benchmark for row in own)}
    by_weights: dict[tuple[str, str], list[Published]] = {}
    for row in own:
        if row.pretrained is not None and lines[row.benchmark] is None:
            by_weights.setdefault((row.model, row.pretrained), []).append(row)
    return Plan(
        tuple(Check(model, tag, tuple(expected)) for (model, tag), expected in by_weights.items()),
        {name: line for name, line in lines.items() if line is not None},
    )


def compare(expected: Iterable[Published], scores: Scores) -> list[Compared]:
    """Published numbers beside those of the same weights on the test splits, in their order."""
    ours = {
        (row.benchmark, row.measured.metric, row.measured.protocol): row.measured.value
        for row in scores.rows
        if row.split == "test"
    }
    compared = []
    for row in expected:
        names = [(row.benchmark, row.metric, protocol) for protocol in published.same(row.protocol)]
        found = next((ours[name] for name in names if name in ours), None)
        compared.append(Compared(row, found, _verdict(row, found)))
    return compared


def lines(compared: Sequence[Compared]) -> list[str]:
    """A table for the terminal, in percent and points, its head first; what was not measured is left out."""
    table = [("benchmark", "metric", "published", "here", "points", "of", "")]
    for each in compared:
        row = each.published
        if each.found is not None:
            points = 100 * (each.found - row.value)
            said = f"{each.verdict}: {row.theirs}" if row.theirs else each.verdict
            numbers = (f"{100 * row.value:.2f}", f"{100 * each.found:.2f}", f"{points:+.2f}")
            table.append((row.benchmark, row.metric, *numbers, row.label, said))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if 2 <= place <= 4 else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _verdict(row: Published, found: float | None) -> Verdict:
    if found is None:
        return "not measured"
    if row.theirs:
        return "other protocol"
    return "agrees" if abs(found - row.value) <= TOLERANCE + 1e-9 else "differs"
