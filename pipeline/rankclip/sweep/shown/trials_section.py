"""What the trials themselves say, on a sweep's page: which keys matter, and what became of each trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rankclip.report import labels
from rankclip.report.markup import cell, folded, note, section, table, text
from rankclip.sweep import standing
from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import Outcome
from rankclip.sweep.shown import words
from rankclip.sweep.shown.answers import Answer
from rankclip.sweep.shown.importance import LEAST, REPEATS, Importance
from rankclip.sweep.space import Distribution

MOST_OPEN = 16
"""Trials of all arms up to which their table is open."""


def pair(space: Mapping[str, Distribution], found: Importance | None) -> list[str]:
    """The two keys that are drawn over each other: weights of the objective first, then important ones."""
    weights = [key for key, its in space.items()
               if key.startswith("objective.") and its.name in ("uniform", "loguniform")]  # fmt: skip
    ranked = list(found.shares) if found else list(space)
    chosen = [key for key in ranked if key in weights] if len(weights) > 1 else ranked
    return sorted(chosen[:2], key=list(space).index)


def important(found: Importance | None, outcome: Outcome, answer: Answer) -> str:
    """Which keys mattered, as bars."""
    head = "<h3>Which keys matter</h3>"
    if found is None:
        return head + note(
            f"Not told: it takes {LEAST} finished or stopped trials that differ in what they read."
        )
    names, steps = words.short(list(outcome.spec.space)), outcome.steps[answer.arm]
    aim = outcome.spec.aims[0]
    said = (
        f"Permutation importance of a random forest, from {words.metric(aim)} at step {found.rung:,} of "
        f"{steps:,}, the last that all {found.trials} finished and stopped trials reached: by how much of "
        "their variance the forest predicts trials that it has not seen worse when a key's value is another "
        f"trial's. In brackets the middle 90 % of {REPEATS} repeats: the chance of the forest, not that of "
        f"other trials. With all keys it predicts {100 * max(0.0, found.explained):.0f} % of the variance."
    )
    warning = f'<p class="banner" role="note">{text(found.warning)}</p>' if found.warning else ""
    widest = max(0.01, *(share.mean for share in found.shares.values()))
    lines = "".join(
        "<tr>"
        + cell(text(names[key]))
        + cell(
            f'<span class="bar ok" style="width:{100 * max(0.0, share.mean) / widest:.1f}%"></span>', "wide"
        )
        + cell(
            f"{labels.percent(share.mean)} % ({labels.percent(share.low)} to {labels.percent(share.high)})",
            "n",
        )
        + "</tr>"
        for key, share in found.shares.items()
    )
    body = f'<tbody class="set">{lines}</tbody>'
    return head + warning + table(["key", "", "share of the variance"], [body], 2) + note(said)


def trials(outcome: Outcome, found: Sequence[Answer]) -> str:
    """Every trial by its state, errors in their own words."""
    states = list(standing.tally([]))
    counted = "".join(
        "<tr>"
        + cell(text(labels.arm(answer.arm)))
        + "".join(cell(str(standing.tally(answer.trials)[name]), "n") for name in states)
        + cell(f"{len(answer.trials)} of {outcome.spec.trials}", "n")
        + "</tr>"
        for answer in found
    )
    errors = [trial for trial in outcome.trials if trial.state == "failed"]
    listed = "".join(
        f"<li>{text(trial.name)}: {text(trial.error or 'no reason told')}</li>" for trial in errors
    )
    every = _every(outcome, found)
    return section(
        "Every trial",
        table(["arm", *states, "begun"], [f'<tbody class="set">{counted}</tbody>'], 1, "thin"),
        f'<div class="banner" role="note">Failed:<ul>{listed}</ul></div>' if errors else "",
        every if len(outcome.trials) <= MOST_OPEN else folded("All trials", every),
    )


def _every(outcome: Outcome, found: Sequence[Answer]) -> str:
    names = words.short(list(outcome.spec.space))
    header = ["trial", "state", *names.values(), "step", *map(words.metric, outcome.spec.aims), "seconds"]
    sign = outcome.spec.aims[0].sign
    metric = outcome.spec.aims[0].metric

    def rank(trial: Trial) -> tuple[int, float]:
        return standing.step(trial), sign * (trial.last(metric) or 0.0)

    bodies = [
        f'<tbody class="set">{"".join(_lines(ranked, outcome))}</tbody>'
        for answer in found
        if (ranked := sorted(answer.trials, key=rank, reverse=True))
    ]
    return note("Those that came farthest first; only equal steps can be compared.") + table(
        header, bodies, 2, "thin"
    )


def _lines(ranked: Iterable[Trial], outcome: Outcome) -> Iterable[str]:
    for trial in ranked:
        yield (
            "<tr>"
            + cell(text(trial.name))
            + cell("unfinished" if trial.state == "proposed" else trial.state)
            + "".join(cell(_value(trial.values, key), "n") for key in outcome.spec.space)
            + cell(f"{standing.step(trial):,}", "n")
            + "".join(cell(text(words.level(aim, trial.last(aim.metric))), "n") for aim in outcome.spec.aims)
            + cell(f"{trial.seconds:,.0f}", "n")
            + "</tr>"
        )


def _value(values: Mapping[str, object], key: str) -> str:
    return text(words.value(values[key])) if key in values else ""
