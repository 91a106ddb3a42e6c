"""The sections of the page about scores: the headline, the benchmarks, the training curves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from rankclip.evaluation.statistics import Estimate
from rankclip.report import labels, plots
from rankclip.report.ablation import MEAN, Row
from rankclip.report.content import Content
from rankclip.report.markup import cell, dot, folded, legend, note, section, table, text

Colours = Mapping[str, str]
NO_CLAIM = (
    "This study proves the pipeline and claims nothing: it is too short to say anything about the methods."
)


def top(content: Content, colours: Colours) -> str:
    """The question, the headline sentence and a tile for each arm."""
    subject, headline = content.subject, content.headline
    kicker = (
        f"rankclip study · {labels.count(len(subject.arms), 'arm')} · "
        f"{labels.count(len(subject.seeds), 'seed')} each · "
        f"{labels.count(content.tally.ok, 'training pair')}"
    )
    tiles = "".join(_tile(arm, headline.arms[arm], colours[arm], content.level) for arm in subject.arms)
    banner = "" if subject.claims else f'<p class="banner" role="note">{text(NO_CLAIM)}</p>'
    verdict = f'<p class="verdict">{text(headline.verdict())}</p>' if subject.claims else ""
    return (
        f'<header><p class="kicker">{text(kicker)}</p><h1>{text(subject.name)}</h1>'
        f'<p class="question">{text(subject.question)}</p>{banner}'
        f'<p class="headline">{text(headline.sentence())}</p>{verdict}'
        f'<div class="tiles">{tiles}</div>'
        f'<p class="soft">{text(_sentence_case(headline.subject))}, test splits, final checkpoints: '
        f"{text(', '.join(headline.benchmarks))}.</p></header>"
    )


def benchmarks(content: Content, colours: Colours) -> str:
    """Every arm on every benchmark, the plot of the differences and the folded complete table."""
    baseline = content.roles.baseline
    confidence = f"{100 * content.level:g} % interval"
    drawn = [row for row in content.main if row.arm != baseline]
    picture = plots.forest(drawn, baseline, colours) if drawn else ""
    figure = (
        f"<h3>Differences to {text(labels.arm(baseline))}</h3>"
        + legend({arm: colour for arm, colour in colours.items() if arm != baseline})
        + f'<figure class="plot" role="img" aria-label="Paired differences with intervals">{picture}</figure>'
        if drawn
        else ""
    )
    header = [
        "benchmark",
        "arm",
        "chance",
        "mean",
        "sd",
        confidence,
        f"minus {labels.arm(baseline)}",
        confidence,
    ]
    return section(
        "Benchmarks",
        note(
            f"Percent and points. Mean, standard deviation and {confidence} (Student's t) are over seeds. "
            "Differences are paired by seed; those whose interval leaves zero out are bold. Each interval "
            "stands for itself: among many, some leave zero out by chance."
        ),
        table(header, _bodies(content.main, content, colours), 2),
        figure,
        _control(content, confidence),
        _examples(content, colours, confidence),
        folded("All metrics", table(header, _bodies(content.table, content, colours), 2)),
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


def _tile(arm: str, level: Estimate, colour: str, confidence: float) -> str:
    around = (
        f"{100 * confidence:g} % interval {labels.interval(level)}"
        if level.has_interval
        else "one seed, no interval"
    )
    return (
        f'<div class="tile">{dot(arm, colour)}<b>{labels.percent(level.mean)}<small> %</small></b>'
        f'<span class="soft">{text(around)}</span></div>'
    )


def _bodies(rows: Iterable[Row], content: Content, colours: Colours) -> list[str]:
    order = {cell: index for index, cell in enumerate(dict.fromkeys((r.benchmark, r.metric) for r in rows))}
    grouped = itertools.groupby(
        sorted(rows, key=lambda row: order[row.benchmark, row.metric]),
        key=lambda row: (row.benchmark, row.metric),
    )
    return [_body(benchmark, metric, list(group), content, colours) for (benchmark, metric), group in grouped]


def _body(benchmark: str, metric: str, rows: Sequence[Row], content: Content, colours: Colours) -> str:
    name = "mean over benchmarks" if benchmark == MEAN else benchmark
    named = f"{text(name)}<small>{text(labels.metric(metric))}</small>"
    label = f'<th scope="rowgroup" rowspan="{len(rows)}">{named}</th>'
    chance = content.chance.get((benchmark, metric))
    guess = labels.NONE if chance is None else labels.percent(chance)
    lines = [
        "<tr>"
        + (label if first else "")
        + cell(dot(row.arm, colours[row.arm]))
        + cell(guess if first else "", "n")
        + _numbers(row)
        + "</tr>"
        for first, row in zip([True, *[False] * len(rows)], rows, strict=False)
    ]
    return f'<tbody class="{"lead" if benchmark == MEAN else "set"}">' + "".join(lines) + "</tbody>"


def _numbers(row: Row) -> str:
    level, difference = row.level, row.difference
    sure = "n sure" if difference.has_interval and not difference.contains_zero else "n"
    return (
        cell(labels.percent(level.mean), "n")
        + cell(labels.percent(level.sd), "n")
        + cell(labels.interval(level), "n")
        + cell(labels.percent(difference.mean, signed=True), sure)
        + cell(labels.interval(difference, signed=True), sure)
    )


def _control(content: Content, confidence: str) -> str:
    roles = content.roles
    if not content.control or roles.treatment is None or roles.control is None:
        return ""
    treatment, control = labels.arm(roles.treatment), labels.arm(roles.control)
    shown = {(row.benchmark, row.metric) for row in content.main}
    lines = []
    for row in content.control:
        if (row.benchmark, row.metric) in shown:
            name = "mean over benchmarks" if row.benchmark == MEAN else row.benchmark
            kind = "n sure" if row.difference.has_interval and not row.difference.contains_zero else "n"
            lines.append(
                f'<tr><th scope="row">{text(name)}</th>'
                + cell(text(labels.metric(row.metric)))
                + cell(labels.percent(row.difference.mean, signed=True), kind)
                + cell(labels.interval(row.difference, signed=True), kind)
                + "</tr>"
            )
    body = f'<tbody class="set">{"".join(lines)}</tbody>'
    return f"<h3>{text(treatment)} minus {text(control)}</h3>" + table(
        ["benchmark", "metric", "points", confidence], [body], 2, "thin"
    )


def _examples(content: Content, colours: Colours, confidence: str) -> str:
    if len(content.subject.seeds) > 1 or not content.examples:
        return ""
    lines = [
        "<tr>"
        + cell(text(each.benchmark))
        + cell(dot(each.arm, colours[each.arm]))
        + cell(_chance(content, each.benchmark), "n")
        + cell(f"{each.estimate.n:,}", "n")
        + cell(labels.percent(each.estimate.mean), "n")
        + cell(labels.interval(each.estimate), "n")
        + "</tr>"
        for each in content.examples
    ]
    words = (
        "With one seed there is no interval for a method. This one is for the single run: how well its score "
        "is measured by so many test examples (bootstrap). It says nothing about another seed."
    )
    body = f'<tbody class="set">{"".join(lines)}</tbody>'
    header = ["benchmark", "arm", "chance", "examples", labels.metric(content.headline.metric), confidence]
    return "<h3>One run, over test examples</h3>" + note(words) + table(header, [body], 2, "thin")


def _chance(content: Content, benchmark: str) -> str:
    chance = content.chance.get((benchmark, content.headline.metric))
    return labels.NONE if chance is None else labels.percent(chance)


def _sentence_case(words: str) -> str:
    return words[:1].upper() + words[1:]
