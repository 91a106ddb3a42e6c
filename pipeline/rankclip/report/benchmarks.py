"""The section of the page that compares the arms on every benchmark."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from rankclip.report import labels, plots
from rankclip.report.ablation import MEAN, Row
from rankclip.report.claims import BENCHMARKS, OTHERS, comparisons
from rankclip.report.content import Content
from rankclip.report.markup import cell, dot, folded, legend, note, section, table, text
from rankclip.report.noise import NAMES

Colours = Mapping[str, str]
BY_ITSELF = "Intervals of the plot are each by itself, before correction."


def benchmarks(content: Content, colours: Colours) -> str:
    """Every arm on every benchmark, the plot of the differences and the folded complete table."""
    baseline, confidence = content.roles.baseline, content.confidence
    drawn = [row for row in content.main if row.arm != baseline and labels.is_share(row.source)]
    picture = plots.forest(drawn, baseline, colours) if drawn else ""
    figure = (
        f"<h3>Differences to {text(labels.arm(baseline))}</h3>"
        + legend({arm: colour for arm, colour in colours.items() if arm != baseline})
        + f'<figure class="plot" role="img" aria-label="Paired differences with intervals">{picture}</figure>'
        + (note(BY_ITSELF) if any(row.difference.has_interval for row in drawn) else "")
        if drawn
        else ""
    )
    header = ["benchmark", "arm", "chance", "mean", "sd", confidence]
    header += [f"minus {labels.arm(baseline)}", confidence]
    return section(
        "Benchmarks",
        note(_words(content)),
        table(header, _bodies(content.main, content, colours), 2),
        figure,
        _control(content),
        folded("All metrics", table(header, _bodies(content.table, content, colours), 2)),
        f"<ul>{''.join(f'<li>{text(line)}</li>' for line in content.lacking)}</ul>"
        if content.lacking
        else "",
    )


def name_of(benchmark: str) -> str:
    """A benchmark's name in a table."""
    return "mean over benchmarks" if benchmark == MEAN else benchmark


def measure_of(row: Row) -> str:
    """Metric and protocol of a row, for small print."""
    return f"{labels.metric(row.source.metric)}, {labels.protocol(row.source.protocol)}"


def _words(content: Content) -> str:
    words = "Percent and points. "
    if len(content.subject.seeds) == 1:
        return words + "One seed an arm, so there is no interval of what other seeds would do."
    words += (
        f"Mean, standard deviation and {content.confidence} (Student's t) over seeds: what other seeds would "
        "do on these test examples. "
    )
    if len(content.subject.arms) == 1:
        return words
    words += "Differences are of equal seeds, their variance pooled over all arms. "
    if content.spec.correction == "none":
        return words + "Bold ones leave zero out, each by itself: among many, some do so by chance."
    among, rest = (
        labels.count(comparisons(content.table, name), "comparison") for name in (BENCHMARKS, OTHERS)
    )
    return words + (
        f"Bold ones leave zero out after correction ({NAMES[content.spec.correction]}) for the {among} of "
        f"this table beside the headline, which is one comparison, and for the {rest} of all other metrics. "
        "Dotted ones leave it out by themselves alone, as some do by chance."
    )


def _bodies(rows: Iterable[Row], content: Content, colours: Colours) -> list[str]:
    order = {cell: index for index, cell in enumerate(dict.fromkeys((r.benchmark, r.metric) for r in rows))}
    grouped = itertools.groupby(
        sorted(rows, key=lambda row: order[row.benchmark, row.metric]),
        key=lambda row: (row.benchmark, row.metric),
    )
    return [_body(list(group), content, colours) for _, group in grouped]


def _body(rows: Sequence[Row], content: Content, colours: Colours) -> str:
    benchmark = rows[0].benchmark
    named = f"{text(name_of(benchmark))}<small>{text(measure_of(rows[0]))}</small>"
    label = f'<th scope="rowgroup" rowspan="{len(rows)}">{named}</th>'
    chance = content.chance.get((benchmark, rows[0].metric))
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
    return (
        cell(labels.value(level.mean, row.source), "n")
        + cell(labels.value(level.sd, row.source), "n")
        + cell(labels.interval(level, source=row.source), "n")
        + cell(labels.value(difference.mean, row.source, signed=True), _kind(row))
        + cell(labels.interval(difference, signed=True, source=row.source), _kind(row))
    )


def _kind(row: Row) -> str:
    return "n sure" if row.sure else "n alone" if row.alone else "n"


def _control(content: Content) -> str:
    roles = content.roles
    if not content.control or roles.treatment is None or roles.control is None:
        return ""
    shown = {(row.benchmark, row.metric) for row in content.main}
    lines = [
        f'<tr><th scope="row">{text(name_of(row.benchmark))}</th>'
        + cell(text(measure_of(row)))
        + cell(labels.value(row.difference.mean, row.source, signed=True), _kind(row))
        + cell(labels.interval(row.difference, signed=True, source=row.source), _kind(row))
        + "</tr>"
        for row in content.control
        if (row.benchmark, row.metric) in shown
    ]
    body = f'<tbody class="set">{"".join(lines)}</tbody>'
    title = f"<h3>{text(labels.arm(roles.treatment))} minus {text(labels.arm(roles.control))}</h3>"
    among = comparisons(content.control, BENCHMARKS)
    if among and content.spec.correction != "none":
        title += note(
            f"Bold ones leave zero out after correction for the {labels.count(among, 'comparison')} of this "
            f"table beside its mean ({NAMES[content.spec.correction]}). The mean is one comparison, read "
            "only where the headline stands."
        )
    return title + table(["benchmark", "metric", "points", content.confidence], [body], 2, "thin")
