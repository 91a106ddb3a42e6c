"""What a sweep came to: a summary for the terminal, and one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rankclip import files
from rankclip.report import labels
from rankclip.report.ablation import Roles
from rankclip.report.markup import dot, note, section, text
from rankclip.report.page import POLICY
from rankclip.report.style import CSS, arm_colours
from rankclip.sweep import standing
from rankclip.sweep.outcome import Outcome
from rankclip.sweep.shown import answers, plots, settings_section, trials_section, words
from rankclip.sweep.shown.answers import Answer
from rankclip.sweep.shown.importance import importance

HONEST = (
    "All numbers are of validation. A trial is one seed, and the best of many reads too high; re-runs have "
    "fresh seeds. The winner is the best of a few re-run means, so a little of that stays: its test scores "
    "with the study's own seeds are what counts."
)


def lines(outcome: Outcome) -> list[str]:
    """The summary for a terminal: the answer, what each arm's trials came to, and every error."""
    said = [f"{outcome.name} on {outcome.study}: {outcome.spec.question}"]
    said += [settings_section.state(outcome)] if settings_section.state(outcome) else []
    found, between = answers.answers(outcome), settings_section.across(outcome)
    said += ["", *between] if between else []
    for answer in found:
        said += ["", *answers.sentences(answer, outcome), *_settings(answer, outcome)]
    said += [""]
    for answer in found:
        counts = standing.tally(answer.trials)
        ended = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        of = labels.count(len(answer.trials), "trial")
        said.append(f"{labels.arm(answer.arm)}: {of}: {ended}; {answers.work(answer, outcome)}")
        said += [
            f"  {trial.name} failed: {trial.error}" for trial in answer.trials if trial.state == "failed"
        ]
    return [*said, HONEST]


def _settings(answer: Answer, outcome: Outcome) -> list[str]:
    """The re-run settings, a line each."""
    aim, names = outcome.spec.aims[0], words.short(list(outcome.spec.space))
    said = []
    for setting in answer.settings:
        level, gain = answer.level(setting), answer.gain(setting)
        minus = (
            f"{words.difference(aim, gain.mean)} ({words.interval(aim, gain, signed=True)})" if gain.n else ""
        )
        around = f"({words.interval(aim, level)})"
        line = f"  {setting.name:10} {words.reading(aim, level.mean):>8} {around:16} {minus:32}"
        said.append(f"{line} {words.values(setting.values, names)}".rstrip())
    return said


def write(outcome: Outcome, folder: Path) -> Path:
    """Writes `index.html`, a page without script or request, and gives its path."""
    path = folder / "index.html"
    files.write_text(path, page(outcome))
    return path


def page(outcome: Outcome) -> str:
    """The page; equal outcomes give equal bytes."""
    found = answers.answers(outcome)
    colours = arm_colours(list(outcome.steps), Roles("", None, None))
    body = [
        _top(outcome, found, colours),
        settings_section.settings(outcome, found, colours),
        *(_arm(answer, outcome) for answer in found if answer.trials),
        _cost(outcome, found, colours),
        trials_section.trials(outcome, found),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(outcome.name)}: rankclip sweep</title>\n"
        f"<style>{CSS}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


def _top(outcome: Outcome, found: Sequence[Answer], colours: Mapping[str, str]) -> str:
    """The question and its answer, arm by arm."""
    spec = outcome.spec
    kicker = (
        f"rankclip sweep of study {outcome.study} · {labels.count(len(found), 'arm')} · "
        f"{labels.count(len(outcome.trials), 'trial')} · {spec.search.name}, stopping: {spec.stopping.name}"
    )
    banner = settings_section.state(outcome)
    said = [f'<p class="headline">{text(line)}</p>' for line in settings_section.across(outcome)]
    said += [sentence for answer in found for sentence in _paragraphs(answer, outcome)]
    tiles = "".join(settings_section.tile(answer, outcome, colours[answer.arm]) for answer in found)
    return (
        f'<header><p class="kicker">{text(kicker)}</p><h1>{text(outcome.name)}</h1>'
        f'<p class="question">{text(spec.question)}</p>'
        + (f'<p class="banner" role="note">{text(banner)}</p>' if banner else "")
        + f'{"".join(said)}<div class="tiles">{tiles}</div>{note(HONEST)}</header>'
    )


def _paragraphs(answer: Answer, outcome: Outcome) -> list[str]:
    first, *rest = answers.sentences(answer, outcome)
    return [f'<p class="headline">{text(first)}</p>', *map(note, rest)]


def _arm(answer: Answer, outcome: Outcome) -> str:
    """Importance, parallel coordinates and landscape of an arm's trials."""
    space, aim = outcome.spec.of(answer.arm).space, outcome.spec.aims[0]
    found = importance(space, answer.trials, aim)
    rung, read = standing.common(answer.trials, aim)
    keys = trials_section.pair(space, found)
    picture = ""
    plane = plots.landscape(answer, keys, space, aim, rung) if len(read) > 2 and len(keys) == 2 else ""
    if plane:
        picture = _figure(
            f"Over {' and '.join(words.short(list(space))[key] for key in keys)}",
            plane,
            f"At step {rung:,}, which all {len(read)} finished and stopped trials reached: round ones "
            "finished, triangles were stopped, the diamond is the winner. The shading is the mean of trials "
            "nearby, smooth by making and not by knowledge; where there is no dot it is a guess.",
            narrow=True,
        )
    lines = _figure(
        "All trials",
        plots.parallel(answer, space, aim),
        "A line a trial. Finished ones go on to what they read at their last step; the winner is red, those "
        "that were stopped, failed or are unfinished are grey and end before.",
    )
    title = labels.arm(answer.arm)
    return section(title, trials_section.important(found, outcome, answer), picture, lines)


def _cost(outcome: Outcome, found: Sequence[Answer], colours: Mapping[str, str]) -> str:
    aims = outcome.spec.aims
    legend = (
        '<div class="legend">' + "".join(f"<span>{dot(*each)}</span>" for each in colours.items()) + "</div>"
    )
    parts = [
        note("Best finished trial so far, one seed, so these lines rise by luck too."),
        legend,
        _figure("", plots.cost(found, aims[0], colours), ""),
        *(note(f"{labels.arm(answer.arm)}: {answers.work(answer, outcome)}.") for answer in found),
    ]
    if len(aims) > 1:
        told = (
            "Trials that no other beats in every aim are joined. One seed each: near ones may change places."
        )
        parts.append(_figure("What cannot be had together", plots.front(found, aims, colours), told, True))
    return section("Cost against quality", *parts)


def _figure(title: str, drawn: str, said: str, narrow: bool = False) -> str:
    head = f"<h3>{text(title)}</h3>" if title else ""
    name = text(title or "Best value over steps spent")
    caption = f"<figcaption>{text(said)}</figcaption>" if said else ""
    size = ' style="max-width:680px"' if narrow else ""
    return f'{head}<figure class="plot"{size} role="img" aria-label="{name}">{drawn}{caption}</figure>'
