"""The section of the page about what the study can show: noise, smallest differences, test examples."""

from __future__ import annotations

from collections.abc import Mapping

from rankclip.evaluation.statistics.power import POWER
from rankclip.report import labels
from rankclip.report.benchmarks import name_of
from rankclip.report.content import Content
from rankclip.report.examples import Measured
from rankclip.report.markup import cell, dot, note, section, table, text
from rankclip.report.precision import Precision
from rankclip.report.scores import Cell, Source

Colours = Mapping[str, str]

SEEDS = (
    "Two arms differ from seed to seed by this standard deviation, pooled over all arms. Seed correlation is "
    "the share of a score's variance that arms of equal seed have in common. The smallest difference is the "
    "true one that the study finds with probability {power:g} if it is the only one among so many "
    "comparisons, at the level that their correction leaves; its range is that of the spread's own interval."
)
EXAMPLES = (
    "The same models on other test examples of the same kind (bootstrap, captions of one image together), "
    "differences on equal examples and seeds. It says nothing about another seed."
)
ONE_SEED = (
    "With one seed there is no interval for a method. This one is for the single run: how well its score is "
    "measured by so many test examples (bootstrap). It says nothing about another seed."
)


def limits(content: Content, colours: Colours) -> str:
    """Warnings, the spread between seeds, and the intervals over test examples."""
    warnings = "".join(f"<li>{text(warning)}</li>" for warning in content.warnings)
    return section(
        "What this study can show",
        f'<div class="banner" role="note">Inside the noise<ul>{warnings}</ul></div>' if warnings else "",
        _seeds(content),
        _examples(content, colours),
    )


def _seeds(content: Content) -> str:
    shown = {(row.benchmark, row.metric) for row in content.main}
    found = [each for each in content.precision if each.degrees and (each.benchmark, each.metric) in shown]
    if not found:
        return note("There is no second arm, or no second seed, so nothing is known of differences.")
    header = ["benchmark", "metric", "sd of a difference", "degrees", "seed correlation", content.confidence]
    header += ["comparisons", "smallest difference", "range"]
    body = f'<tbody class="set">{"".join(_precision(each) for each in found)}</tbody>'
    return "<h3>Over seeds</h3>" + note(SEEDS.format(power=POWER)) + table(header, [body], 2, "thin")


def _precision(each: Precision) -> str:
    correlation, (least, low, high) = each.correlation, each.detectable
    return (
        f'<tr><th scope="row">{text(name_of(each.benchmark))}</th>'
        + cell(text(f"{labels.metric(each.source.metric)}, {labels.protocol(each.source.protocol)}"))
        + cell(labels.value(each.sd, each.source), "n")
        + cell(str(each.degrees), "n")
        + cell(labels.coefficient(correlation.value), "n")
        + cell(f"{labels.coefficient(correlation.low)} to {labels.coefficient(correlation.high)}", "n")
        + cell(str(each.comparisons), "n")
        + cell(labels.value(least, each.source), "n")
        + cell(f"{labels.value(low, each.source)} to {labels.value(high, each.source)}", "n")
        + "</tr>"
    )


def _examples(content: Content, colours: Colours) -> str:
    found = [each for each in content.examples if each.seed is None]
    if not found:
        return ""
    one = len(content.subject.seeds) == 1
    sources: dict[Cell, Source] = {(row.benchmark, row.metric): row.source for row in content.table}
    lines = "".join(_example(each, sources[each.benchmark, each.metric], content, colours) for each in found)
    header = ["benchmark", "metric", "arm", "chance", "examples", "mean", content.confidence]
    header += [f"minus {labels.arm(content.roles.baseline)}", content.confidence]
    return (
        f"<h3>{'One run, over test examples' if one else 'Over test examples'}</h3>"
        + note(ONE_SEED if one else EXAMPLES)
        + table(header, [f'<tbody class="set">{lines}</tbody>'], 3, "thin")
    )


def _example(each: Measured, source: Source, content: Content, colours: Colours) -> str:
    chance = content.chance.get((each.benchmark, each.metric))
    return (
        "<tr>"
        + cell(text(name_of(each.benchmark)))
        + cell(text(labels.metric(source.metric)))
        + cell(dot(each.arm, colours[each.arm]))
        + cell(labels.NONE if chance is None else labels.percent(chance), "n")
        + cell(f"{each.level.n:,}", "n")
        + cell(labels.value(each.level.mean, source), "n")
        + cell(labels.interval(each.level, source=source), "n")
        + cell(labels.value(each.difference.mean, source, signed=True), "n")
        + cell(labels.interval(each.difference, signed=True, source=source), "n")
        + "</tr>"
    )
