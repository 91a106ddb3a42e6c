"""The sections of the page about the study as a whole: the headline and the training curves."""

from __future__ import annotations

from collections.abc import Mapping

from rankclip.evaluation.statistics.estimate import Estimate
from rankclip.report import labels, plots, verdict
from rankclip.report.content import Content
from rankclip.report.markup import dot, legend, note, section, text

Colours = Mapping[str, str]
NO_CLAIM = (
    "This study proves the pipeline and claims nothing: it is too short to say anything about the methods."
)


def top(content: Content, colours: Colours) -> str:
    """The question, the answer, its numbers, what the study can show at all, and a tile for each arm."""
    subject, headline = content.subject, content.headline
    kicker = (
        f"rankclip study · {labels.count(len(subject.arms), 'arm')} · "
        f"{labels.count(len(subject.seeds), 'seed')} each · "
        f"{labels.count(content.tally.ok, 'training pair')}"
    )
    tiles = "".join(_tile(arm, headline.arms[arm], colours[arm], content.confidence) for arm in subject.arms)
    banner = "" if subject.claims else f'<p class="banner" role="note">{text(NO_CLAIM)}</p>'
    follows = f'<p class="verdict">{text(verdict.verdict(headline))}</p>' if subject.claims else ""
    detects = f'<p class="soft">{text(verdict.detects(headline))}</p>' if verdict.detects(headline) else ""
    return (
        f'<header><p class="kicker">{text(kicker)}</p><h1>{text(subject.name)}</h1>'
        f'<p class="question">{text(subject.question)}</p>{banner}'
        f'{follows}<p class="headline">{text(verdict.sentence(headline))}</p>{detects}'
        f'<div class="tiles">{tiles}</div>'
        f'<p class="soft">{text(_sentence_case(headline.subject))}, test splits, final checkpoints: '
        f"{text(', '.join(headline.benchmarks))}.</p>{_missing(content)}</header>"
    )


def training(content: Content, colours: Colours) -> str:
    """The curves."""
    return section(
        "Training",
        note("A thin line for each seed, a thick one for their mean."),
        legend(dict(colours)),
        '<figure class="plot" role="img" aria-label="Training curves">'
        + plots.curves(content.runs, colours)
        + "</figure>",
    )


def _missing(content: Content) -> str:
    missing = content.sets.missing
    if not missing:
        return ""
    lines = "".join(f"<li>{text(name)}: {text(why)}</li>" for name, why in missing.items())
    words = f"Not measured, because not there: {labels.count(len(missing), 'benchmark')} of the study."
    return f'<div class="banner" role="note">{text(words)}<ul>{lines}</ul></div>'


def _tile(arm: str, level: Estimate, colour: str, confidence: str) -> str:
    around = "one seed, no interval" if level.n == 1 else "equal for all seeds, no interval"
    if level.has_interval:
        around = f"{confidence} {labels.interval(level)}"
    return (
        f'<div class="tile">{dot(arm, colour)}<b>{labels.percent(level.mean)}<small> %</small></b>'
        f'<span class="soft">{text(around)}</span></div>'
    )


def _sentence_case(words: str) -> str:
    return words[:1].upper() + words[1:]
