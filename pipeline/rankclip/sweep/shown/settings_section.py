"""The re-runs on a sweep's page, and the sentences that it shares with the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankclip.report import labels
from rankclip.report.markup import cell, dot, note, section, table, text
from rankclip.sweep import standing
from rankclip.sweep.outcome import AS_IT_IS, Outcome, Setting
from rankclip.sweep.shown import answers, words
from rankclip.sweep.shown.answers import CONFIDENCE, Answer


def state(outcome: Outcome) -> str:
    """Why this is not the end; empty where it is."""
    if outcome.ended == "complete":
        return ""
    how = {
        "": "goes on",
        "out of budget": "ended out of budget",
        "stopped": "was stopped",
        "failed": "failed",
    }
    left = standing.tally(outcome.trials)["unfinished"]
    said = f"This sweep {how.get(outcome.ended, outcome.ended)}"
    said = f"{said}; {labels.count(left, 'trial')} unfinished." if left else f"{said}."
    return " ".join([said, *(f"Of {why}." for why in outcome.lost.values())])


def across(outcome: Outcome) -> list[str]:
    """The winners of the arms against the first arm's, in words."""
    aim, found = outcome.spec.aims[0], answers.between(outcome)
    ended = {arm: sum(trial.ended for trial in outcome.trials if trial.arm == arm) for arm in outcome.winners}
    budgets = "equal budgets" if len(set(ended.values())) == 1 else "unequal budgets"
    several = f" among {len(found)} such differences (Holm)" if len(found) > 1 else ""
    said = []
    for winner, first, difference, sure in found:
        ends = words.interval(aim, difference, signed=True)
        around = f"{CONFIDENCE} {ends}" if difference.has_interval else "no interval"
        said.append(
            f"{labels.arm(winner.arm)} at its best minus {labels.arm(first.arm)} at its best, equal seeds, "
            f"{budgets}: {words.difference(aim, difference.mean)} ({around}), which "
            f"{'stands' if sure else 'does not stand'}{several}."
        )
    return said


def tile(answer: Answer, outcome: Outcome, colour: str) -> str:
    """An arm's number: its winner's mean, else its best trial's."""
    aim = outcome.spec.aims[0]
    level = answer.level(answer.winner)
    number = level.mean if answer.winner else answer.best.last(aim.metric) if answer.best else None
    around = f"best of {labels.count(len(answer.trials), 'trial')}, one seed, no re-runs"
    if answer.winner is not None:
        of = f"{answer.winner.name}, {labels.count(level.n, 'fresh seed')}"
        around = f"{of}, {CONFIDENCE} {words.interval(aim, level)}" if level.has_interval else of
    return (
        f'<div class="tile">{dot(answer.arm, colour)}<b>{text(words.level(aim, number))}'
        f'<small> {text(words.unit(aim))}</small></b><span class="soft">{text(around)}</span></div>'
    )


def settings(outcome: Outcome, found: Sequence[Answer], colours: Mapping[str, str]) -> str:
    """The re-run settings of every arm."""
    aim = outcome.spec.aims[0]
    if not any(answer.settings for answer in found):
        return section("Re-runs", note("None yet: the best trials are trained again when all trials ended."))
    header = ["setting", "arm", "in the search", "seeds", "mean", "sd", CONFIDENCE]
    header += [f"minus {AS_IT_IS}", CONFIDENCE]
    bodies = [
        '<tbody class="set">' + "".join(_setting(answer, each, outcome, colours) for each in answer.settings)
        + "</tbody>"
        for answer in found
        if answer.settings
    ]  # fmt: skip
    said = (
        f"The best trials of each arm and the arm as it is, trained again with the same fresh seeds: "
        f"{words.metric(aim)} at the last step. Mean and {CONFIDENCE} (Student's t) over seeds; differences "
        "are of equal seeds, their variance pooled over the settings of the arm. Bold: the winner, which is "
        "the best mean, sure or not."
    )
    return section("Re-runs", note(said), table(header, bodies, 2))


def _setting(answer: Answer, setting: Setting, outcome: Outcome, colours: Mapping[str, str]) -> str:
    aim = outcome.spec.aims[0]
    level, gain = answer.level(setting), answer.gain(setting)
    trial = next((each for each in answer.trials if each.short == setting.name), None)
    won = answer.winner is not None and setting.name == answer.winner.name
    kind = "n sure" if won else "n"
    values = words.values(setting.values, words.short(list(outcome.spec.space)))
    cells = [
        f'<th scope="row">{text(setting.name)}<small>{text(values)}</small></th>',
        cell(dot(answer.arm, colours[answer.arm])),
        cell(text(words.level(aim, trial.last(aim.metric) if trial else None)), "n"),
        cell(str(level.n), "n"),
        cell(text(words.level(aim, level.mean)), kind),
        cell(text(words.level(aim, level.sd)), "n"),
        cell(text(words.interval(aim, level)), "n"),
        cell(text(words.difference(aim, gain.mean)) if gain.n else "", kind),
        cell(text(words.interval(aim, gain, signed=True)) if gain.n else "", "n"),
    ]
    return f"<tr>{''.join(cells)}</tr>"
